"""Boosting by histograms, also on categories; and how trees are summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.columns_alone import matches
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text
from workbench.convert.trees.tree_graph import ML_OPSET, Boosted, Tree, ensemble_attributes
from workbench.core.tensor import Array
from workbench.errors import Unsupported

MARGIN = 2.0**-42
LEAST = 1e-30
"""Split points nearer to 0 have a meaning of their own to LightGBM."""

MOST_CATEGORIES = 256
"""More than a set of scikit-learn's boosting can hold."""


def moved_on(trees: Sequence[Tree]) -> list[Tree]:
    """`trees` with split points a little further on, for rows that were computed.

    A split of histograms often lies on what a training row had become, to the last digit. ONNX Runtime's powers and
    logarithms may have another last digit, and what is equal to a split point must still go as what is below. That
    digit is one of the numbers before a scaler has taken their mean away, so a split point near 0 is moved as far as
    the feature's farthest one. It is not done for sums and products, since split points do lie between values that are
    a few such digits apart.
    """
    reach: dict[int, float] = {}
    for tree in trees:
        for feature, threshold in zip(tree.feature.tolist(), np.abs(tree.threshold).tolist(), strict=True):
            if np.isfinite(threshold):
                reach[feature] = max(threshold, reach.get(feature, 0.0))

    def moved(tree: Tree) -> Tree:
        away = np.array([reach.get(feature, 0.0) for feature in tree.feature.tolist()])
        return replace(tree, threshold=tree.threshold + MARGIN * np.where(np.abs(tree.threshold) > LEAST, away, 0.0))

    return [moved(tree) for tree in trees]


def sum_of_trees(graph: Graph, rows: Value, trees: Sequence[Tree], base: Array) -> Value:
    """The base and the sum of what the trees add, float64 [N, targets] with float32's digits. `rows` are float64, and
    compared so."""
    model = Boosted(features=(), base=base, link="identity", trees=trees)
    attributes = ensemble_attributes(model, np.dtype(np.float64))
    node = graph.node("TreeEnsembleRegressor", rows, domain="ai.onnx.ml", op_version=ML_OPSET, **attributes)
    return node.cast("float64")


def numbered(leaf: Array) -> Array:
    """Each node's number as a child of `Tree`: its place among the inner nodes, or ~ its place among the leaves."""
    return np.where(leaf, ~(np.cumsum(leaf) - 1), np.cumsum(~leaf) - 1)


# Boosting by histograms


def boosting_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    scores = _boosted(graph, model)
    if len(model.classes_) == 2:
        label = graph.labels(model.classes_, (scores.reshape(-1) > 0.0).cast("int64"))
        if graph.raw:
            return [label, scores]
        second = scores.apply("Sigmoid")
        return [label, graph.concat([1.0 - second, second])]
    label = graph.labels(model.classes_, scores.argmax())
    return [label, scores if graph.raw else graph.node("Softmax", scores, axis=1)]


def boosting_regressor(graph: Graph, model: Any) -> Sequence[Value]:
    scores = _boosted(graph, model)
    link = type(model._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise Unsupported(f"its link {link} has no ONNX form here")
    return [scores.apply("Exp") if link == "LogLink" else scores]


def _boosted(graph: Graph, model: Any) -> Value:
    rows = graph.rows if model._preprocessor is None else _encoded(graph, model)
    known = _known_categories(model)
    trees = [_histogram_tree(each, target, known) for stage in model._predictors for target, each in enumerate(stage)]
    trees = moved_on(trees) if graph.behind else trees
    return sum_of_trees(graph, rows, trees, np.ravel(model._baseline_prediction).astype(float))


def _encoded(graph: Graph, model: Any) -> Value:
    """The categorical columns as the numbers of their categories, NaN where there is none, and then the others."""
    chosen = np.asarray(model.is_categorical_, bool)
    encoder = model._preprocessor.named_transformers_["encoder"]
    parts = []
    for place, categories in zip(np.flatnonzero(chosen), encoder.categories_, strict=True):
        present = np.array([each for each in categories if each is not None and each == each], dtype=categories.dtype)
        known = matches(graph, graph.column(int(place), text=is_text(categories)), present)
        number = (known * np.arange(len(present), dtype=float)).reduce("Sum")
        parts.append(graph.where(known.reduce("Sum") > 0.0, number, np.nan))
    parts += [graph.column(int(place), text=False) for place in np.flatnonzero(~chosen)]
    return graph.concat(parts)


def _known_categories(model: Any) -> dict[int, set[int]]:
    """Feature, as the trees count them -> the categories that were in the training data."""
    remapped = model._is_categorical_remapped
    if remapped is None:
        return {}
    sets, places = model._bin_mapper.make_known_categories_bitsets()
    return {int(feature): _members(sets[places[feature]]) for feature in np.flatnonzero(remapped)}


def _members(bits: Array) -> set[int]:
    return {number for number in range(MOST_CATEGORIES) if bits[number // 32] >> np.uint32(number % 32) & np.uint32(1)}


def _histogram_tree(predictor: Any, target: int, known: dict[int, set[int]]) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    inner, number = nodes[~leaf], numbered(leaf)
    members = {}
    for place, node in enumerate(inner):
        if node["is_categorical"]:
            left = _members(predictor.raw_left_cat_bitsets[node["bitset_idx"]])
            seen = known[int(node["feature_idx"])]
            unseen = set(range(MOST_CATEGORIES)) - seen if node["missing_go_to_left"] else set()
            members[place] = sorted((left & seen) | unseen) or [-1]  # no row is of the category -1
    return Tree(
        feature=inner["feature_idx"],
        threshold=inner["num_threshold"].astype(float),
        on_true=number[inner["left"]],
        on_false=number[inner["right"]],
        missing_on_true=inner["missing_go_to_left"].astype(bool),
        leaves=nodes["value"][leaf],
        target=target,
        members=members,
    )


CONVERTERS = {
    "sklearn.ensemble.HistGradientBoostingClassifier": boosting_classifier,
    "sklearn.ensemble.HistGradientBoostingRegressor": boosting_regressor,
}
