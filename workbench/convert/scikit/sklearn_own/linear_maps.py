"""Models and transformers that are one product with a matrix, or a choice of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.core.tensor import Array


def _dense(matrix: Any) -> Array:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, float)


def cross_decomposition(graph: Graph, model: Any) -> Sequence[Value]:
    return [(graph.rows - model._x_mean) @ np.asarray(model.coef_, float).T + model.intercept_]


def pls_svd(graph: Graph, model: Any) -> Sequence[Value]:
    return [((graph.rows - model._x_mean) / model._x_std) @ model.x_weights_]


def ridge_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    scores = graph.rows @ np.asarray(model.coef_, float).T + np.ravel(model.intercept_)
    if model._label_binarizer.y_type_.startswith("multilabel"):
        return [(scores > 0.0).cast("int64"), scores]
    if len(model.classes_) == 2:
        return [graph.labels(model.classes_, (scores.reshape(-1) > 0.0).cast("int64")), scores]
    return [graph.labels(model.classes_, scores.argmax()), scores]


def sgd_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    """Labels by the scores, as scikit-learn's: the probabilities of modified_huber are clipped, and often equal."""
    scores = graph.rows @ np.asarray(model.coef_, float).T + np.ravel(model.intercept_)
    two = len(model.classes_) == 2
    label = graph.labels(model.classes_, (scores.reshape(-1) > 0.0).cast("int64") if two else scores.argmax())
    if graph.raw or model.loss not in ("log_loss", "modified_huber"):
        return [label, scores]
    shares = scores.apply("Sigmoid") if model.loss == "log_loss" else (scores.clip(-1.0, 1.0) + 1.0) / 2.0
    if two:
        return [label, graph.concat([1.0 - shares, shares])]
    total = shares.reduce("Sum")
    return [label, graph.where(total.equals(0.0), 1 / len(model.classes_), shares / total)]


def fast_ica(graph: Graph, model: Any) -> Sequence[Value]:
    rows = graph.rows - model.mean_ if model.whiten else graph.rows
    return [rows @ model.components_.T]


def factor_analysis(graph: Graph, model: Any) -> Sequence[Value]:
    weighted = model.components_ / model.noise_variance_
    inverse = np.linalg.inv(np.eye(len(model.components_)) + weighted @ model.components_.T)
    return [(graph.rows - model.mean_) @ (weighted.T @ inverse)]


def sparse_pca(graph: Graph, model: Any) -> Sequence[Value]:
    parts = np.asarray(model.components_, float)
    inverse = np.linalg.inv(parts @ parts.T + model.ridge_alpha * np.eye(len(parts)))
    return [(graph.rows - model.mean_) @ (parts.T @ inverse)]


def projection(graph: Graph, model: Any) -> Sequence[Value]:
    return [graph.rows @ _dense(model.components_).T]


def boltzmann(graph: Graph, model: Any) -> Sequence[Value]:
    return [(graph.rows @ _dense(model.components_).T + model.intercept_hidden_).apply("Sigmoid")]


def selection(graph: Graph, model: Any) -> Sequence[Value]:
    return [graph.rows.take(np.flatnonzero(model.get_support()))]


CONVERTERS = {
    "sklearn.cross_decomposition.CCA": cross_decomposition,
    "sklearn.cross_decomposition.PLSCanonical": cross_decomposition,
    "sklearn.cross_decomposition.PLSSVD": pls_svd,
    "sklearn.decomposition.FactorAnalysis": factor_analysis,
    "sklearn.decomposition.FastICA": fast_ica,
    "sklearn.decomposition.MiniBatchSparsePCA": sparse_pca,
    "sklearn.decomposition.SparsePCA": sparse_pca,
    "sklearn.feature_selection.GenericUnivariateSelect": selection,
    "sklearn.feature_selection.RFE": selection,
    "sklearn.feature_selection.RFECV": selection,
    "sklearn.feature_selection.SelectFdr": selection,
    "sklearn.feature_selection.SelectFpr": selection,
    "sklearn.feature_selection.SelectFromModel": selection,
    "sklearn.feature_selection.SelectFwe": selection,
    "sklearn.feature_selection.SelectKBest": selection,
    "sklearn.feature_selection.SelectPercentile": selection,
    "sklearn.feature_selection.SequentialFeatureSelector": selection,
    "sklearn.feature_selection.VarianceThreshold": selection,
    "sklearn.linear_model.RidgeClassifier": ridge_classifier,
    "sklearn.linear_model.RidgeClassifierCV": ridge_classifier,
    "sklearn.linear_model.SGDClassifier": sgd_classifier,
    "sklearn.neural_network.BernoulliRBM": boltzmann,
    "sklearn.random_projection.SparseRandomProjection": projection,
}
