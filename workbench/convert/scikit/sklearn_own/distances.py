"""Distances and kernels between the rows of a call and stored rows, float64 [N, stored rows]."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.without_form import shown
from workbench.core.tensor import Array
from workbench.errors import Unsupported


def squared_distances(rows: Value, stored: Array) -> Value:
    """Euclidean, squared; by the squares' sums, so a row's distance to itself is near 0 but not 0."""
    stored = np.asarray(stored, float)
    sums = (rows * rows).reduce("Sum") + (stored**2).sum(axis=1)
    return rows.graph.node("Max", sums - (rows @ stored.T) * 2.0, 0.0)


def nearest_place(rows: Value, stored: Array) -> Value:
    """The place of the nearest stored row, int64 [N]; by the sums that scikit-learn compares, so that ties are its."""
    stored = np.asarray(stored, float)
    ranks: Value = (rows @ stored.T) * -2.0 + (stored**2).sum(axis=1)
    return ranks.argmin()


def euclidean(rows: Value, stored: Array) -> Value:
    return squared_distances(rows, stored).apply("Sqrt")


def exact_distances(rows: Value, stored: Array, power: float) -> Value:
    """Minkowski's, to the last bit that matters where a distance is compared with a number; a node for each column."""
    stored = np.asarray(stored, float)
    total: Value | None = None
    for place in range(stored.shape[1]):
        gap = (rows.take([place]) - stored[:, place]).apply("Abs")
        part = gap * gap if power == 2 else gap if power in (1, np.inf) else gap**power
        total = part if total is None else rows.graph.node("Max", total, part) if power == np.inf else total + part
    assert total is not None
    if power == 2:
        return total.apply("Sqrt")
    return total if power in (1, np.inf) else total ** (1 / power)


def minkowski_power(metric: object, p: float) -> float:
    """The power of a metric's name."""
    known = {"euclidean": 2.0, "l2": 2.0, "manhattan": 1.0, "l1": 1.0, "cityblock": 1.0, "chebyshev": np.inf}
    if metric == "minkowski":
        return float(p)
    if not isinstance(metric, str) or metric not in known:
        raise Unsupported(f"its metric is {shown(metric)}; euclidean, manhattan, chebyshev and minkowski have a form")
    return known[metric]


def kernel(rows: Value, stored: Array, name: object, settings: dict[str, Any]) -> Value:
    """A kernel of sklearn.metrics.pairwise; `settings`: gamma, degree, coef0, where they are not the defaults."""
    stored = np.asarray(stored, float)
    settings = {key: value for key, value in settings.items() if value is not None}
    gamma = float(settings.get("gamma", 1.0 if name == "chi2" else 1 / stored.shape[1]))
    coef0, degree = float(settings.get("coef0", 1.0)), float(settings.get("degree", 3))
    if name == "linear":
        return rows @ stored.T
    if name in ("poly", "polynomial"):
        return ((rows @ stored.T) * gamma + coef0) ** degree
    if name == "rbf":
        return (squared_distances(rows, stored) * -gamma).apply("Exp")
    if name == "sigmoid":
        return ((rows @ stored.T) * gamma + coef0).apply("Tanh")
    if name == "laplacian":
        return (exact_distances(rows, stored, 1) * -gamma).apply("Exp")
    if name == "cosine":
        length = (rows * rows).reduce("Sum").apply("Sqrt")
        unit: Array = stored / np.maximum(np.linalg.norm(stored, axis=1, keepdims=True), 1e-300)
        return (rows / rows.graph.where(length.equals(0.0), 1.0, length)) @ unit.T
    raise Unsupported(f"its kernel is {shown(name)}; linear, poly, rbf, sigmoid, laplacian and cosine have a form")


def nearest(distances: Value, count: int) -> tuple[Value, Value]:
    """The `count` smallest of each row and their places."""
    graph: Graph = distances.graph
    smallest, places = graph.nodes("TopK", 2, distances, np.array([count]), axis=1, largest=0)
    return smallest, places
