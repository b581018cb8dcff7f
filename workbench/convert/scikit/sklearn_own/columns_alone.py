"""Transformers that treat each column by itself: quantiles, powers and bins; and which category a value is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text
from workbench.convert.scikit.sklearn_own.known_functions import interpolate, normal_quantile
from workbench.errors import Unsupported

BOUNDS = 1e-7
"""How near to the ends of its range scikit-learn's QuantileTransformer takes a value for the end, for a normal one."""


def quantile_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    rows = graph.rows
    normal = model.output_distribution == "normal"
    parts = []
    for place, quantiles in enumerate(np.asarray(model.quantiles_, float).T):
        column, references = rows.take([place]), model.references_
        up = interpolate(column, quantiles, references)
        down = interpolate(-column, -quantiles[::-1], -references[::-1])
        found = (up - down) * 0.5
        low, high = float(quantiles[0]), float(quantiles[-1])
        if normal:
            above, below = column + BOUNDS > high, column - BOUNDS < low
        else:
            above, below = column.equals(high), column.equals(low)
        parts.append(graph.where(below, 0.0, graph.where(above, 1.0, found)))
    found = graph.concat(parts)
    return [normal_quantile(found, BOUNDS - np.spacing(1)) if normal else found]


def polynomial_features(graph: Graph, model: Any) -> Sequence[Value]:
    """Each product is multiplied from its last factor to its first, as scikit-learn does."""
    terms = [np.repeat(np.arange(len(powers)), powers) for powers in model.powers_]
    longest = max(1, *map(len, terms))
    ones = model.n_features_in_
    factors = np.array([[*term, *[ones] * (longest - len(term))] for term in terms])
    rows = graph.concat([graph.rows, graph.fill(np.ones(1))])
    found = rows.take(factors[:, -1])
    for place in reversed(range(longest - 1)):
        found = rows.take(factors[:, place]) * found
    return [found]


def binarizer(graph: Graph, model: Any) -> Sequence[Value]:
    return [(graph.rows > float(model.threshold)).cast("float64")]


def bins(graph: Graph, model: Any) -> Sequence[Value]:
    rows, parts = graph.rows, []
    for place, edges in enumerate(model.bin_edges_):
        number = (rows.take([place]) >= np.asarray(edges[1:-1], float)).cast("int64").reduce("Sum")
        if model.encode == "ordinal":
            parts.append(number.cast("float64"))
        else:
            parts.append(number.equals(np.arange(model.n_bins_[place])).cast("float64"))
    return [graph.concat(parts)]


def power_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    curve = _box_cox if model.method == "box-cox" else _yeo_johnson
    rows = graph.rows
    found = graph.concat([curve(rows.take([place]), float(power)) for place, power in enumerate(model.lambdas_)])
    if model.standardize:
        found = (found - model._scaler.mean_) / model._scaler.scale_
    return [found]


def _box_cox(column: Value, power: float) -> Value:
    return column.apply("Log") if power == 0 else (column**power - 1.0) / power


def _yeo_johnson(column: Value, power: float) -> Value:
    graph, tiny = column.graph, np.spacing(1.0)
    up, down = graph.node("Max", column, 0.0) + 1.0, 1.0 - graph.node("Min", column, 0.0)
    above = up.apply("Log") if abs(power) < tiny else (up**power - 1.0) / power
    other = 2 - power
    below = -down.apply("Log") if abs(other) < tiny else (1.0 - down**other) / other
    return graph.where(column >= 0.0, above, below)


def matches(graph: Graph, column: Value, categories: Any) -> Value:
    """Which of the categories each row of a column [N, 1] is, 0 or 1, float64 [N, categories]; NaN is one too."""
    array = np.asarray(categories)
    if is_text(array):
        if any(each is None or each != each for each in array):
            raise Unsupported("one of its categories is a missing text, which an input of text cannot hold")
        return column.equals(array.astype(str)).cast("float64")
    array = np.asarray(array, dtype=float)
    holes = np.isnan(array)
    found = column.equals(np.where(holes, 0.0, array)).cast("float64") * (1.0 - holes)
    present: Value = column.apply("IsNaN").cast("float64") * holes.astype(float)
    return graph.node("Add", found, present)


def additive_chi2_sampler(graph: Graph, model: Any) -> Sequence[Value]:
    steps, rows = model.sample_steps, graph.rows
    interval = model.sample_interval if model.sample_interval is not None else {1: 0.8, 2: 0.5, 3: 0.4}[steps]
    zero = rows.equals(0.0)
    logarithm = graph.where(zero, 1.0, rows).apply("Log") * float(interval)
    parts = [(rows * float(interval)).apply("Sqrt")]
    for step in range(1, steps):
        factor = (rows * float(2 * interval / np.cosh(np.pi * step * interval))).apply("Sqrt")
        parts += [factor * (logarithm * float(step)).apply(wave) for wave in ("Cos", "Sin")]
    return [graph.concat(parts)]


CONVERTERS = {
    "sklearn.kernel_approximation.AdditiveChi2Sampler": additive_chi2_sampler,
    "sklearn.preprocessing.Binarizer": binarizer,
    "sklearn.preprocessing.KBinsDiscretizer": bins,
    "sklearn.preprocessing.PolynomialFeatures": polynomial_features,
    "sklearn.preprocessing.PowerTransformer": power_transformer,
    "sklearn.preprocessing.QuantileTransformer": quantile_transformer,
}
