"""Estimators that compare a row with stored rows: within a radius, with centroids, and by spreading of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.distances import (
    exact_distances,
    kernel,
    minkowski_power,
    nearest,
    squared_distances,
)
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.responses import of_each_output
from workbench.convert.scikit.without_form import shown
from workbench.core.tensor import Array
from workbench.errors import Unsupported


def _weights_within_radius(graph: Graph, model: Any) -> Value:
    """[N, stored rows]; 0 outside the radius."""
    power = minkowski_power(model.metric, model.p)
    distances = exact_distances(graph.rows, model._fit_X, power)
    within = (distances <= float(model.radius)).cast("float64")
    if model.weights in (None, "uniform"):
        return within
    if model.weights != "distance":
        raise Unsupported("its weights are your own Python function, which ONNX cannot hold")
    same = distances.equals(0.0)
    weights = within / graph.where(same, 1.0, distances)
    alike = same.cast("float64") * within
    return graph.where(alike.reduce("Max") > 0.0, alike, weights)


def radius_regressor(graph: Graph, model: Any) -> Sequence[Value]:
    weights = _weights_within_radius(graph, model)
    targets = np.asarray(model._y, float)
    targets = targets.reshape(len(targets), -1)
    with np.errstate(invalid="ignore"):
        alone = np.full_like(model._y.reshape(len(targets), -1)[0], np.nan)  # of whole numbers, the lowest there is
    total = weights.reduce("Sum")
    none = total.equals(0.0)
    return [graph.where(none, alone.astype(float), (weights @ targets) / graph.where(none, 1.0, total))]


def radius_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    if model.outlier_label_ is None:
        raise Unsupported(
            "it raises an error for a row without neighbours; fit it with outlier_label='most_frequent' or a label"
        )
    weights = _weights_within_radius(graph, model)
    several = bool(model.outputs_2d_)
    classes = model.classes_ if several else [model.classes_]
    targets = np.asarray(model._y).reshape(len(model._y), -1)
    labels, probabilities = [], []
    for place, kinds in enumerate(classes):
        votes = weights @ np.eye(len(kinds))[targets[:, place]]
        total = votes.reduce("Sum")
        outlier = np.flatnonzero(kinds == model.outlier_label_[place])
        if not len(outlier):
            raise Unsupported("its outlier_label is none of its classes; fit it with outlier_label='most_frequent'")
        alone = total.equals(0.0)
        shares = graph.where(alone, np.eye(len(kinds))[outlier[0]], votes / graph.where(alone, 1.0, total))
        labels.append(graph.labels(kinds, shares.argmax()))
        probabilities.append(shares)
    return (
        of_each_output(labels, probabilities, [len(each) for each in classes]) if several else [*labels, *probabilities]
    )


def radius_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    distances = exact_distances(graph.rows, model._fit_X, minkowski_power(model.metric, model.p))
    within = (distances <= float(model.radius)).cast("float64")
    return [within if model.mode == "connectivity" else within * distances]


def isomap(graph: Graph, model: Any) -> Sequence[Value]:
    if model.n_neighbors is None:
        raise Unsupported("it was fitted with a radius; fit it with n_neighbors")
    power = minkowski_power(model.metric, model.p)
    near, places = nearest(exact_distances(graph.rows, model.nbrs_._fit_X, power), model.n_neighbors)
    ways = graph.value(np.asarray(model.dist_matrix_, float)).take(places, axis=0)  # [N, neighbours, stored rows]
    shortest = (ways + graph.node("Unsqueeze", near, np.array([-1]))).reduce("Min", keep=False)
    gram, known = shortest * shortest * -0.5, model.kernel_pca_
    centred = gram - gram.reduce("Mean") - known._centerer.K_fit_rows_ + float(known._centerer.K_fit_all_)
    values, vectors = known.eigenvalues_, known.eigenvectors_
    scaled: Array = np.divide(vectors, np.sqrt(np.maximum(values, 0)), out=np.zeros(vectors.shape), where=values > 0)
    return [centred @ scaled]


def kernel_density(graph: Graph, model: Any) -> Sequence[Value]:
    weights = model.tree_.sample_weight if hasattr(model.tree_, "sample_weight") else None
    if model.kernel != "gaussian" or weights is not None:
        raise Unsupported(f"kernel={model.kernel!r} or sample weights have no ONNX form here; the gaussian kernel has")
    stored = np.asarray(model.tree_.data, float)
    distances = exact_distances(graph.rows, stored, minkowski_power(model.metric, 2))
    powers = distances * distances * float(-0.5 / model.bandwidth_**2)
    level = powers.reduce("Max")
    width = stored.shape[1]
    constant = np.log(len(stored)) + width * (0.5 * np.log(2 * np.pi) + np.log(model.bandwidth_))
    total = (powers - level).apply("Exp").reduce("Sum").apply("Log") + level - float(constant)
    return [total.reshape(-1)]


def nearest_centroid(graph: Graph, model: Any) -> Sequence[Value]:
    rows, centroids = graph.rows, np.asarray(model.centroids_, float)
    count = len(model.classes_)

    def distances(scale: object) -> Value:
        power = minkowski_power(model.metric, 2)
        return exact_distances(rows / scale, centroids / scale, power)

    prior = np.asarray(getattr(model, "class_prior_", np.full(count, 1 / count)), float)
    deviations = np.asarray(getattr(model, "within_class_std_dev_", np.ones(centroids.shape[1])), float)
    far = distances(np.where(deviations != 0, deviations, 1.0))
    scores = np.log(prior) * 2.0 - far * far
    best = scores.argmax()
    if np.isclose(prior, 1 / count).all():
        best = distances(np.ones(centroids.shape[1])).argmin()
    return [graph.labels(model.classes_, best), graph.node("Softmax", scores, axis=1)]


def label_spreading(graph: Graph, model: Any) -> Sequence[Value]:
    known = np.asarray(model.label_distributions_, float)
    if model.kernel == "rbf":
        votes = kernel(graph.rows, model.X_, "rbf", {"gamma": model.gamma}) @ known
    elif model.kernel == "knn":
        _, places = nearest(squared_distances(graph.rows, model.X_), model.n_neighbors)
        votes = graph.value(known).take(places, axis=0).reduce("Sum", axis=1, keep=False)
    else:
        raise Unsupported("its kernel is your own Python function, which ONNX cannot hold; rbf and knn have a form")
    probabilities = votes / votes.reduce("Sum")
    return [graph.labels(model.classes_, probabilities.argmax()), probabilities]


def nearest_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    distances = exact_distances(graph.rows, model._fit_X, minkowski_power(model.metric, model.p))
    _, places = nearest(distances, model.n_neighbors)
    if model.weights not in (None, "uniform"):
        raise Unsupported(f"weights={shown(model.weights)} of several outputs has no ONNX form here; 'uniform' has")
    labels, shares = [], []
    for kinds, targets in zip(model.classes_, np.asarray(model._y).T, strict=True):
        votes = graph.value(np.eye(len(kinds))[targets]).take(places, axis=0)
        shares.append(votes.reduce("Mean", keep=False))
        labels.append(graph.labels(kinds, shares[-1].argmax()))
    return of_each_output(labels, shares, [len(each) for each in model.classes_])


OF_SEVERAL_OUTPUTS = {"sklearn.neighbors.KNeighborsClassifier": nearest_classifier}
"""Used only for several outputs, which skl2onnx 1.20 takes only where each has as many classes."""

CONVERTERS = {
    "sklearn.manifold.Isomap": isomap,
    "sklearn.neighbors.KernelDensity": kernel_density,
    "sklearn.neighbors.RadiusNeighborsTransformer": radius_transformer,
    "sklearn.neighbors.RadiusNeighborsRegressor": radius_regressor,
    "sklearn.neighbors.RadiusNeighborsClassifier": radius_classifier,
    "sklearn.neighbors.NearestCentroid": nearest_centroid,
    "sklearn.semi_supervised.LabelPropagation": label_spreading,
    "sklearn.semi_supervised.LabelSpreading": label_spreading,
}
