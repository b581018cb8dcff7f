"""What the estimators inside another one answer: scores, probabilities and labels, and how several are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value


def response(
    graph: Graph, estimator: Any, rows: Value | None = None, methods: Sequence[str] = ("decision_function",)
) -> Value:
    """The first of `methods`, then `predict_proba`, that the estimator has, float64 [N, columns]; of two classes the
    one column of the second class. `rows`: as for `Graph.inner`."""
    from sklearn.base import is_regressor

    estimator, rows = graph.behind_steps(estimator, rows)
    if is_regressor(estimator):
        return graph.inner(estimator, rows)[0].cast("float64").reshape(-1, 1)
    if type(estimator).__name__ == "_ConstantPredictor":  # where all training rows were of one class
        return graph.fill(np.ravel(estimator.y_).astype(float))
    method = next((each for each in (*methods, "predict_proba") if hasattr(estimator, each)), "predict_proba")
    if method == "decision_function":
        return decision(graph, estimator, rows)
    found = graph.inner(estimator, rows, outputs=2)[1].cast("float64")
    return found.take([1]) if len(estimator.classes_) == 2 else found


def decision(graph: Graph, estimator: Any, rows: Value | None = None) -> Value:
    """`decision_function`, float64 [N, 1] or [N, classes]."""
    from sklearn.linear_model._base import LinearClassifierMixin

    estimator, rows = graph.behind_steps(estimator, rows)
    if isinstance(estimator, LinearClassifierMixin):  # in float64, unlike skl2onnx
        given = graph.rows if rows is None else rows
        return given @ np.atleast_2d(np.asarray(estimator.coef_, float)).T + np.ravel(estimator.intercept_)
    found = graph.inner(estimator, rows, outputs=2, raw=True)[1].cast("float64")
    if len(estimator.classes_) == 2:
        return graph.node("Reshape", found.take([-1]) if _two_columns(estimator) else found, np.array([-1, 1]))
    return found


def _two_columns(estimator: Any) -> bool:
    """Whether skl2onnx gives two columns of scores for two classes; our own converters give one."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    return not str(sklearn_operator_name_map[type(estimator)]).startswith("Own")


def labels_and_probabilities(graph: Graph, estimator: Any, rows: Value | None = None) -> tuple[Value, Value]:
    label, probabilities = graph.inner(estimator, rows, outputs=2)
    return label, probabilities.cast("float64")


def columns(parts: Sequence[Value]) -> Value:
    """Vectors [N] side by side, [N, parts]."""
    return parts[0].graph.concat([part.reshape(-1, 1) for part in parts])


def of_each_output(labels: Sequence[Value], probabilities: Sequence[Value], counts: Sequence[int]) -> list[Value]:
    """Labels [N, outputs], and probabilities [outputs, N, classes], or one array an output where `counts` of their
    classes differ."""
    if len(set(counts)) > 1 or not probabilities:
        return [columns(labels), *probabilities]
    graph = probabilities[0].graph
    return [columns(labels), graph.concat([graph.node("Unsqueeze", each, np.array([0])) for each in probabilities], 0)]
