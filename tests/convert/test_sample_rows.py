from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from workbench.convert.sample_rows import ROWS, rows_like_the_training_data, texts_like_the_training_data

X, Y = load_iris(return_X_y=True)
FAR = X * 100 + 1000


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeRegressor(),
        GaussianNB(),
        KNeighborsRegressor(),
        RandomForestRegressor(3),
        make_pipeline(MinMaxScaler(), LinearRegression()),
        make_pipeline(StandardScaler(), LinearRegression()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_rows_lie_where_the_estimator_was_trained(estimator: object) -> None:
    rows = rows_like_the_training_data(estimator.fit(FAR, Y), 4)  # type: ignore[attr-defined]
    assert rows.shape == (ROWS, 4)
    low, high = FAR.min(axis=0), FAR.max(axis=0)
    inside = (rows > low - (high - low)) & (rows < high + (high - low))
    used = rows.std(axis=0) > 1  # a feature that no tree splits on tells nothing
    assert used.any()
    assert inside[:, used].mean() > 0.95


def test_rows_are_the_same_each_time_and_exact_in_float32() -> None:
    estimator = LinearRegression().fit(X, Y)
    rows = rows_like_the_training_data(estimator, 4)
    np.testing.assert_array_equal(rows, rows_like_the_training_data(estimator, 4))
    np.testing.assert_array_equal(rows, rows.astype(np.float32))
    assert rows.dtype == np.float64


def test_a_model_of_counts_gets_no_negative_rows() -> None:
    assert (rows_like_the_training_data(MultinomialNB().fit(X, Y), 4) >= 0).all()


def test_texts_are_of_the_vocabulary() -> None:
    texts = texts_like_the_training_data(SimpleNamespace(vocabulary_={"good": 0, "film": 1}))
    assert len(texts) == ROWS
    assert {word for text in texts for word in text.split()} == {"good", "film"}
    assert len(texts_like_the_training_data(SimpleNamespace())) == ROWS
