from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, SplineTransformer

from tests.helpers.exported import answers_of_export

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(200, 2)).astype(np.float32)
WIDER = np.concatenate([ROWS, 3 * ROWS])


@pytest.mark.parametrize(
    "transformer",
    [
        SplineTransformer(),
        SplineTransformer(n_knots=2, degree=1),
        SplineTransformer(knots="quantile", include_bias=False),
        SplineTransformer(extrapolation="continue", degree=2),
        SplineTransformer(extrapolation="periodic"),
        PowerTransformer(),
        PowerTransformer(standardize=False),
        QuantileTransformer(n_quantiles=50),
    ],
    ids=str,
)
def test_columns_beyond_what_was_trained_with_are_transformed_alike(transformer: Any) -> None:
    expected = transformer.fit(ROWS.astype(float)).transform(WIDER.astype(float))
    np.testing.assert_allclose(answers_of_export(transformer, WIDER)[0], expected, atol=2e-5 * np.abs(expected).max())


def test_quantiles_that_repeat_give_the_middle_of_their_ranks() -> None:
    counts = RANDOM.poisson(1.0, size=(100, 1)).astype(np.float32)
    asked = np.array([[-1], [0], [0.5], [1], [2], [9]], np.float32)
    transformer = QuantileTransformer(n_quantiles=10).fit(counts)
    np.testing.assert_allclose(answers_of_export(transformer, asked)[0], transformer.transform(asked), atol=1e-6)


def test_missing_values_stay_missing_in_a_power_transform() -> None:
    holed = ROWS.copy()
    holed[::7, 0] = np.nan
    transformer = PowerTransformer().fit(holed)
    np.testing.assert_allclose(answers_of_export(transformer, holed)[0], transformer.transform(holed), atol=1e-5)
