"""Pipelines as people write them, on the tables that come with scikit-learn, made into frames of mixed columns."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tests.model_zoo.case import Case


def _holes(column: Any, share: float, seed: int) -> Any:
    series = pd.Series(column)
    missing = np.nan if isinstance(series.dtype, np.dtype) else pd.NA
    return series.mask(np.random.default_rng(seed).random(len(series)) < share, missing)


@cache
def diabetes() -> tuple[pd.DataFrame, Any]:
    """442 patients: whole numbers, fractions, text, truth values and nullable columns."""
    found = load_diabetes(as_frame=True, scaled=False)
    table = found.data
    frame = pd.DataFrame(
        {
            "age": table["age"].astype(int),
            "sex": np.where(table["sex"] == 1, "female", "male"),
            "bmi": _holes(table["bmi"], 0.1, 1),
            "pressure": _holes(pd.array(table["bp"].round().astype(int), dtype="Int64"), 0.1, 2),
            "obese": table["bmi"] > 30,
            "sugar": _holes(pd.cut(table["s6"], 3, labels=["low", "normal", "high"]), 0.05, 3),
            "cholesterol": pd.array(table["s1"], dtype="Float64"),
        }
    )
    return frame, found.target.to_numpy()


@cache
def wine() -> tuple[pd.DataFrame, Any]:
    """178 wines of named cultivars, with text columns of which some values are missing."""
    found = load_wine(as_frame=True)
    table = found.data
    frame = pd.DataFrame(
        {
            "alcohol": table["alcohol"],
            "magnesium": table["magnesium"].astype(int),
            "proline": _holes(table["proline"], 0.1, 4),
            "colour": _holes(pd.cut(table["hue"], 3, labels=["röt", "rosé", "weiß"]).astype(str), 0.1, 5),
            "strong": _holes(pd.array(table["alcohol"] > 13, dtype="boolean"), 0.1, 6),
            "bottle": np.arange(len(table)).astype(str),
        }
    )
    return frame, found.target_names[found.target]


@cache
def cancer() -> tuple[pd.DataFrame, Any]:
    """569 samples with many columns of numbers and two of text."""
    found = load_breast_cancer(as_frame=True)
    table = found.data.iloc[:, :10].copy()
    table["mean radius"] = _holes(table["mean radius"], 0.1, 7)
    table["clinic"] = pd.Series(np.array(["north", "south", "west"])[np.arange(len(table)) % 3]).astype("category")
    table["grade"] = _holes(pd.qcut(table["mean area"], 4, labels=["I", "II", "III", "IV"]).astype(str), 0.1, 8)
    return table, found.target.to_numpy()


def _case(kind: str, table: Callable[[], tuple[pd.DataFrame, Any]], pipeline: Callable[[], Any]) -> Case:
    def make() -> tuple[object, object]:
        frame, target = table()
        fresh = np.arange(len(frame)) % 3 == 0
        return pipeline().fit(frame[~fresh], target[~fresh]), frame[fresh].reset_index(drop=True)

    return Case(f"Pipeline on a DataFrame: {kind}", make)


def _filled(**settings: Any) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median", **settings), StandardScaler())


def _words() -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))


def _by_kind(numbers: Any, words: Any) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include=["number", "bool", "boolean"])),
            ("words", words, make_column_selector(dtype_include=["str", "object", "category"])),
        ]
    )


def _ordered() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def _rare() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30, drop="if_binary")


WINE = ["alcohol", "magnesium", "proline", "strong"]
CASES: list[Case] = [
    _case("filled, scaled, one-hot, Ridge", diabetes, lambda: make_pipeline(_by_kind(_filled(), _words()), Ridge())),
    _case(
        "filled with indicators, LogisticRegression",
        cancer,
        lambda: make_pipeline(_by_kind(_filled(add_indicator=True), _words()), LogisticRegression()),
    ),
    _case(
        "ordinal, RandomForest, a column dropped",
        wine,
        lambda: make_pipeline(
            ColumnTransformer([("n", SimpleImputer(), WINE), ("w", _ordered(), ["colour"])]),
            RandomForestClassifier(50, random_state=0),
        ),
    ),
    _case(
        "ordinal with missing, HistGradientBoosting",
        cancer,
        lambda: make_pipeline(
            ColumnTransformer([("w", _ordered(), ["clinic", "grade"])], remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=20, random_state=0),
        ),
    ),
    _case(
        "target encoded, GradientBoosting",
        diabetes,
        lambda: make_pipeline(
            _by_kind(SimpleImputer(), TargetEncoder(random_state=0)),
            GradientBoostingRegressor(n_estimators=30, random_state=0),
        ),
    ),
    _case("rare categories, SVC", cancer, lambda: make_pipeline(_by_kind(_filled(), _rare()), SVC())),
    _case(
        "searched by GridSearchCV",
        wine,
        lambda: GridSearchCV(
            make_pipeline(
                ColumnTransformer([("n", _filled(), WINE), ("w", _words(), ["colour"])]), LogisticRegression()
            ),
            {"logisticregression__C": [0.1, 1.0]},
            cv=2,
        ),
    ),
    _case(
        "selected features, KNeighbors",
        cancer,
        lambda: make_pipeline(
            _by_kind(make_pipeline(SimpleImputer(), MinMaxScaler()), _words()),
            SelectKBest(f_classif, k=6),
            KNeighborsClassifier(),
        ),
    ),
    _case(
        "filled with 0 and marked, DecisionTree",
        wine,
        lambda: make_pipeline(
            ColumnTransformer([("n", SimpleImputer(strategy="constant", fill_value=0, add_indicator=True), WINE)]),
            DecisionTreeClassifier(max_depth=4, random_state=0),
        ),
    ),
    _case(
        "numbers alone, HistGradientBoosting",
        diabetes,
        lambda: make_pipeline(
            ColumnTransformer([("n", "passthrough", ["age", "bmi", "obese"])]),
            HistGradientBoostingRegressor(max_iter=20, random_state=0),
        ),
    ),
]
