"""Imputers that fill a hole from the other columns of its row: by the nearest stored rows, and by models in rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.distances import nearest
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.core.tensor import Array
from workbench.errors import Unsupported


def knn_imputer(graph: Graph, model: Any) -> Sequence[Value]:
    if model.metric != "nan_euclidean" or model.weights not in ("uniform", "distance"):
        raise Unsupported("its metric or its weights are your own Python function, which ONNX cannot hold")
    rows, stored, holes = graph.rows, np.asarray(model._fit_X, float), np.asarray(model._mask_fit_X, bool)
    missing = _missing(rows, model.missing_values)
    distances = _distances(
        graph.where(missing, 0.0, rows), missing.cast("float64"), np.where(holes, 0.0, stored), holes
    )
    parts = []
    for place in range(stored.shape[1]):
        if not model._valid_mask[place]:
            parts += [graph.fill(np.zeros(1))] if model.keep_empty_features else []
            continue
        donors = np.flatnonzero(~holes[:, place])
        values = stored[donors, place]
        near, places = nearest(distances.take(donors), min(model.n_neighbors, len(donors)))
        weights = _weights(near, model.weights)
        total = weights.reduce("Sum")
        alone = total.equals(0.0)  # no stored row has a column in common with it
        mean = (graph.numbers(values).take(places, axis=0) * weights).reduce("Sum") / graph.where(alone, 1.0, total)
        found = graph.where(alone, float(values.mean()), mean)
        parts.append(graph.where(missing.take([place]), found, rows.take([place])))
    return [graph.concat(parts + _indicators(missing, model))]


def iterative_imputer(graph: Graph, model: Any) -> Sequence[Value]:
    if model.sample_posterior:
        raise Unsupported("sample_posterior=True answers at random; fit it without")
    empty: Array = np.asarray(model._is_empty_feature, bool)
    kept = np.arange(len(empty)) if model.keep_empty_features else np.flatnonzero(~empty)
    seen = _missing(graph.rows, model.missing_values)
    rows, missing = graph.rows.take(kept), seen.take(kept)
    first = np.asarray(model.initial_imputer_.statistics_, float)[kept]
    filled = graph.where(missing, np.where(np.isnan(first), 0.0, first), rows)
    columns = [filled.take([place]) for place in range(len(kept))]
    fillable = ~empty[kept]
    for step in model.imputation_sequence_ if model.n_iter_ else ():
        place = int(step.feat_idx)
        found = _predicted(graph, step.estimator, graph.concat([columns[each] for each in step.neighbor_feat_idx]))
        found = found.clip(model._min_value[place], model._max_value[place])
        columns[place] = graph.where(missing.take([place]), found, columns[place])
    found = graph.concat(columns)
    if model.n_iter_ and fillable.all():
        # Subtleness ahead: scikit-learn leaves out its rounds where no row of the call has any value.
        nothing = graph.node("ReduceMin", missing.cast("int64"), keepdims=1).equals(np.int64(1))
        found = graph.where(nothing, filled, found)
    return [graph.concat([found, *_indicators(seen, model)])]


def _missing(rows: Value, mark: Any) -> Value:
    return rows.apply("IsNaN") if mark != mark else rows.equals(float(mark))


def _distances(rows: Value, missing: Value, stored: Array, holes: Array) -> Value:
    """Euclidean over the columns that both rows have, scaled up to all; infinite where there are none.

    Summed in the order of scikit-learn's nan_euclidean_distances, so that equal distances stay equal.
    """
    graph, squares = rows.graph, rows * rows
    sums = graph.node("Max", (rows @ stored.T) * -2.0 + squares.reduce("Sum") + (stored**2).sum(axis=1), 0.0)
    sums = sums - squares @ holes.T.astype(float) - missing @ (stored**2).T
    common = (1.0 - missing) @ (~holes).T.astype(float)
    found = graph.node("Max", sums, 0.0) / graph.node("Max", common, 1.0) * float(stored.shape[1])
    return graph.where(common.equals(0.0), np.inf, found.apply("Sqrt"))


def _weights(near: Value, kind: str) -> Value:
    graph = near.graph
    known = (near < np.inf).cast("float64")
    if kind == "uniform":
        return known
    same = near.equals(0.0)
    alike = same.cast("float64")
    return graph.where(alike.reduce("Max") > 0.0, alike, known / graph.where(same, 1.0, near))


def _predicted(graph: Graph, estimator: Any, rows: Value) -> Value:
    """What a regressor inside gives, float64 [N, 1]; the default one, BayesianRidge, is one product."""
    if type(estimator).__name__ == "BayesianRidge":
        return rows @ np.asarray(estimator.coef_, float).reshape(-1, 1) + float(estimator.intercept_)
    return graph.inner(estimator, rows)[0].cast("float64").reshape(-1, 1)


def _indicators(missing: Value, model: Any) -> list[Value]:
    places = model.indicator_.features_ if model.add_indicator else ()
    return [missing.take(np.asarray(places)).cast("float64")] if len(places) else []


CONVERTERS = {
    "sklearn.impute._iterative.IterativeImputer": iterative_imputer,
    "sklearn.impute.KNNImputer": knn_imputer,
}
