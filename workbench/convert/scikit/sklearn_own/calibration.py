"""Isotonic regression, and classifiers whose scores become probabilities by what they were calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.known_functions import interpolate
from workbench.convert.scikit.sklearn_own.responses import response
from workbench.errors import Unsupported


def isotonic(graph: Graph, model: Any) -> Sequence[Value]:
    if model.out_of_bounds == "raise":
        raise Unsupported("it raises an error beyond its training data; fit it with out_of_bounds='clip' or 'nan'")
    column = graph.rows.reshape(-1, 1)
    found = interpolate(column, model.X_thresholds_, model.y_thresholds_)
    if model.out_of_bounds == "nan" and len(model.X_thresholds_) > 1:
        low, high = float(model.X_thresholds_[0]), float(model.X_thresholds_[-1])
        found = graph.where(column < low, np.nan, graph.where(column > high, np.nan, found))
    return [found]


def calibrated(graph: Graph, model: Any) -> Sequence[Value]:
    parts = [_one(graph, each) for each in model.calibrated_classifiers_]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    probabilities = total / float(len(parts))
    return [graph.labels(model.classes_, probabilities.argmax()), probabilities]


def _one(graph: Graph, part: Any) -> Value:
    scores = response(graph, part.estimator)
    count = len(part.classes)
    if part.method == "temperature":
        return _by_temperature(graph, part, scores)
    if count == 2:
        second = _calibrate(scores, part.calibrators[0])
        return graph.concat([1.0 - second, second])
    places = list(np.searchsorted(part.classes, part.estimator.classes_))
    columns: list[Value] = [graph.fill(np.zeros(1))] * count
    for place, number in zip(places, range(len(part.calibrators)), strict=True):
        columns[place] = _calibrate(scores.take([number]), part.calibrators[number])
    found = graph.concat(columns)
    total = found.reduce("Sum")
    none = total.equals(0.0)
    return graph.where(none, 1 / count, found / graph.where(none, 1.0, total))


def _calibrate(column: Value, calibrator: Any) -> Value:
    if hasattr(calibrator, "a_"):
        return (-(column * float(calibrator.a_) + float(calibrator.b_))).apply("Sigmoid")
    return interpolate(column, calibrator.X_thresholds_, calibrator.y_thresholds_)


def _by_temperature(graph: Graph, part: Any, scores: Value) -> Value:
    two = len(part.classes) == 2
    if hasattr(part.estimator, "decision_function"):
        logits = graph.concat([-scores, scores]) if two else scores
    else:
        logits = ((graph.concat([1.0 - scores, scores]) if two else scores) + 1e-12).apply("Log")
    return graph.node("Softmax", logits * float(part.calibrators[0].beta_), axis=1)


CONVERTERS = {
    "sklearn.isotonic.IsotonicRegression": isotonic,
    "sklearn.calibration.CalibratedClassifierCV": calibrated,
}
