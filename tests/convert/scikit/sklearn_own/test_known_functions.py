from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
)

from tests.helpers.exported import answers_of_export
from workbench.convert.scikit.sklearn_export import export
from workbench.convert.scikit.sklearn_own.known_functions import _FUNCTIONS
from workbench.errors import Unsupported

POSITIVE = np.random.default_rng(0).uniform(0.05, 0.95, size=(50, 2)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(_FUNCTIONS))
def test_each_function_is_as_numpys_or_scipys(name: str) -> None:
    function = getattr(np, name, None) or getattr(special, name)
    transformer = FunctionTransformer(function).fit(POSITIVE)
    expected = function(POSITIVE.astype(float))
    np.testing.assert_allclose(answers_of_export(transformer, POSITIVE)[0], expected, rtol=1e-6)


def test_small_values_keep_their_digits() -> None:
    small = np.array([[1e-6], [-1e-6]], np.float32)
    for function in (np.log1p, np.expm1):
        found = answers_of_export(FunctionTransformer(function).fit(small), small)[0]
        np.testing.assert_allclose(found, function(small.astype(float)), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "named"), [(lambda rows: rows, "<lambda>"), (np.nan_to_num, "nan_to_num"), (np.frexp, "frexp")]
)
def test_a_function_that_it_cannot_hold_is_named(function: Any, named: str) -> None:
    with pytest.raises(Unsupported, match=f"the Python function {named}, which ONNX cannot hold"):
        export(FunctionTransformer(function), "it", POSITIVE)


@pytest.mark.parametrize(
    "transformer",
    [
        FunctionTransformer(np.log1p, np.expm1),
        FunctionTransformer(np.sqrt, np.square),
        MinMaxScaler(),
        RobustScaler(),
        PowerTransformer(),
        PowerTransformer("box-cox"),
        QuantileTransformer(n_quantiles=20),
        QuantileTransformer(n_quantiles=20, output_distribution="normal"),
    ],
    ids=str,
)
def test_targets_come_back_as_they_were_before(transformer: Any) -> None:
    rows = np.random.default_rng(1).normal(size=(80, 3)).astype(np.float32)
    target = np.exp(rows @ [0.2, -0.1, 0.05]) + 1
    estimator = TransformedTargetRegressor(LinearRegression(), transformer=transformer).fit(rows, target)
    found = answers_of_export(estimator, rows)[0].reshape(-1)
    np.testing.assert_allclose(found, estimator.predict(rows), rtol=2e-4)
