from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    PairwiseKernel,
    RationalQuadratic,
    WhiteKernel,
)

from tests.helpers.exported import answers_of_export
from workbench.convert.scikit.sklearn_export import export
from workbench.errors import Unsupported

X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
REAL = np.sin(X[:, 0]) + X[:, 1]
NEW = X + np.float32(0.05)


@pytest.mark.parametrize(
    "kernel",
    [
        RBF([1.0, 2.0]) + WhiteKernel(0.1),
        ConstantKernel(2.0) * Matern(nu=0.5),
        Matern(nu=1.5),
        Matern(nu=2.5) ** 2,
        Matern(nu=np.inf) + ConstantKernel(),
        RationalQuadratic(alpha=0.5),
        ExpSineSquared(periodicity=3.0) + WhiteKernel(30.0),
        DotProduct() + WhiteKernel(),
        PairwiseKernel(metric="rbf"),
    ],
    ids=str,
)
def test_each_kernel(kernel: Any) -> None:
    model = GaussianProcessRegressor(kernel, alpha=1e-2, optimizer=None, normalize_y=True).fit(X, REAL)
    np.testing.assert_allclose(answers_of_export(model, NEW)[0].reshape(-1), model.predict(NEW), atol=1e-5)
    two = GaussianProcessClassifier(kernel, optimizer=None).fit(X, REAL > 0)
    np.testing.assert_allclose(answers_of_export(two, NEW)[1], two.predict_proba(NEW), atol=1e-5)


@pytest.mark.parametrize("way", ["one_vs_rest", "one_vs_one"])
def test_many_classes(way: Any) -> None:
    classes = np.array(["low", "mid", "high"])[np.digitize(REAL, [-0.5, 0.5])]
    model = GaussianProcessClassifier(RBF(), multi_class=way, optimizer=None).fit(X, classes)
    label, *probabilities = answers_of_export(model, NEW)
    assert np.array_equal(label, model.predict(NEW))
    if way == "one_vs_rest":
        np.testing.assert_allclose(probabilities[0], model.predict_proba(NEW), atol=1e-5)
    else:
        assert not probabilities  # it has none


def test_a_kernel_without_a_form_says_which_have_one() -> None:
    model = GaussianProcessRegressor(Matern(nu=0.7), optimizer=None, alpha=0.1).fit(X, REAL)
    with pytest.raises(Unsupported, match=r"nu=0\.7 has no ONNX form; nu of 0\.5, 1\.5, 2\.5 and inf have"):
        export(model, "it", X)
