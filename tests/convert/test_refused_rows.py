"""What is said of a sample that the estimator does not take: what is wrong with it, and no words of its library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from workbench.convert.scikit.sklearn import convert
from workbench.convert.trees import boosting
from workbench.errors import InvalidInput

X = np.random.default_rng(0).normal(size=(20, 4))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=list("abcd"))
TABLE = pd.DataFrame({"age": [1.0, 2, 3, 4] * 5, "fare": [2.0, 3, 4, 5] * 5, "city": ["a", "b"] * 10})


@pytest.fixture(scope="module")
def numbers() -> Any:
    return LogisticRegression().fit(X, Y)


@pytest.fixture(scope="module")
def named() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, Y)


@pytest.fixture(scope="module")
def mixed() -> Any:
    columns = [
        ("age", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        ("fare", "passthrough", ["fare"]),
        ("city", OneHotEncoder(), ["city"]),
    ]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(TABLE, [0, 1] * 10)


@pytest.fixture(scope="module")
def texts() -> Any:
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["red fox", "blue sky"] * 5, [0, 1] * 5)


def said(estimator: Any, sample: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        convert(estimator, sample)
    assert "\n" not in caught.value.message
    assert "Error" not in caught.value.message
    return caught.value.message.partition("refuses the rows of the sample: ")[2] or caught.value.message


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (X[:, :3], "it has 3 columns, and 4 were there in training"),
        (X[0], "it has one axis, and rows of columns are taken; give a table, as X[:100], or one row of it as X[:1]"),
        (X[None], "its shape is [1, 20, 4], and rows of columns are taken"),
        ([["a", "b", "c", "d"]], "it holds text ('a'), and numbers are taken"),
        (np.array([["a", 1, 2, 3]], object), "column 0 holds text ('a'), and numbers are taken there"),
        (FRAME.assign(b="u"), "column 'b' holds text ('u'), and numbers are taken there"),
        (X.astype(complex), "column 0 holds complex numbers"),
        (np.full((3, 4), np.datetime64("2020-01-01")), "it holds dates, and numbers are taken"),
        ([{"a": 1.0, "b": 2.0}], "its rows are dicts; give a DataFrame of them, as pd.DataFrame(rows)"),
    ],
    ids=["columns", "axis", "axes", "text", "mixed", "frame", "complex", "dates", "dicts"],
)
def test_what_is_wrong_with_the_rows_is_said_of_numbers(numbers: Any, sample: Any, why: str) -> None:
    assert said(numbers, sample) == why


BOOSTED = {
    "catboost": lambda: CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False),
    "lightgbm": lambda: LGBMClassifier(n_estimators=2, verbose=-1),
    "xgboost": lambda: XGBClassifier(n_estimators=2),
}


@pytest.mark.parametrize("library", BOOSTED)
def test_what_is_wrong_with_the_rows_of_a_boosted_model_is_said_alike(library: str) -> None:
    trained = BOOSTED[library]().fit(X, Y)
    with pytest.raises(InvalidInput, match=r"refuses the rows of the sample: it has 3 columns, and 4 were there"):
        boosting.convert(trained, X[:, :3])
    with pytest.raises(InvalidInput, match=r"refuses the rows of the sample: it has one axis, and rows of columns"):
        boosting.convert(trained, X[0])
    with pytest.raises(
        InvalidInput, match=r"rows of the sample: (it|column 0) holds text \('a'\), and numbers are taken"
    ):
        boosting.convert(trained, np.array([["a", "b", "c", "d"]]))
    with pytest.raises(
        InvalidInput, match=r"column 'b' holds text \('u'\), and numbers are taken, or pandas categories"
    ):
        boosting.convert(BOOSTED[library]().fit(FRAME, Y), FRAME.assign(b="u"))


def test_a_column_of_numbers_where_text_was_is_named(mixed: Any) -> None:
    assert said(mixed, TABLE.assign(city=3)) == "column 'city' holds numbers (3), and text was there in training"


def test_missing_values_are_named_with_what_to_do(numbers: Any, mixed: Any) -> None:
    assert said(numbers, np.full((3, 4), np.nan)).startswith("it has missing values, and none are taken; leave such")
    assert said(mixed, TABLE.assign(fare=np.nan)).startswith("column 'fare' has missing values, and it takes none")


def test_columns_are_named_that_lack_or_are_others(named: Any, mixed: Any) -> None:
    assert said(named, FRAME[["a", "b", "c"]]) == "it lacks column 'd'"
    assert said(named, FRAME.rename(columns={"a": "w"})) == (
        "it lacks column 'a', and has column 'w', which was not there in training"
    )
    assert said(named, X[:, :3]) == "it has 3 columns, and 4 ('a', 'b', 'c', 'd') were there in training"
    assert said(mixed, TABLE.to_numpy()) == ("it has no names of columns, by which some are chosen; give a DataFrame")


def test_a_category_that_was_not_there_in_training_is_named_with_its_column(mixed: Any) -> None:
    assert said(mixed, TABLE.assign(city="zzz")).startswith(
        "column 'city' holds 'zzz', a category that was not there in training"
    )


@pytest.mark.parametrize("sample", [[["red"], ["blue"]], [1, 2, 3], ["red", None]], ids=["axes", "numbers", "none"])
def test_a_vectoriser_is_said_to_take_texts(texts: Any, sample: Any) -> None:
    assert "a vectoriser takes one text a row, as df['text'][:100]" in said(texts, sample)


def test_a_vectoriser_that_takes_the_names_of_columns_for_texts_is_found_out(texts: Any) -> None:
    assert "gives 1 answer for 2 rows of the sample" in said(texts, pd.DataFrame({"text": ["red fox", "blue sky"]}))


@pytest.mark.parametrize(
    ("sample", "found"),
    [(3, "got 3"), ("hello", "got 'hello'"), ({"x": X}, "got a dict with 'x'"), (len, "got a builtin_function")],
    ids=["number", "text", "dict", "function"],
)
def test_what_is_no_rows_at_all_is_shown(numbers: Any, sample: Any, found: str) -> None:
    assert found in said(numbers, sample)


def test_rows_of_different_lengths_are_no_table(numbers: Any) -> None:
    assert "this list is no table of numbers or text, as where its rows are of different" in said(
        numbers, [[1, 2, 3, 4], [1, 2]]
    )
