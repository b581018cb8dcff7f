"""scikit-learn's own trees and what is made of them: forests, gradient boosting, isolation, leaves as columns.

They round their input to float32 and compare it with float64 split points, and so do these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text
from workbench.convert.scikit.sklearn_own.responses import labels_and_probabilities, of_each_output
from workbench.convert.scikit.sklearn_own.trees import numbered, sum_of_trees
from workbench.convert.trees.tree_graph import ML_OPSET, Boosted, Tree, ensemble_attributes
from workbench.core.tensor import Array
from workbench.errors import Unsupported


def _tree(tree: Any, leaves: Array, target: int = 0, features: Array | None = None) -> Tree:
    """`leaves`: the values of the leaves in the order of their nodes; `features`: which columns of the input it sees,
    None: all."""
    leaf = tree.children_left < 0
    inner, number = ~leaf, numbered(leaf)
    return Tree(
        feature=tree.feature[inner] if features is None else np.asarray(features)[tree.feature[inner]],
        threshold=tree.threshold[inner],
        on_true=number[tree.children_left[inner]],
        on_false=number[tree.children_right[inner]],
        missing_on_true=tree.missing_go_to_left[inner].astype(bool),
        leaves=leaves,
        target=target,
    )


def _leaf_values(tree: Any) -> Array:
    """float64 [leaves, outputs, classes], of a regressor [leaves, outputs, 1]."""
    return np.asarray(tree.value[tree.children_left < 0])


def _members(model: Any) -> list[Any]:
    return list(getattr(model, "estimators_", [model]))


def classifier(graph: Graph, model: Any) -> Sequence[Value]:
    if isinstance(model.classes_, list):
        return _several_classes(graph, model)
    classes = np.asarray(model.classes_)
    if classes.dtype.kind == "f" and not np.array_equal(classes, np.round(classes)):
        raise Unsupported("its classes are fractions, and labels of an export are whole numbers or text")
    members = _members(model)
    if len(classes) == 1:
        return [graph.labels(classes, graph.fill(np.int64(0))), graph.fill(np.ones(1))]
    values = [_leaf_values(each.tree_)[:, 0] for each in members]
    if len(classes) == 2:  # leaves of 0 and 1 are summed exactly, so half of the trees is exactly half
        trees = [_tree(each.tree_, shares[:, 1]) for each, shares in zip(members, values, strict=True)]
        second = sum_of_trees(graph, graph.rounded_rows, trees, np.zeros(1)) / float(len(members))
        label = graph.labels(classes, (second.reshape(-1) > 0.5).cast("int64"))
        return [label, graph.concat([1.0 - second, second])]
    trees = [_tree(each.tree_, shares) for each, shares in zip(members, values, strict=True)]
    plain = np.array([str(each) for each in classes], object) if is_text(classes) else classes.astype(np.int64)
    attributes = ensemble_attributes(
        Boosted(features=(), base=np.zeros(len(classes)), link="identity", trees=trees), np.dtype(np.float64), plain
    )
    label, sums = graph.nodes(
        "TreeEnsembleClassifier", 2, graph.rounded_rows, domain="ai.onnx.ml", op_version=ML_OPSET, **attributes
    )
    if len(members) == 1:
        return [label, sums]
    return [label, sums.cast("float64") / float(len(members))]


def _several_classes(graph: Graph, model: Any) -> Sequence[Value]:
    members = _members(model)
    counts = [len(each) for each in model.classes_]
    trees = []
    for each in members:
        values = _leaf_values(each.tree_)
        leaves = [values[:, output, :count] for output, count in enumerate(counts)]
        trees.append(_tree(each.tree_, np.concatenate(leaves, axis=1)))
    shares = sum_of_trees(graph, graph.rounded_rows, trees, np.zeros(sum(counts))) / float(len(members))
    ends = np.cumsum(counts)
    parts = [shares.take(np.arange(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    labels = [graph.labels(kinds, part.argmax()) for kinds, part in zip(model.classes_, parts, strict=True)]
    return of_each_output(labels, parts, counts)


def regressor(graph: Graph, model: Any) -> Sequence[Value]:
    members = _members(model)
    trees = [_tree(each.tree_, _leaf_values(each.tree_)[:, :, 0] / len(members)) for each in members]
    return [sum_of_trees(graph, graph.rounded_rows, trees, np.zeros(trees[0].leaves.shape[1]))]


# Gradient boosting


def boosted_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    scores = _stages(graph, model)
    if len(model.classes_) == 2:
        label = graph.labels(model.classes_, (scores.reshape(-1) >= 0.0).cast("int64"))
        if graph.raw:
            return [label, scores]
        second = (scores * 2.0 if model.loss == "exponential" else scores).apply("Sigmoid")
        return [label, graph.concat([1.0 - second, second])]
    label = graph.labels(model.classes_, scores.argmax())
    return [label, scores if graph.raw else graph.node("Softmax", scores, axis=1)]


def boosted_regressor(graph: Graph, model: Any) -> Sequence[Value]:
    return [_stages(graph, model)]


def _stages(graph: Graph, model: Any) -> Value:
    trees = [
        _tree(each.tree_, _leaf_values(each.tree_)[:, 0, 0] * model.learning_rate, target)
        for stage in model.estimators_
        for target, each in enumerate(stage)
    ]
    targets = model.estimators_.shape[1]
    first = model.init_
    if isinstance(first, str) or type(first).__module__ == "sklearn.dummy":
        base = np.ravel(model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))).astype(float)
        return sum_of_trees(graph, graph.rounded_rows, trees, base)
    if hasattr(model, "classes_"):
        shares = labels_and_probabilities(graph, first, graph.rounded_rows)[1]
        tiny = float(np.finfo(np.float64).eps)
        shares = shares.clip(tiny, 1 - tiny)
        if targets > 1:
            logarithm = shares.apply("Log")
            start = logarithm - logarithm.reduce("Mean")
        else:
            second = shares.take([1])
            start = (second / (1.0 - second)).apply("Log") * (0.5 if model.loss == "exponential" else 1.0)
    else:
        start = graph.inner(first, graph.rounded_rows)[0].cast("float64").reshape(-1, 1)
    return start + sum_of_trees(graph, graph.rounded_rows, trees, np.zeros(targets))


def by_votes(graph: Graph, model: Any) -> Sequence[Value]:
    """AdaBoostClassifier: each member's weight for the class that it answers, and against the others."""
    classes = np.asarray(model.classes_)
    others, total = len(classes) - 1, float(np.sum(model.estimator_weights_[: len(model.estimators_)]))
    names = np.array([str(each) for each in classes], object) if is_text(classes) else classes.astype(np.int64)
    scores = graph.fill(np.zeros(len(classes)))
    for member, weight in zip(model.estimators_, model.estimator_weights_, strict=False):
        found = graph.inner(member, outputs=2 if hasattr(member, "predict_proba") else 1)[0]
        scores = scores + graph.where(found.reshape(-1, 1).equals(names), float(weight), -float(weight) / others)
    scores = scores / total
    if others > 1:
        label = graph.labels(classes, scores.argmax())
        return [label, scores if graph.raw else graph.node("Softmax", scores / float(others), axis=1)]
    second = scores.take([1]) - scores.take([0])
    label = graph.labels(classes, (second.reshape(-1) > 0.0).cast("int64"))
    return [label, second if graph.raw else graph.node("Softmax", graph.concat([-second, second]) / 2.0, axis=1)]


# Isolation


def isolation_forest(graph: Graph, model: Any) -> Sequence[Value]:
    from sklearn.ensemble._iforest import _average_path_length

    lengths = [
        np.asarray(model._decision_path_lengths[place] + model._average_path_length_per_tree[place] - 1.0)[
            each.tree_.children_left < 0
        ]
        for place, each in enumerate(model.estimators_)
    ]
    # What the offset was read from is the score of some row, so the sum keeps more digits than one float32 has.
    unit = 2.0 ** (np.ceil(np.log2(1 + sum(float(each.max(initial=1.0)) for each in lengths))) - 23)
    trees = []
    for each, features, length in zip(model.estimators_, model.estimators_features_, lengths, strict=True):
        coarse = np.round(length / unit) * unit
        trees.append(_tree(each.tree_, np.column_stack([coarse, length - coarse]), features=features))
    parts = sum_of_trees(graph, graph.rounded_rows, trees, np.zeros(2))
    whole = len(model.estimators_) * float(_average_path_length([model._max_samples])[0])
    depth = parts.reduce("Sum")
    share = depth / whole if whole else graph.fill(np.ones(1))
    scores = -((share * float(-np.log(2.0))).apply("Exp")) - float(model.offset_)
    label = 1 - (scores.reshape(-1) < 0.0).cast("int64") * 2
    return [label, scores]


# Leaves as columns


def leaves_as_columns(graph: Graph, model: Any) -> Sequence[Value]:
    counts = [int((each.tree_.children_left < 0).sum()) for each in model.estimators_]
    places = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    marks = np.eye(sum(counts))
    trees = [_tree(each.tree_, marks[place]) for each, place in zip(model.estimators_, places, strict=True)]
    return [sum_of_trees(graph, graph.rounded_rows, trees, np.zeros(sum(counts)))]


CONVERTERS = {
    **dict.fromkeys(
        (
            "sklearn.ensemble.ExtraTreesClassifier",
            "sklearn.ensemble.RandomForestClassifier",
            "sklearn.tree.DecisionTreeClassifier",
            "sklearn.tree.ExtraTreeClassifier",
        ),
        classifier,
    ),
    **dict.fromkeys(
        (
            "sklearn.ensemble.ExtraTreesRegressor",
            "sklearn.ensemble.RandomForestRegressor",
            "sklearn.tree.DecisionTreeRegressor",
            "sklearn.tree.ExtraTreeRegressor",
        ),
        regressor,
    ),
    "sklearn.ensemble.AdaBoostClassifier": by_votes,
    "sklearn.ensemble.GradientBoostingClassifier": boosted_classifier,
    "sklearn.ensemble.GradientBoostingRegressor": boosted_regressor,
    "sklearn.ensemble.IsolationForest": isolation_forest,
    "sklearn.ensemble.RandomTreesEmbedding": leaves_as_columns,
}
