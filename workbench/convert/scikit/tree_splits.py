"""The split points of scikit-learn's trees, and whether they were grown on missing values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.core.tensor import Array


def split_points(estimator: Any, features: int) -> tuple[list[Array], Array] | None:
    """For a tree or an ensemble of trees: each feature's finite split points, and which features had missing values.

    None for another estimator.
    """
    found = list(_splits(estimator))
    if not found:
        return None
    feature, threshold, missing = (np.concatenate(parts) for parts in zip(*found, strict=True))
    finite = np.isfinite(threshold)
    points = [np.unique(threshold[finite & (feature == index)]) for index in range(features)]
    return points, np.array([bool(missing[feature == index].any()) for index in range(features)])


def _splits(estimator: Any) -> Iterator[tuple[Array, Array, Array]]:
    """(feature, threshold, grown on missing values) of the inner nodes of each tree."""
    if type(estimator).__module__.split(".")[0] in ("lightgbm", "xgboost", "catboost"):
        from workbench.convert.trees.boosted_original import read_original

        for grown in read_original(estimator, None).model.trees:
            by_number = np.array([node not in grown.members for node in range(len(grown.feature))], bool)
            yield grown.feature[by_number], grown.threshold[by_number], np.ones(int(by_number.sum()), bool)
        return
    if (tree := getattr(estimator, "tree_", None)) is not None and hasattr(tree, "threshold"):
        yield _of_tree(tree)
        return
    for stage in getattr(estimator, "_predictors", ()):  # HistGradientBoosting, which takes missing values anywhere
        for predictor in stage:
            inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
            everywhere = np.ones(len(inner), bool)
            yield inner["feature_idx"].astype(int), inner["num_threshold"].astype(float), everywhere
    chosen = getattr(estimator, "estimators_features_", None)
    for number, each in enumerate(np.ravel(np.asarray(getattr(estimator, "estimators_", ()), dtype=object))):
        tree = getattr(each, "tree_", None)
        if tree is None or not hasattr(tree, "threshold"):
            return
        feature, threshold, missing = _of_tree(tree)
        yield feature if chosen is None else np.asarray(chosen[number])[feature], threshold, missing


def _of_tree(tree: Any) -> tuple[Array, Array, Array]:
    """A split "is it missing?" has an infinite threshold. Without missing values, those to come are sent to the side
    that has more rows, so any other choice was learnt from some."""
    inner = tree.children_left >= 0
    left, right = tree.children_left[inner], tree.children_right[inner]
    more_left = tree.n_node_samples[left] > tree.n_node_samples[right]
    threshold = tree.threshold[inner]
    missing = ~np.isfinite(threshold) | (tree.missing_go_to_left[inner].astype(bool) != more_left)
    return tree.feature[inner], threshold, missing
