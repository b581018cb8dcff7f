"""Transformers that treat each column by itself: splines, quantiles and powers; and which category a value is."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text
from workbench.convert.scikit.sklearn_own.known_functions import interpolate
from workbench.errors import Unsupported


def spline_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    if model.extrapolation not in ("constant", "continue", "periodic"):
        raise Unsupported(
            f"extrapolation={model.extrapolation!r} has no ONNX form here; 'constant' and 'continue' have"
        )
    rows, parts = graph.rows, []
    for place, spline in enumerate(model.bsplines_):
        column = rows.take([place])
        knots = spline.t[model.degree : len(spline.t) - model.degree]
        if model.extrapolation == "constant":
            column = column.clip(knots[0], knots[-1])
        elif model.extrapolation == "periodic":
            turns = ((column - float(knots[0])) / float(knots[-1] - knots[0])).apply("Floor")
            column = column - turns * float(knots[-1] - knots[0])
        pieces = np.stack(
            [spline.derivative(power)(knots[:-1]) / factorial(power) for power in range(model.degree + 1)], axis=1
        )
        piece = (column >= knots[1:-1]).cast("int64").reduce("Sum", keep=False)  # 0 where there are no inner knots
        step = column - graph.value(knots[:-1]).take(piece, axis=0).reshape(-1, 1)
        powers = graph.concat([graph.fill(np.ones(1)), *(step ** float(power) for power in range(1, model.degree + 1))])
        basis = powers.reshape(-1, 1, model.degree + 1) @ graph.value(pieces).take(piece, axis=0)
        basis = basis.reshape(-1, pieces.shape[2])
        parts.append(basis if model.include_bias else basis.take(np.arange(pieces.shape[2] - 1)))
    return [graph.concat(parts)]


def quantile_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    rows = graph.rows
    if model.output_distribution != "uniform":
        raise Unsupported("output_distribution='normal' has no ONNX form here; 'uniform' has")
    parts = []
    for place, quantiles in enumerate(np.asarray(model.quantiles_, float).T):
        column, references = rows.take([place]), model.references_
        up = interpolate(column, quantiles, references)
        down = interpolate(-column, -quantiles[::-1], -references[::-1])
        found = (up - down) * 0.5
        found = graph.where(column.equals(float(quantiles[-1])), 1.0, found)
        parts.append(graph.where(column.equals(float(quantiles[0])), 0.0, found))
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
    "sklearn.preprocessing.PowerTransformer": power_transformer,
    "sklearn.preprocessing.QuantileTransformer": quantile_transformer,
    "sklearn.preprocessing.SplineTransformer": spline_transformer,
}
