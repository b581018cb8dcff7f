"""Transformers of known functions, and regressors whose target was transformed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.known_functions import error_function, interpolate, known_function
from workbench.errors import Unsupported


def function_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    function = known_function(model.func)
    if function is None or model.kw_args:
        raise Unsupported(
            f"it runs the Python function {_called(model.func)}, which ONNX cannot hold; numpy's own, as numpy.log1p, "
            "it can"
        )
    if model.func is None:
        return [graph.rows]
    return [function(graph.rows)]


def transformed_target(graph: Graph, model: Any) -> Sequence[Value]:
    found = graph.inner(model.regressor_)[0].cast("float64")
    outputs = getattr(model.transformer_, "n_features_in_", 1)
    return [inverse(found.reshape(-1, int(outputs)), model.transformer_)]


def inverse(value: Value, transformer: Any) -> Value:
    """What `inverse_transform` gives for [N, outputs]."""
    kind = type(transformer).__name__
    if kind == "Pipeline":
        for _, step in reversed(transformer.steps):
            value = value if step is None or step == "passthrough" else inverse(value, step)
        return value
    if kind == "FunctionTransformer":
        function = known_function(transformer.inverse_func)
        if function is None or transformer.inv_kw_args:
            raise Unsupported(
                f"its target comes back by the Python function {_called(transformer.inverse_func)}, which ONNX cannot "
                "hold; numpy's own, as numpy.expm1, it can"
            )
        found: Value = function(value)
        return found
    if kind in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
        middle = getattr(transformer, "mean_", getattr(transformer, "center_", None))
        scale = getattr(transformer, "scale_", None)
        value = value if scale is None else value * scale
        return value if middle is None else value + middle
    if kind == "MinMaxScaler":
        return (value - np.asarray(transformer.min_)) / np.asarray(transformer.scale_)
    if kind == "PowerTransformer":
        value = inverse(value, transformer._scaler) if transformer.standardize else value
        curve = _box_cox if transformer.method == "box-cox" else _yeo_johnson
        return value.graph.concat([curve(value.take([i]), float(each)) for i, each in enumerate(transformer.lambdas_)])
    if kind == "QuantileTransformer":
        if transformer.output_distribution == "normal":
            value = (error_function(value * float(np.sqrt(0.5))) + 1.0) * 0.5
        quantiles = np.asarray(transformer.quantiles_, float).T
        parts = [interpolate(value.take([i]), transformer.references_, each) for i, each in enumerate(quantiles)]
        return value.graph.concat(parts)
    raise Unsupported(f"its target comes back by {kind}, which has no ONNX form here")


def _box_cox(value: Value, power: float) -> Value:
    return value.apply("Exp") if power == 0 else (value * power + 1.0) ** (1 / power)


def _yeo_johnson(value: Value, power: float) -> Value:
    graph, tiny = value.graph, np.spacing(1.0)
    up, down = graph.node("Max", value, 0.0), graph.node("Min", value, 0.0)
    above = up.apply("Exp") - 1.0 if abs(power) < tiny else (up * power + 1.0) ** (1 / power) - 1.0
    other = 2 - power
    below = 1.0 - ((down * -other + 1.0) ** (1 / other) if abs(other) > tiny else (-down).apply("Exp"))
    return graph.where(value >= 0.0, above, below)


def _called(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


CONVERTERS = {
    "sklearn.compose.TransformedTargetRegressor": transformed_target,
    "sklearn.preprocessing.FunctionTransformer": function_transformer,
}
