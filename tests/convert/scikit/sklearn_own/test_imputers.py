from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.tree import DecisionTreeRegressor

from tests.helpers.exported import answers_of_export

RANDOM = np.random.default_rng(0)


def holed(count: int) -> Any:
    rows = np.round(RANDOM.normal(size=(count, 4)) * [1, 30, 1, 1000], 3)
    rows[RANDOM.random(rows.shape) < 0.3] = np.nan
    return rows.astype(np.float32).astype(float)  # so that float32 inputs lose nothing


TRAINED, ASKED = holed(120), holed(300)
ASKED[:2] = np.nan
ASKED[2:5] = TRAINED[:3]


def answers(imputer: Any, rows: Any) -> Any:
    return answers_of_export(imputer, rows.astype(np.float32))[0]


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion")
@pytest.mark.parametrize(
    "imputer",
    [
        KNNImputer(n_neighbors=3),
        KNNImputer(weights="distance", add_indicator=True),
        KNNImputer(n_neighbors=500),
        IterativeImputer(max_iter=4),
        IterativeImputer(max_iter=3, initial_strategy="median", add_indicator=True, min_value=-1, max_value=50),
        IterativeImputer(max_iter=2, n_nearest_features=2, random_state=0),
        IterativeImputer(DecisionTreeRegressor(max_depth=3, random_state=0), max_iter=2, random_state=0),
    ],
    ids=str,
)
def test_holes_are_filled_from_the_rest_of_the_row(imputer: Any) -> None:
    imputer.fit(TRAINED)
    for rows in (ASKED, ASKED[:1], ASKED[:2], ASKED[5:6]):
        expected = imputer.transform(rows.copy())
        np.testing.assert_allclose(answers(imputer, rows), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Skipping features")
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", [KNNImputer, IterativeImputer])
def test_a_column_without_values_is_left_out_or_zero(kind: Any, keep: bool) -> None:
    trained, asked = TRAINED.copy(), ASKED.copy()
    trained[:, 1] = np.nan
    imputer = kind(keep_empty_features=keep).fit(trained)
    expected = imputer.transform(asked.copy())
    np.testing.assert_allclose(answers(imputer, asked), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion")
def test_a_number_may_stand_for_missing() -> None:
    trained, asked = np.nan_to_num(TRAINED, nan=-9.0).astype(float), np.nan_to_num(ASKED, nan=-9.0)
    for imputer in (KNNImputer(missing_values=-9.0), IterativeImputer(missing_values=-9.0, max_iter=2)):
        expected = imputer.fit(trained).transform(asked.copy())
        np.testing.assert_allclose(answers(imputer, asked), expected, rtol=1e-5, atol=1e-4)
