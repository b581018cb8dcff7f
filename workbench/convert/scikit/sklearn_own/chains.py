"""Several estimators for several outputs: side by side, or each with the answers of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text
from workbench.convert.scikit.sklearn_own.responses import (
    columns,
    decision,
    labels_and_probabilities,
    of_each_output,
)
from workbench.errors import Unsupported


def multi_output_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    if len({is_text(each) for each in model.classes_}) > 1:
        raise Unsupported("some of its outputs are text and some are numbers, which one output of a model cannot be")
    found = [labels_and_probabilities(graph, each) for each in model.estimators_]
    probabilities = [each for _, each in found] if hasattr(model, "predict_proba") else []
    return of_each_output([label for label, _ in found], probabilities, [len(each) for each in model.classes_])


def classifier_chain(graph: Graph, model: Any) -> Sequence[Value]:
    method = getattr(model, "chain_method_", "predict")
    before: list[Value] = []
    labels, probabilities = [], []
    for estimator in model.estimators_:
        rows = graph.concat([graph.rows, *before]) if before else graph.rows
        label, shares = labels_and_probabilities(graph, estimator, rows)
        labels.append(label)
        probabilities.append(shares)
        if method == "predict":
            before.append(label.cast("float64").reshape(-1, 1))
        elif len(estimator.classes_) != 2:
            raise Unsupported(f"chain_method={method!r} takes outputs of two classes")
        elif method == "decision_function":
            before.append(decision(graph, estimator, rows))
        else:
            chosen = shares.take([1])
            before.append(chosen.apply("Log") if method == "predict_log_proba" else chosen)
    order = np.argsort(model.order_)
    found = [columns([labels[place] for place in order])]
    if hasattr(model, "predict_proba") and all(len(each) == 2 for each in model.classes_):
        found.append(graph.concat([probabilities[place].take([1]) for place in order]))
    elif hasattr(model, "decision_function") and all(len(each) == 2 for each in model.classes_):
        found.append(graph.concat([_scores(graph, model, place, labels, probabilities) for place in order]))
    return found


def _scores(graph: Graph, model: Any, place: int, labels: list[Value], probabilities: list[Value]) -> Value:
    before = [label.cast("float64").reshape(-1, 1) for label in labels[:place]]
    rows = graph.concat([graph.rows, *before]) if before else graph.rows
    return decision(graph, model.estimators_[place], rows)


def regressor_chain(graph: Graph, model: Any) -> Sequence[Value]:
    before: list[Value] = []
    for estimator in model.estimators_:
        rows = graph.concat([graph.rows, *before]) if before else graph.rows
        before.append(graph.inner(estimator, rows)[0].cast("float64").reshape(-1, 1))
    return [graph.concat([before[place] for place in np.argsort(model.order_)])]


CONVERTERS = {
    "sklearn.multioutput.ClassifierChain": classifier_chain,
    "sklearn.multioutput.MultiOutputClassifier": multi_output_classifier,
    "sklearn.multioutput.RegressorChain": regressor_chain,
}
