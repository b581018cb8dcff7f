"""The functions of numpy and scipy that have an ONNX form, and values between the points of a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Value
from workbench.core.tensor import Array


def _op(kind: str) -> Callable[[Value], Value]:
    return lambda x: x.apply(kind)


_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "absolute": _op("Abs"),
    "arcsinh": lambda x: x.apply("Sign") * (x.apply("Abs") + (x * x + 1.0).apply("Sqrt")).apply("Log"),
    "cbrt": lambda x: x.apply("Sign") * x.apply("Abs") ** (1 / 3),
    "ceil": _op("Ceil"),
    "cos": _op("Cos"),
    "cosh": lambda x: (x.apply("Exp") + (-x).apply("Exp")) * 0.5,
    "exp": _op("Exp"),
    "exp10": lambda x: (x * float(np.log(10))).apply("Exp"),
    "exp2": lambda x: (x * float(np.log(2))).apply("Exp"),
    "expit": _op("Sigmoid"),
    "expm1": lambda x: x.apply("Exp") - 1.0,
    "fabs": _op("Abs"),
    "floor": _op("Floor"),
    "log": _op("Log"),
    "log10": lambda x: x.apply("Log") * float(1 / np.log(10)),
    "log1p": lambda x: (x + 1.0).apply("Log"),
    "log2": lambda x: x.apply("Log") * float(1 / np.log(2)),
    "logit": lambda x: (x / (1.0 - x)).apply("Log"),
    "negative": _op("Neg"),
    "positive": lambda x: x,
    "reciprocal": lambda x: 1.0 / x,
    "sign": _op("Sign"),
    "sin": _op("Sin"),
    "sinh": lambda x: (x.apply("Exp") - (-x).apply("Exp")) * 0.5,
    "sqrt": _op("Sqrt"),
    "square": lambda x: x * x,
    "tanh": _op("Tanh"),
}


def known_function(function: Any) -> Callable[[Value], Value] | None:
    """The ONNX form of a ufunc, or of no function; None where it has none."""
    if function is None:
        return lambda x: x
    if not isinstance(function, np.ufunc):
        return None
    return _FUNCTIONS.get(function.__name__)


def error_function(value: Value) -> Value:
    """erf of the last axis's values, by 32 points of Gauss and Legendre: ONNX Runtime has it for float32 only, and
    scikit-learn takes differences of it."""
    points, weights = np.polynomial.legendre.leggauss(32)
    clipped = value.clip(-6.0, 6.0)
    squares = value.graph.node("Unsqueeze", clipped * clipped, np.array([-1]))
    bells = (squares * -(((points + 1) / 2) ** 2)).apply("Exp")
    return clipped * (bells * weights).reduce("Sum", axis=-1, keep=False) * float(1 / np.sqrt(np.pi))


def normal_quantile(value: Value, nearest: float) -> Value:
    """The standard normal distribution's quantiles of shares in [0, 1], those nearer than `nearest` to an end being
    taken as there. Two polynomials, in the middle and in the tails, are off by less than 1e-13."""
    from scipy.special import ndtri  # type: ignore[import-untyped]

    value = value.clip(nearest, 1 - nearest)
    graph = value.graph
    tail = graph.node("Min", value, 1.0 - value)
    deep = (tail.apply("Log") * -2.0).apply("Sqrt")  # some 1.17 in the middle
    middle, edge = 0.3, float(np.sqrt(-2 * np.log(0.15)))
    offset = value - 0.5

    def near(square: Array) -> Array:
        away = np.sqrt(np.maximum(square, 1e-12))
        return np.asarray(ndtri(0.5 + away) / away)

    def far(depth: Array) -> Array:
        return np.asarray(ndtri(np.exp(-0.5 * depth**2)))

    inside = offset * _polynomial(offset * offset, near, 0.0, 0.36**2, 24)
    outside = _polynomial(deep, far, edge, float(np.sqrt(-2 * np.log(nearest))), 24)
    outside = graph.where(offset > 0.0, -outside, outside)
    return graph.where(offset.apply("Abs") <= middle + 0.055, inside, outside)


def _polynomial(x: Value, function: Callable[[Array], Array], low: float, high: float, degree: int) -> Value:
    """`function` between `low` and `high`, by the Chebyshev polynomial that meets it, and Clenshaw's sum."""
    fitted = np.polynomial.Chebyshev.interpolate(function, degree, [low, high])
    t = (x.clip(low, high) - (low + high) / 2) * (2 / (high - low))
    twice = t * 2.0
    ahead = behind = t * 0.0
    for coefficient in fitted.coef[:0:-1]:
        ahead, behind = twice * ahead - behind + float(coefficient), ahead
    return t * ahead - behind + float(fitted.coef[0])


def interpolate(column: Value, xs: Array, ys: Array) -> Value:
    """numpy.interp of [N, 1]: on straight lines between the points, and level beyond
    them; where several points share an x, the last of them counts."""
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    if len(xs) == 1:
        return column.graph.fill(ys)
    below, column = column < xs[0], column.clip(xs[0], xs[-1])
    place = (column >= xs[1:-1]).cast("int64").reduce("Sum", keep=False)  # 0 where there are no inner points
    steps = np.diff(xs)
    slopes = np.divide(np.diff(ys), steps, out=np.zeros(len(steps)), where=steps > 0)
    graph = column.graph
    start, value, slope = (graph.value(each).take(place, axis=0).reshape(-1, 1) for each in (xs[:-1], ys[:-1], slopes))
    inside = graph.where(column >= xs[-1], ys[-1], value + (column - start) * slope)
    return graph.where(below, ys[0], inside)
