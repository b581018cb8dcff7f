"""Models and maps that are a kernel between the row and stored rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.distances import kernel
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value


def _settings(model: Any) -> dict[str, Any]:
    own = {name: getattr(model, name, None) for name in ("gamma", "degree", "coef0")}
    return own | (model.kernel_params or {})


def kernel_ridge(graph: Graph, model: Any) -> Sequence[Value]:
    weights = np.asarray(model.dual_coef_, float)
    return [kernel(graph.rows, model.X_fit_, model.kernel, _settings(model)) @ weights.reshape(len(model.X_fit_), -1)]


def nystroem(graph: Graph, model: Any) -> Sequence[Value]:
    near = kernel(graph.rows, model.components_, model.kernel, _settings(model))
    return [near @ np.asarray(model.normalization_, float).T]


def rbf_sampler(graph: Graph, model: Any) -> Sequence[Value]:
    angles = graph.rows @ np.asarray(model.random_weights_, float) + model.random_offset_
    return [angles.apply("Cos") * float(np.sqrt(2 / model.n_components))]


def skewed_chi2_sampler(graph: Graph, model: Any) -> Sequence[Value]:
    angles = (graph.rows + float(model.skewedness)).apply("Log") @ np.asarray(model.random_weights_, float)
    return [(angles + model.random_offset_).apply("Cos") * float(np.sqrt(2 / model.n_components))]


CONVERTERS = {
    "sklearn.kernel_ridge.KernelRidge": kernel_ridge,
    "sklearn.kernel_approximation.Nystroem": nystroem,
    "sklearn.kernel_approximation.RBFSampler": rbf_sampler,
    "sklearn.kernel_approximation.SkewedChi2Sampler": skewed_chi2_sampler,
}
