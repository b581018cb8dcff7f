"""Estimators that ask the one inside them, with another threshold or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.responses import labels_and_probabilities, response


def passed_on(graph: Graph, model: Any) -> Sequence[Value]:
    names = ("best_estimator_", "estimator_", "estimator")
    inside = next(found for name in names if (found := getattr(model, name, None)) is not None)
    return graph.inner(inside, outputs=graph.output_count)


def with_threshold(graph: Graph, model: Any) -> Sequence[Value]:
    inside = getattr(model, "estimator_", model.estimator)
    method = model.response_method
    methods = ("predict_proba", "decision_function") if method == "auto" else (method,)
    chosen = next(each for each in methods if hasattr(inside, each))
    positive = model._curve_scorer._get_pos_label() if hasattr(model, "_curve_scorer") else model.pos_label
    second = positive is None or positive == model.classes_[1]
    score = response(graph, inside, methods=(chosen,))
    if not second:
        score = -score if chosen == "decision_function" else 1.0 - score
    threshold = getattr(model, "best_threshold_", getattr(model, "threshold", "auto"))
    if threshold == "auto":
        threshold = 0.5 if chosen == "predict_proba" else 0.0
    # A threshold may be the score of some rows to the last bit, so it is rounded as their scores are.
    above = score.cast("float32") >= graph.numbers(threshold).cast("float32")
    order = model.classes_ if second else model.classes_[::-1]
    label = graph.labels(np.asarray(order), above.cast("int64").reshape(-1))
    return [label, labels_and_probabilities(graph, inside)[1] if hasattr(model, "predict_proba") else score]


CONVERTERS = {
    "sklearn.frozen.FrozenEstimator": passed_on,
    "sklearn.model_selection.FixedThresholdClassifier": with_threshold,
    "sklearn.model_selection.RandomizedSearchCV": passed_on,
    "sklearn.model_selection.TunedThresholdClassifierCV": with_threshold,
    "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV": passed_on,
    "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV": passed_on,
    "sklearn.semi_supervised.SelfTrainingClassifier": passed_on,
}
