from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    LabelEncoder,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.helpers.exported import answers_of_export
from workbench.convert.scikit.sample_rows import ROWS, made_up_rows, texts_like_the_training_data
from workbench.core.tensor import Array
from workbench.errors import ModelError

X, Y = load_iris(return_X_y=True)
FAR = X * 100 + 1000


def rows_of(estimator: Any) -> Any:
    return made_up_rows(estimator, type(estimator).__name__).rows


def with_holes(rows: Array) -> Array:
    holed = rows.copy()
    holed[np.random.default_rng(0).random(rows.shape) < 0.15] = np.nan
    return holed


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeRegressor(),
        GaussianMixture(3, random_state=0),
        GaussianNB(),
        KNeighborsRegressor(),
        PCA(2),
        RandomForestRegressor(3),
        SVC(),
        make_pipeline(MinMaxScaler(), LinearRegression()),
        make_pipeline(QuantileTransformer(n_quantiles=10), LinearRegression()),
        make_pipeline(SimpleImputer(), StandardScaler(), LinearRegression()),
        make_pipeline(StandardScaler(), LinearRegression()),
    ],
    ids=str,
)
def test_rows_lie_where_the_estimator_was_trained(estimator: Any) -> None:
    rows = rows_of(estimator.fit(FAR, Y))
    assert len(rows) >= ROWS and rows.shape[1] == 4
    low, high = FAR.min(axis=0), FAR.max(axis=0)
    inside = (rows > low - (high - low)) & (rows < high + (high - low)) | np.isnan(rows)
    used = np.nanstd(rows[:ROWS], axis=0) > 20  # a feature that no tree splits on tells nothing
    assert used.any()
    assert inside[:, used].mean() > 0.9


def test_rows_are_the_same_each_time_and_exact_in_float32() -> None:
    estimator = LogisticRegression(max_iter=500).fit(X, Y)
    rows = rows_of(estimator)
    np.testing.assert_array_equal(rows, rows_of(estimator))
    np.testing.assert_array_equal(rows, rows.astype(np.float32))
    assert rows.dtype == np.float64


def test_rows_of_an_estimator_that_remembers_nothing_are_said_to_be_so() -> None:
    assert "several magnitudes" in made_up_rows(LinearRegression().fit(X, Y), "LinearRegression").like
    assert made_up_rows(DecisionTreeRegressor().fit(X, Y), "DecisionTreeRegressor").like == ""


def test_a_classifier_gets_rows_on_both_sides_of_its_decisions() -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y == 2)
    rows = rows_of(estimator)
    far, near = (np.abs(estimator.decision_function(each)) for each in (rows[:ROWS], rows[ROWS:]))
    assert set(estimator.predict(rows[ROWS:])) == {False, True}
    assert np.median(near) < np.median(far) / 2


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=4, random_state=0),
        HistGradientBoostingClassifier(max_iter=2),
        KNNImputer(),
        RandomForestClassifier(5, random_state=0),
        SimpleImputer(),
        make_pipeline(SimpleImputer(), LogisticRegression()),
    ],
    ids=str,
)
def test_values_are_missing_where_some_were_when_it_was_trained(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = rows_of(estimator.fit(with_holes(X), Y))
    assert 0 < np.isnan(rows).mean() < 0.5
    assert not np.isinf(rows).any()


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=4),
        RandomForestClassifier(5),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=str,
)
def test_no_value_is_missing_where_none_was(estimator: Any) -> None:
    assert not np.isnan(rows_of(estimator.fit(X, Y))).any()


def test_what_stands_for_a_missing_value_is_the_estimators_own() -> None:
    marked = np.where(np.random.default_rng(0).random(X.shape) < 0.1, -1, X)
    rows = rows_of(SimpleImputer(missing_values=-1).fit(marked))
    assert (rows == -1).any() and not np.isnan(rows).any()


def test_categories_are_the_encoders_own() -> None:
    numbers = np.random.default_rng(0).integers(0, [3, 4], (50, 2))
    rows = rows_of(make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(numbers, numbers[:, 0] > 1))
    assert len(rows) > ROWS  # also near its decisions
    assert [set(column) for column in rows.T] == [{0, 1, 2}, {0, 1, 2, 3}]
    words = np.array([["red", "x"], ["green", "y"], ["blue", "x"]], object)
    rows = rows_of(OneHotEncoder().fit(words))
    assert rows.dtype == object
    assert [set(column) for column in rows.T] == [{"red", "green", "blue"}, {"x", "y"}]
    frame = pd.DataFrame(words, columns=["colour", "kind"])
    assert list(rows_of(OneHotEncoder().fit(frame)).columns) == ["colour", "kind"]


def test_texts_are_missing_where_some_were_when_it_was_trained() -> None:
    frame = pd.DataFrame({"port": ["C", "Q", None, "S"]})
    made = made_up_rows(OneHotEncoder().fit(frame), "OneHotEncoder").rows["port"]
    assert set(made.dropna()) == {"C", "Q", "S"} and made.isna().any()
    assert made_up_rows(OneHotEncoder().fit(frame.dropna()), "OneHotEncoder").rows["port"].notna().all()


@pytest.mark.parametrize(
    "chosen",
    [["city"], slice("city", None), [False, True], lambda frame: ["city"]],
    ids=["names", "slice", "mask", "function"],
)
def test_a_column_transformer_gets_each_column_as_its_own_step_knows_it(chosen: Any) -> None:
    frame = pd.DataFrame({"age": np.linspace(18, 80, 30), "city": ["Bern", "Genf", "Chur"] * 10})
    columns = ColumnTransformer([("words", OneHotEncoder(), chosen)], remainder="passthrough")
    rows = rows_of(make_pipeline(columns, DecisionTreeClassifier()).fit(frame, frame.age > 50))
    assert set(rows["city"]) == set(frame["city"])
    assert rows["age"].between(0, 120).all() and rows["age"].between(45, 55).any()  # where the tree splits it


def test_a_model_of_counts_gets_no_negative_rows() -> None:
    assert (rows_of(MultinomialNB().fit(X, Y)) >= 0).all()


def test_labels_alone_are_a_vector_of_the_classes() -> None:
    assert set(rows_of(LabelEncoder().fit(["b", "a", "c"]))) == {"a", "b", "c"}


def test_texts_are_of_the_vocabulary_and_some_other_words() -> None:
    texts = texts_like_the_training_data(SimpleNamespace(vocabulary_={"good": 0, "film": 1}))
    assert len(texts) == ROWS
    assert {"good", "film"} < {word for text in texts for word in text.split()}
    assert len(texts_like_the_training_data(SimpleNamespace())) == ROWS


def test_where_nothing_like_its_rows_can_be_made_up_some_are_asked_for() -> None:
    class Odd(BaseEstimator):  # type: ignore[misc]
        def predict(self, rows: object) -> None:
            return None

    with pytest.raises(ModelError, match=r"no rows like .* Odd could be made up .* sample=X\[:100\] \(--sample X"):
        made_up_rows(Odd(), "Odd")


def test_a_column_that_no_step_reads_is_left_out() -> None:
    frame = pd.DataFrame({"age": np.linspace(18, 80, 30), "city": ["Bern", "Genf", "Chur"] * 10})
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age"])])
    for estimator in (columns, make_pipeline(columns, LogisticRegression())):
        assert list(rows_of(estimator.fit(frame, frame.age > 50)).columns) == ["age"]


def test_a_linear_model_gets_rows_where_its_sum_is_small_however_far_away() -> None:
    estimator = LinearRegression().fit(X + 1e6, Y)
    rows = rows_of(estimator)
    assert (np.abs(estimator.predict(rows)) < 100).sum() >= 16
    assert np.abs(rows).max() > 1e5


def test_attributes_that_only_look_like_scikit_learns_are_passed_over() -> None:
    estimator = LinearRegression().fit(X, Y)
    estimator.categories_ = 3
    assert len(rows_of(estimator)) >= ROWS


@pytest.mark.parametrize(
    ("text", "alike"),
    [("a good film", True), ("Äpfel auf der Straße", True), ("λόγος και μύθος", False), ("ışık ve şehir", False)],
)
def test_texts_show_which_capitals_onnx_makes_small_otherwise(text: str, alike: bool) -> None:
    vectoriser = CountVectorizer().fit([text])
    texts = np.array(texts_like_the_training_data(vectoriser), dtype=object)
    answers = answers_of_export(vectoriser, texts)[0]
    assert np.array_equal(answers, vectoriser.transform(texts).toarray()) == alike
