"""Estimators that put the answers of several others together: by a vote, a mean, or another estimator on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.responses import columns, decision, response


def voting_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    """Its estimators were trained on the places of the classes."""
    weights = _weights(model)
    if model.voting == "soft":
        parts = [graph.inner(each, outputs=2)[1].cast("float64") for each in model.estimators_]
        shares = _total([part * float(weight) for part, weight in zip(parts, weights, strict=True)])
        shares = shares / float(np.sum(weights))
        return [graph.labels(model.classes_, shares.argmax()), shares]
    votes = []
    for estimator, weight in zip(model.estimators_, weights, strict=True):
        label = _label(graph, estimator).cast("float64").reshape(-1, 1)
        votes.append(label.equals(np.arange(len(model.classes_), dtype=float)).cast("float64") * float(weight))
    return [graph.labels(model.classes_, _total(votes).argmax())]


def _label(graph: Graph, estimator: Any) -> Value:
    """Of a linear model in float64, unlike skl2onnx: of a vote nothing tells how near to another one it was."""
    from sklearn.linear_model._base import LinearClassifierMixin

    last, rows = graph.behind_steps(estimator, None)
    if not isinstance(last, LinearClassifierMixin):
        return graph.inner(last, rows, outputs=2)[0]
    scores = decision(graph, last, rows)
    two = len(last.classes_) == 2
    return graph.labels(last.classes_, (scores.reshape(-1) > 0.0).cast("int64") if two else scores.argmax())


def voting_regressor(graph: Graph, model: Any) -> Sequence[Value]:
    weights = _weights(model)
    parts = [response(graph, each) * float(weight) for each, weight in zip(model.estimators_, weights, strict=True)]
    return [_total(parts) / float(np.sum(weights))]


def stacking(graph: Graph, model: Any) -> Sequence[Value]:
    two = len(getattr(model, "classes_", ())) == 2
    parts = []
    for estimator, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method == "decision_function":
            parts.append(decision(graph, estimator))
        elif method == "predict_proba":
            shares = graph.inner(estimator, outputs=2)[1].cast("float64")
            parts.append(shares.take([1]) if two else shares)
        else:
            outputs = 2 if hasattr(estimator, "classes_") else 1
            parts.append(columns([graph.inner(estimator, outputs=outputs)[0].cast("float64")]))
    table = graph.concat([*parts, graph.rows] if model.passthrough else parts)
    final = model.final_estimator_
    if not hasattr(model, "classes_"):
        return [graph.inner(final, table)[0]]
    label, scores = graph.inner(final, table, outputs=2)
    return [graph.labels(model.classes_, label.cast("int64")), scores]


def _weights(model: Any) -> Sequence[float]:
    given: Sequence[float] | None = model._weights_not_none
    return [1.0] * len(model.estimators_) if given is None else given


def _total(parts: Sequence[Value]) -> Value:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


CONVERTERS = {
    "sklearn.ensemble.StackingClassifier": stacking,
    "sklearn.ensemble.StackingRegressor": stacking,
    "sklearn.ensemble.VotingClassifier": voting_classifier,
    "sklearn.ensemble.VotingRegressor": voting_regressor,
}
