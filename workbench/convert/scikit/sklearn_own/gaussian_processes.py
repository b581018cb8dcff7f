"""Gaussian processes, in float64: their weights are large and nearly cancel each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.distances import exact_distances
from workbench.convert.scikit.sklearn_own.distances import kernel as pairwise
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.known_functions import error_function
from workbench.convert.scikit.sklearn_own.one_against_another import votes_of_pairs
from workbench.convert.scikit.sklearn_own.responses import columns
from workbench.core.tensor import Array
from workbench.errors import Unsupported

_LAMBDAS = np.array([0.41, 0.4, 0.37, 0.44, 0.39])
_COEFFICIENTS = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])
"""Of the five error functions that stand for the logistic one (Williams and Barber 1998, appendix A)."""


def covariance(rows: Value, stored: Array, kernel: Any) -> Value | float:
    """The kernel between rows and stored rows, [N, stored rows], or a number where it is the same for all."""
    kind = type(kernel).__name__
    if kind in ("Sum", "Product"):
        one, other = (covariance(rows, stored, each) for each in (kernel.k1, kernel.k2))
        return one + other if kind == "Sum" else one * other
    if kind == "Exponentiation":
        return covariance(rows, stored, kernel.kernel) ** float(kernel.exponent)
    if kind == "ConstantKernel":
        return float(kernel.constant_value)
    if kind == "WhiteKernel":  # between two sets of rows there is no noise in common
        return 0.0
    if kind == "DotProduct":
        return rows @ stored.T + float(kernel.sigma_0**2)
    if kind == "PairwiseKernel":
        return pairwise(rows, stored, kernel.metric, {"gamma": kernel.gamma} | (kernel.pairwise_kernels_kwargs or {}))
    if kind not in ("RBF", "Matern", "RationalQuadratic", "ExpSineSquared"):
        raise Unsupported(f"its kernel {kind} has no ONNX form")
    scale = np.asarray(kernel.length_scale, float)
    if kind == "ExpSineSquared":
        sine = (exact_distances(rows, stored, 2) * float(np.pi / kernel.periodicity)).apply("Sin")
        return (sine * sine * float(-2 / scale**2)).apply("Exp")
    distances = exact_distances(rows / scale, stored / scale, 2)
    squared = distances * distances
    if kind == "RationalQuadratic":
        return (squared / float(2 * kernel.alpha) + 1.0) ** float(-kernel.alpha)
    smooth = np.inf if kind == "RBF" else float(kernel.nu)
    if smooth == np.inf:
        return (squared * -0.5).apply("Exp")
    if smooth not in (0.5, 1.5, 2.5):
        raise Unsupported(f"a Matern kernel with nu={smooth:g} has no ONNX form; nu of 0.5, 1.5, 2.5 and inf have")
    far = distances * float(np.sqrt(2 * smooth))
    decay = (-far).apply("Exp")
    if smooth == 0.5:
        return decay
    return decay * (far + 1.0 if smooth == 1.5 else far + 1.0 + far * far / 3.0)


def variance(rows: Value, kernel: Any) -> Value | float:
    """The kernel between each row and itself, [N, 1]."""
    kind = type(kernel).__name__
    if kind in ("Sum", "Product"):
        one, other = variance(rows, kernel.k1), variance(rows, kernel.k2)
        return one + other if kind == "Sum" else one * other
    if kind == "Exponentiation":
        return variance(rows, kernel.kernel) ** float(kernel.exponent)
    if kind == "DotProduct":
        return (rows * rows).reduce("Sum") + float(kernel.sigma_0**2)
    if kind == "PairwiseKernel" and kernel.metric not in ("rbf", "laplacian", "cosine"):
        raise Unsupported(f"a PairwiseKernel of {kernel.metric!r} has no ONNX form here")
    constant = {"ConstantKernel": "constant_value", "WhiteKernel": "noise_level"}
    return float(getattr(kernel, constant[kind])) if kind in constant else 1.0


def _array(graph: Graph, found: Value | float, stored: Array) -> Value:
    return found if isinstance(found, Value) else graph.fill(np.full(len(stored), found))


def regressor(graph: Graph, model: Any) -> Sequence[Value]:
    near = _array(graph, covariance(graph.rows, model.X_train_, model.kernel_), model.X_train_)
    weights = np.asarray(model.alpha_, float).reshape(len(model.X_train_), -1)
    return [near @ (weights * model._y_train_std) + np.ravel(model._y_train_mean)]


def classifier(graph: Graph, model: Any) -> Sequence[Value]:
    base = model.base_estimator_
    if model.n_classes_ == 2:
        latent, probabilities = _of_two(graph, base)
        return [graph.labels(model.classes_, (latent > 0.0).cast("int64")), probabilities]
    found = [_of_two(graph, each) for each in base.estimators_]
    if model.multi_class == "one_vs_one":
        labels = columns([(latent > 0.0).cast("float64") for latent, _ in found])
        votes = votes_of_pairs(graph, model.n_classes_, labels, graph.concat([each.take([1]) for _, each in found]))
        return [graph.labels(model.classes_, votes.argmax())]
    scores = graph.concat([each.take([1]) for _, each in found])
    return [graph.labels(model.classes_, scores.argmax()), scores / scores.reduce("Sum")]


def _of_two(graph: Graph, model: Any) -> tuple[Value, Value]:
    """The latent mean [N], and the probabilities of the two classes."""
    rows, stored = graph.rows, model.X_train_
    near = _array(graph, covariance(rows, stored, model.kernel_), stored)
    latent = near @ (np.asarray(model.y_train_, float) - model.pi_)[:, np.newaxis]
    spread = np.linalg.solve(model.L_, np.diag(model.W_sr_))
    known = near @ spread.T
    uncertain = variance(rows, model.kernel_) - (known * known).reduce("Sum")
    alpha = 1.0 / (uncertain * 2.0)
    inner = latent * _LAMBDAS * (alpha / (alpha + _LAMBDAS**2)).apply("Sqrt")
    integrals = (np.pi / alpha).apply("Sqrt") * error_function(inner) / ((uncertain * (2 * np.pi)).apply("Sqrt") * 2.0)
    second = (integrals * _COEFFICIENTS).reduce("Sum") + float(0.5 * _COEFFICIENTS.sum())
    return latent.reshape(-1), graph.concat([1.0 - second, second])


CONVERTERS = {
    "sklearn.gaussian_process.GaussianProcessClassifier": classifier,
    "sklearn.gaussian_process.GaussianProcessRegressor": regressor,
}
