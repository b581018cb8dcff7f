"""Trees that skl2onnx cannot write: boosting on categories, and outputs with classes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.columns_alone import matches
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text
from workbench.convert.scikit.sklearn_own.responses import of_each_output
from workbench.convert.trees.tree_graph import Boosted, Tree, ensemble_attributes
from workbench.core.tensor import Array
from workbench.errors import Unsupported

MOST_CATEGORIES = 256
"""More than a set of scikit-learn's boosting can hold."""


def _sum_of_trees(graph: Graph, rows: Value, trees: Sequence[Tree], base: Array) -> Value:
    """The base and the sum of what the trees add, float64 [N, targets]."""
    model = Boosted(features=(), base=base, link="identity", trees=trees)
    attributes = ensemble_attributes(model, np.dtype(np.float32))
    node = graph.node("TreeEnsembleRegressor", rows.cast("float32"), domain="ai.onnx.ml", **attributes)
    return node.cast("float64")


def _numbered(leaf: Array) -> Array:
    """Each node's number as a child of `Tree`: its place among the inner nodes, or ~ its place among the leaves."""
    return np.where(leaf, ~(np.cumsum(leaf) - 1), np.cumsum(~leaf) - 1)


# Boosting by histograms


def boosting_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    scores = _boosted(graph, model)
    if len(model.classes_) == 2:
        second = scores.apply("Sigmoid")
        label = graph.labels(model.classes_, (scores.reshape(-1) > 0.0).cast("int64"))
        return [label, graph.concat([1.0 - second, second])]
    return [graph.labels(model.classes_, scores.argmax()), graph.node("Softmax", scores, axis=1)]


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
    return _sum_of_trees(graph, rows, trees, np.ravel(model._baseline_prediction).astype(float))


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
    inner, number = nodes[~leaf], _numbered(leaf)
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


# Trees of several outputs


def several_classes(graph: Graph, model: Any) -> Sequence[Value]:
    """Of a tree or a forest with several outputs."""
    members = getattr(model, "estimators_", [model])
    counts = [len(each) for each in model.classes_]
    trees = [_classes_tree(each.tree_, counts, len(members)) for each in members]
    shares = _sum_of_trees(graph, graph.rows, trees, np.zeros(sum(counts)))
    ends = np.cumsum(counts)
    parts = [shares.take(np.arange(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    labels = [graph.labels(kinds, part.argmax()) for kinds, part in zip(model.classes_, parts, strict=True)]
    return of_each_output(labels, parts, counts)


def _classes_tree(tree: Any, counts: list[int], members: int) -> Tree:
    leaf = tree.children_left < 0
    inner, number = ~leaf, _numbered(leaf)
    values = [tree.value[leaf, output, :count] for output, count in enumerate(counts)]
    shares = [each / np.maximum(each.sum(axis=1, keepdims=True), 1e-300) / members for each in values]
    return Tree(
        feature=tree.feature[inner],
        threshold=tree.threshold[inner],
        on_true=number[tree.children_left[inner]],
        on_false=number[tree.children_right[inner]],
        missing_on_true=tree.missing_go_to_left[inner].astype(bool),
        leaves=np.concatenate(shares, axis=1),
    )


CONVERTERS = {
    "sklearn.ensemble.HistGradientBoostingClassifier": boosting_classifier,
    "sklearn.ensemble.HistGradientBoostingRegressor": boosting_regressor,
}

OF_SEVERAL_OUTPUTS = {
    "sklearn.ensemble.ExtraTreesClassifier": several_classes,
    "sklearn.ensemble.RandomForestClassifier": several_classes,
    "sklearn.tree.DecisionTreeClassifier": several_classes,
    "sklearn.tree.ExtraTreeClassifier": several_classes,
}
"""Used only for several outputs, whose probabilities skl2onnx 1.20 gives wrongly."""
