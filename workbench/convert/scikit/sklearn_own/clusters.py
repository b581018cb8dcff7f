"""Clusterers that give a row the label of its nearest centre, and the outlier detector that knows one ellipse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.distances import euclidean, nearest_place, squared_distances
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.errors import Unsupported


def nearest_centre(graph: Graph, model: Any) -> Sequence[Value]:
    centres = getattr(model, "cluster_centers_", None)
    if centres is None:
        raise Unsupported("it was fitted to distances, so it answers for the rows that it was fitted to and no others")
    if not len(centres):
        return [graph.fill(np.array(-1))]
    return [nearest_place(graph.rows, centres)]


def birch(graph: Graph, model: Any) -> Sequence[Value]:
    rows, centres = graph.rows, model.subcluster_centers_
    label = graph.value(np.asarray(model.subcluster_labels_, int)).take(nearest_place(rows, centres), axis=0)
    return [label, euclidean(rows, centres)]


def bisecting(graph: Graph, model: Any) -> Sequence[Value]:
    rows = graph.rows
    mean = getattr(model, "_X_mean", 0.0)

    def below(node: Any) -> Value:
        if node.left is None:
            return graph.fill(np.array(node.label, np.int64))
        both = squared_distances(rows, np.vstack([node.left.center, node.right.center]) + mean)
        return graph.where((both.take(0) <= both.take(1)), below(node.left), below(node.right))

    return [below(model._bisecting_tree), euclidean(rows, model.cluster_centers_)]


def agglomeration(graph: Graph, model: Any) -> Sequence[Value]:
    rows, labels = graph.rows, np.asarray(model.labels_)
    kinds = {np.mean: "Mean", np.max: "Max", np.min: "Min", np.amax: "Max", np.amin: "Min"}
    if model.pooling_func not in kinds:
        raise Unsupported("its pooling_func has no ONNX form; numpy.mean, max and min have")
    kind = kinds[model.pooling_func]
    parts = [rows.take(np.flatnonzero(labels == label)).reduce(kind) for label in np.unique(labels)]
    return [graph.concat(parts)]


def ellipse(graph: Graph, model: Any) -> Sequence[Value]:
    gaps = graph.rows - model.location_
    scores = -((gaps @ model.get_precision()) * gaps).reduce("Sum", keep=False) - float(model.offset_)
    return [graph.where(scores >= 0.0, np.array(1), np.array(-1)), scores]


CONVERTERS = {
    "sklearn.cluster.AffinityPropagation": nearest_centre,
    "sklearn.cluster.Birch": birch,
    "sklearn.cluster.BisectingKMeans": bisecting,
    "sklearn.cluster.FeatureAgglomeration": agglomeration,
    "sklearn.cluster.MeanShift": nearest_centre,
    "sklearn.covariance.EllipticEnvelope": ellipse,
}
