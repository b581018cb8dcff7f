from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from workbench.convert.scikit.tied_neighbours import decided

TRAINED = np.array([[0.0], [1.0], [2.0], [10.0]])
LABELS = [0, 1, 0, 1]


def test_rows_between_two_neighbours_are_left_out() -> None:
    nearest = KNeighborsClassifier(1).fit(TRAINED, LABELS)
    rows, left_out = decided(nearest, np.array([[0.5], *[[0.7]] * 4, [9.0]]))
    assert (rows.tolist(), left_out) == ([*[[0.7]] * 4, [9.0]], 1)


def test_a_pipelines_neighbours_are_looked_at_behind_its_steps() -> None:
    frame = pd.DataFrame({"a": [0.5, 0.7, 0.7, 0.7, 0.7]}, index=[5, 6, 7, 8, 9])
    nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(1)).fit(pd.DataFrame(TRAINED, columns=["a"]), LABELS)
    rows, left_out = decided(nearest, frame)
    assert (list(rows.index), left_out) == ([6, 7, 8, 9], 1)


def test_other_models_and_rows_of_which_many_are_tied_are_left_as_they_are() -> None:
    rows = np.array([[0.5], [1.5], [0.7]])
    for model in (SVC(), KNeighborsClassifier(1), KNeighborsClassifier(4)):
        kept, left_out = decided(model.fit(TRAINED, LABELS), rows)
        assert kept is rows
        assert left_out == 0


def test_rows_that_an_imputer_fills_by_the_order_of_what_it_stores_are_left_out() -> None:
    random = np.random.default_rng(0)
    trained = np.column_stack([random.integers(0, 5, 100), random.normal(size=(100, 2))]).astype(float)
    asked = np.concatenate([random.normal(size=(20, 3)), [[1.0, np.nan, np.nan], [np.nan, 0.5, np.nan]]])
    imputed = make_pipeline(ColumnTransformer([("filled", KNNImputer(n_neighbors=2), [0, 1, 2])]), LinearRegression())
    rows, left_out = decided(imputed.fit(trained, trained[:, 1]), asked)
    np.testing.assert_array_equal(rows, asked[[*range(20), 21]])
    assert left_out == 1
