"""Classifiers of many classes made of classifiers of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.distances import nearest_place
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.responses import columns, response
from workbench.core.tensor import Array


def votes_of_pairs(graph: Graph, count: int, labels: Value, scores: Value) -> Value:
    """Votes of each class, and a share below one half of how sure the pairs are; [N, classes]. `labels` and `scores`
    are [N, pairs]: 0 is a vote for the first of a pair, 1 for the second, and of regressors most are neither."""
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    first: Array = np.array([[float(i == each) for each in range(count)] for i, _ in pairs])
    second: Array = np.array([[float(j == each) for each in range(count)] for _, j in pairs])
    votes = labels.equals(0.0).cast("float64") @ first + labels.equals(1.0).cast("float64") @ second
    sure = scores @ (second - first)
    return votes + sure / ((sure.apply("Abs") + 1.0) * 3.0)


def _label(graph: Graph, estimator: Any, rows: Value) -> Value:
    from sklearn.base import is_regressor

    return graph.inner(estimator, rows, outputs=1 if is_regressor(estimator) else 2)[0].cast("float64")


def one_vs_rest(graph: Graph, model: Any) -> Sequence[Value]:
    """skl2onnx takes an SVM's scores for probabilities, and gives shares where scikit-learn gives scores."""
    from sklearn.base import is_classifier

    first = model.estimators_[0]
    scores = graph.concat([response(graph, each) for each in model.estimators_])
    if model.label_binarizer_.y_type_ == "multiclass":
        label = graph.labels(model.classes_, scores.argmax())
    else:
        threshold = 0.0 if hasattr(first, "decision_function") and is_classifier(first) else 0.5
        above = (scores > threshold).cast("int64")
        label = above if model.multilabel_ else graph.labels(model.classes_, above.reshape(-1))
    if graph.raw or not hasattr(model, "predict_proba"):
        return [label, scores]
    shares = graph.concat([response(graph, each, methods=()) for each in model.estimators_])
    if len(model.estimators_) == 1:
        shares = graph.concat([1.0 - shares, shares])
    if not model.multilabel_:
        total = shares.reduce("Sum")
        shares = shares / graph.where(total.equals(0.0), 1.0, total)
    return [label, shares]


def one_vs_one(graph: Graph, model: Any) -> Sequence[Value]:
    from sklearn.base import is_regressor

    pairs = [graph.rows] * len(model.estimators_)
    if model.pairwise_indices_ is not None:
        pairs = [graph.rows.take(np.asarray(each, np.int64)) for each in model.pairwise_indices_]
    labels = [_label(graph, each, rows) for each, rows in zip(model.estimators_, pairs, strict=True)]
    scores = [response(graph, each, rows) for each, rows in zip(model.estimators_, pairs, strict=True)]
    votes = votes_of_pairs(graph, model.n_classes_, columns(labels), graph.concat(scores))
    if model.n_classes_ > 2:
        return [graph.labels(model.classes_, votes.argmax()), votes]
    first = model.estimators_[0]
    threshold = 0.0 if hasattr(first, "decision_function") and not is_regressor(first) else 0.5
    second = votes.take([1])
    return [graph.labels(model.classes_, (second.reshape(-1) > threshold).cast("int64")), second]


def output_code(graph: Graph, model: Any) -> Sequence[Value]:
    scores = graph.concat([response(graph, each) for each in model.estimators_])
    return [graph.labels(model.classes_, nearest_place(scores, model.code_book_))]


CONVERTERS = {
    "sklearn.multiclass.OneVsOneClassifier": one_vs_one,
    "sklearn.multiclass.OneVsRestClassifier": one_vs_rest,
    "sklearn.multiclass.OutputCodeClassifier": output_code,
}
