"""Boosted models as ONNX graphs: what the readers of LightGBM's and XGBoost's own formats give, written as operators.

Rows are decided as the library decides them: a threshold is never rounded across a number that an input can hold, a
missing value goes where the tree has learnt, a categorical split asks for each of its categories in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.core.tensor import Array

ML_OPSET = 3
OPSET = 21


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. A child of 0 or more is an inner node, a negative one is the leaf `~child`; node 0 is the root."""

    feature: Array
    """[nodes], of the inner nodes; empty for a tree that is one leaf."""
    threshold: Array
    """[nodes], float64."""
    on_true: Array
    """[nodes], the child of a row whose value is at most (or below) the threshold, or is among the categories."""
    on_false: Array
    missing_on_true: Array
    """[nodes], bool: whether NaN goes to `on_true`."""
    leaves: Array
    """[leaves] values, or [leaves, targets] where each leaf adds to all targets."""
    target: int = 0
    """What a leaf adds to, where `leaves` has one axis."""
    members: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Inner node -> its categories, where it splits by category."""


@dataclass(frozen=True, slots=True)
class Boosted:
    """A trained model. Its raw scores are `base` plus the sum of its trees (or a linear function), then linked."""

    features: Sequence[str]
    """The columns' names, in training order."""
    base: Array
    """[targets], added to the raw scores."""
    link: str
    """What becomes of the raw scores; see `linked`."""
    trees: Sequence[Tree] = ()
    below: bool = False
    """True: a row goes to `on_true` when it is below the threshold; False: also when it equals it."""
    weights: Array | None = None
    """[features, targets] of a linear model, which has no trees."""
    missing: float = float("nan")
    """The value that means missing, beside NaN."""
    zero_is_missing: Array | None = None
    """[features], bool: where 0 is taken as missing; None: nowhere."""
    categories: Mapping[int, Sequence[Any]] = field(default_factory=dict)
    """Feature -> the values that its codes 0, 1, ... stand for, where it was a pandas category."""

    @property
    def targets(self) -> int:
        return len(self.base)


class Graph:
    """Collects nodes and constants, with names that begin with `prefix`."""

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._prefix = prefix

    def add(self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = f"{self._prefix}{operator}_{len(self.nodes)}"
        output = output or f"{name}:0"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=name, domain=domain, **attributes))
        return output

    def constant(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"{self._prefix}constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def raw_scores(graph: Graph, model: Boosted, rows: str, dtype: np.dtype[Any]) -> str:
    """Add the operators from `rows`, [rows, features] of `dtype`, to the raw scores, [rows, targets] of float32."""
    if not np.isnan(model.missing):
        found = graph.add("Equal", rows, graph.constant(dtype.type(model.missing)))
        rows = graph.add("Where", found, graph.constant(dtype.type(np.nan)), rows)
    if model.weights is not None:
        present = graph.add("Where", graph.add("IsNaN", rows), graph.constant(dtype.type(0)), rows)
        product = graph.add("MatMul", present, graph.constant(model.weights.astype(dtype)))
        return graph.add("Add", product, graph.constant(model.base.astype(dtype)))
    if model.zero_is_missing is not None and model.zero_is_missing.any():
        small = graph.add("LessOrEqual", graph.add("Abs", rows), graph.constant(dtype.type(np.float32(1e-35))))
        zero = graph.add("And", small, graph.constant(model.zero_is_missing))
        rows = graph.add("Where", zero, graph.constant(dtype.type(np.nan)), rows)
    attributes = ensemble_attributes(model, dtype)
    return graph.add("TreeEnsembleRegressor", rows, domain="ai.onnx.ml", **attributes)


def linked(graph: Graph, link: str, scores: str, output: str) -> str:
    """Add what makes the model's own answer of its raw scores, as `output`; KeyError for a link that is none."""
    from onnx import TensorProto

    match link:
        case "softmax":
            return graph.add("Softmax", scores, output=output, axis=1)
        case "signed square":
            return graph.add("Mul", scores, graph.add("Abs", scores), output=output)
        case "best class":
            best = graph.add("ArgMax", scores, axis=1, keepdims=1)
            return graph.add("Cast", best, output=output, to=TensorProto.FLOAT)
        case "positive":
            positive = graph.add("Greater", scores, graph.constant(np.float32(0)))
            return graph.add("Cast", positive, output=output, to=TensorProto.FLOAT)
    operator = {"identity": "Identity", "sigmoid": "Sigmoid", "exp": "Exp", "log1p(exp)": "Softplus"}[link]
    return graph.add(operator, scores, output=output)


def two_classes(graph: Graph, positive: str, output: str) -> str:
    """Add what makes [rows, 2] probabilities of the second class's, [rows, 1]."""
    negative = graph.add("Sub", graph.constant(np.float32(1)), positive)
    return graph.add("Concat", negative, positive, output=output, axis=1)


def labelled(graph: Graph, probabilities: str, classes: Array, output: str) -> str:
    """Add what gives each row's class, of the values and the type of `classes`."""
    best = graph.add("ArgMax", probabilities, axis=1, keepdims=0)
    return graph.add("Gather", graph.constant(classes), best, output=output)


def ensemble_attributes(model: Boosted, dtype: np.dtype[Any], classes: Array | None = None) -> dict[str, Any]:
    """The attributes of TreeEnsembleRegressor. With `classes` (int64, or text as objects), one a target, those of
    TreeEnsembleClassifier, which knows no base; three at least, since it takes the scores of two for shares of 1. In
    float64 the sums are too, and then rounded to float32."""
    from onnx import numpy_helper

    nodes: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "feature", "mode", "value")}
    nodes |= {name: [] for name in ("true", "false", "missing")}
    weights: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "target", "value")}
    for number, tree in enumerate(model.trees):
        _append(nodes, weights, number, tree, "BRANCH_LT" if model.below else "BRANCH_LEQ", dtype)
    of = "class" if classes is not None else "target"
    attributes: dict[str, Any] = {
        "nodes_treeids": nodes["tree"],
        "nodes_nodeids": nodes["node"],
        "nodes_featureids": nodes["feature"],
        "nodes_modes": nodes["mode"],
        "nodes_truenodeids": nodes["true"],
        "nodes_falsenodeids": nodes["false"],
        "nodes_missing_value_tracks_true": nodes["missing"],
        f"{of}_treeids": weights["tree"],
        f"{of}_nodeids": weights["node"],
        f"{of}_ids": weights["target"],
    }
    if classes is None:
        attributes["n_targets"] = model.targets
    elif classes.dtype == object:
        attributes["classlabels_strings"] = list(classes)
    else:
        attributes["classlabels_int64s"] = classes.tolist()
    numbers: dict[str, Any] = {"nodes_values": nodes["value"], f"{of}_weights": weights["value"]}
    if classes is None:
        numbers["base_values"] = model.base
    if dtype == np.float64:
        tensors = {f"{name}_as_tensor": np.asarray(each, np.float64) for name, each in numbers.items()}
        return attributes | {name: numpy_helper.from_array(each, name) for name, each in tensors.items()}
    return attributes | {name: [float(each) for each in values] for name, values in numbers.items()}


def _append(
    nodes: dict[str, list[Any]], weights: dict[str, list[Any]], number: int, tree: Tree, mode: str, dtype: np.dtype[Any]
) -> None:
    """Add one tree's nodes. Its inner nodes keep their numbers, its leaves follow, and then the rest of the questions
    of the categorical splits: each asks for one category and passes on what is none of them."""
    inner, leaves = len(tree.feature), len(tree.leaves)
    extra = inner + leaves

    def place(child: int) -> int:
        return child if child >= 0 else inner + ~child

    def add(node: int, feature: int, mode: str, value: float, yes: int, no: int, missing: bool) -> None:
        for name, each in zip(nodes, (number, node, feature, mode, value, yes, no, int(missing)), strict=True):
            nodes[name].append(each)

    thresholds = tree.threshold if dtype == np.float64 else _at_most_in_float32(tree.threshold)
    for node in range(inner):
        feature, missing = int(tree.feature[node]), bool(tree.missing_on_true[node])
        yes, no = place(int(tree.on_true[node])), place(int(tree.on_false[node]))
        members = tree.members.get(node)
        if members is None:
            add(node, feature, mode, float(thresholds[node]), yes, no, missing)
            continue
        asked = node
        for index, category in enumerate(members):
            last = index == len(members) - 1
            add(asked, feature, "BRANCH_EQ", float(category), yes, no if last else extra, missing)
            if not last:
                asked, extra = extra, extra + 1
    for leaf, values in enumerate(tree.leaves):
        add(inner + leaf, 0, "LEAF", 0.0, 0, 0, False)
        added = [(tree.target, values)]
        if tree.leaves.ndim > 1:
            added = [(int(target), values[target]) for target in np.flatnonzero(values)] or [(0, 0.0)]
        for target, value in added:
            for name, each in zip(weights, (number, inner + leaf, target, float(value)), strict=True):
                weights[name].append(each)


def _at_most_in_float32(thresholds: Array) -> Array:
    """The largest float32 that is no larger: a float32 is at most the one just if it is at most the other."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
        below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > thresholds, below, near)
