"""scikit-learn's estimators, each fitted on every kind of data that it takes, with rows that it has not seen."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, OrthogonalMatchingPursuitCV
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.neighbors import LocalOutlierFactor, RadiusNeighborsClassifier, RadiusNeighborsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

ROWS = 240
TRAINED = 160


@dataclass(frozen=True)
class Fitted:
    name: str
    data: str
    """The kind of data that it was fitted on."""
    estimator: Any
    unseen: Any
    """Rows like those, as `predict` takes them."""

    def __str__(self) -> str:
        return f"{self.name} on {self.data}"


@dataclass(frozen=True)
class Data:
    name: str
    rows: Any
    targets: tuple[Any, ...]
    """What to fit to; the first that an estimator takes is used."""


def data_kinds() -> list[Data]:
    rng = np.random.default_rng(7)
    numbers = rng.normal(size=(ROWS, 5)) * [1, 10, 0.1, 3, 1] + [0, 100, 0, -3, 5]
    signal = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    three = np.digitize(signal[:, 0] + signal[:, 1] + 0.3 * rng.normal(size=ROWS), [-0.8, 0.8])
    two = (signal[:, 2] - signal[:, 3] > 0).astype(int)
    real = signal @ [1.0, -2.0, 0.5, 0.0, 1.0] + 10 + 0.1 * rng.normal(size=ROWS)
    holes = numbers.copy()
    holes[rng.random(holes.shape) < 0.15] = np.nan
    counts = rng.poisson([1, 5, 0.5, 3, 20], (ROWS, 5)).astype(float)
    whole = rng.integers(0, [3, 4, 6, 2, 5], (ROWS, 5))
    words = np.array(["red", "green", "blue", "grün"], object)[rng.integers(0, 4, (ROWS, 3))]
    word_classes = (words[:, 0] == "red").astype(int) + (words[:, 1] == "blue")
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "income": np.where(rng.random(ROWS) < 0.1, np.nan, rng.lognormal(10, 1, ROWS)),
            "city": rng.choice(["Berlin", "Paris", "Rom"], ROWS),
            "plan": rng.choice(["a", "b"], ROWS),
        }
    )
    paid = ((frame.age > 40) ^ (frame.city == "Rom")).to_numpy().astype(int)
    texts = np.array([" ".join(rng.choice(TEXT_WORDS, rng.integers(2, 9))) for _ in range(ROWS)], object)
    named = np.array(["low", "mid", "high"], object)[three]
    both = (three, real, two)
    return [
        Data("numbers", numbers, both),
        Data("one column", numbers[:, :1], both),
        Data("two classes", numbers, (two,)),
        Data("named classes", numbers, (named,)),
        Data("a frame of numbers", pd.DataFrame(numbers, columns=list("abcde")), both),
        Data("missing values", holes, both),
        Data("counts", counts, (three, counts.sum(axis=1), two)),
        Data("whole numbers", whole, (three, real)),
        Data("several labels", numbers, (np.column_stack([two, three > 0]).astype(int),)),
        Data("several classes", numbers, (np.column_stack([two, three]),)),
        Data("several targets", numbers, (np.column_stack([real, -real + signal[:, 0]]),)),
        Data("words", words, (word_classes, word_classes.astype(float))),
        Data("a mixed frame", frame, (paid,)),
        Data("texts", texts, (np.array(["wow" in text for text in texts]).astype(int),)),
        Data("labels alone", named, (None,)),
    ]


TEXT_WORDS = ["good", "bad", "wow", "köln", "film", "été", "the", "Plot", "2x", "naïve"]


def wrapped() -> Iterator[tuple[str, Any]]:
    """Estimators that need another one, and pipelines as people write them."""
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    linear = LogisticRegression(max_iter=50)
    needs = {
        "estimator": (tree, linear, LinearRegression(), DecisionTreeRegressor(max_depth=3, random_state=0)),
        "estimators": (
            [("tree", tree), ("linear", linear)],
            [("tree", DecisionTreeRegressor(max_depth=3)), ("line", LinearRegression())],
        ),
        "transformer_list": ([("scaled", StandardScaler()), ("filled", SimpleImputer())],),
    }
    for name, kind in all_estimators():
        parameters = inspect.signature(kind).parameters
        if not any(each.default is inspect.Parameter.empty for each in parameters.values()):
            continue
        for need, choices in needs.items():
            if need in parameters:
                for choice in choices:
                    more = {"param_grid": {}} if "param_grid" in parameters else {}
                    more |= {"param_distributions": {}} if "param_distributions" in parameters else {}
                    more |= {"cv": 2} if "cv" in parameters else {}
                    more |= {"random_state": 0} if "random_state" in parameters else {}
                    yield name, kind(**{need: choice}, **more)
    numeric, texts = ["age", "income"], ["city", "plan"]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numeric),
            ("words", OneHotEncoder(handle_unknown="ignore"), texts),
        ]
    )
    ordinal = ColumnTransformer(
        [("numbers", "passthrough", numeric), ("words", OrdinalEncoder(), texts)], sparse_threshold=0
    )
    yield "columns", clone(columns)
    yield "columns, logistic", make_pipeline(columns, linear)
    yield "columns, forest", make_pipeline(columns, RandomForestClassifier(5, max_depth=4, random_state=0))
    yield "columns, boosting", make_pipeline(ordinal, HistGradientBoostingClassifier(max_iter=5, random_state=0))
    yield "filled, scaled, logistic", make_pipeline(SimpleImputer(), StandardScaler(), linear)
    yield "filled and marked, tree", make_pipeline(SimpleImputer(add_indicator=True), tree)
    yield "one-hot, logistic", make_pipeline(OneHotEncoder(handle_unknown="ignore"), linear)
    yield "tf-idf, logistic", make_pipeline(TfidfVectorizer(), linear)
    yield "united, tree", make_pipeline(FeatureUnion([("a", StandardScaler()), ("b", SimpleImputer())]), tree)
    yield "boosting on categories", HistGradientBoostingClassifier(categorical_features=[0], max_iter=5)


def with_settings() -> Iterator[tuple[str, Any]]:
    """Estimators whose defaults answer for no new rows, or for few."""
    linear = LogisticRegression(max_iter=50)
    yield "RadiusNeighborsClassifier", RadiusNeighborsClassifier(5.0, outlier_label="most_frequent")
    yield "RadiusNeighborsRegressor", RadiusNeighborsRegressor(5.0, weights="distance")
    yield "LocalOutlierFactor", LocalOutlierFactor(novelty=True)
    yield "IsotonicRegression", IsotonicRegression(out_of_bounds="clip")
    yield "SelfTrainingClassifier", SelfTrainingClassifier(linear)
    yield "OrthogonalMatchingPursuitCV", OrthogonalMatchingPursuitCV(cv=2, max_iter=3)
    yield "CalibratedClassifierCV", CalibratedClassifierCV(linear, method="isotonic", cv=2)
    yield "HalvingGridSearchCV", HalvingGridSearchCV(linear, {"C": [0.1, 1.0]}, cv=2, random_state=0)


QUICK: dict[str, Any] = {
    "max_iter": 30,
    "n_estimators": 5,
    "n_quantiles": 10,
    "n_init": 1,
    "random_state": 0,
    "n_components": 2,
    "n_splits": 2,
    "Cs": 2,
    "cv": 2,
    "max_subpopulation": 20,
}
SLOW_ITERATIONS = ("LogisticRegression", "MLP", "Huber", "Lars", "Lasso", "Elastic", "SVC", "SVR", "Quantile", "Gamma")


def estimators() -> Iterator[tuple[str, Any]]:
    for name, kind in all_estimators():
        parameters = inspect.signature(kind).parameters
        if any(each.default is inspect.Parameter.empty for each in parameters.values()):
            continue
        quick = {key: value for key, value in QUICK.items() if key in parameters}
        if any(each in name for each in SLOW_ITERATIONS):
            quick.pop("max_iter", None)
        yield name, kind(**quick)
    yield from wrapped()
    yield from with_settings()


def fitted_estimators(wanted: Callable[[str, str], bool] = lambda name, data: True) -> Iterator[Fitted]:
    """Every estimator on every kind of data that it can be fitted to and then answers for."""
    kinds = data_kinds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = list(estimators())
    for name, estimator in known:
        for data in kinds:
            if not wanted(name, data.name) or ("Vectorizer" in name and data.name != "texts"):
                continue
            for target in data.targets:
                if (found := _fitted(estimator, data, target)) is not None:
                    yield Fitted(name, data.name, *found)
                    break


def _fitted(estimator: Any, data: Data, target: Any) -> tuple[Any, Any] | None:
    rows, unseen = data.rows[:TRAINED], data.rows[TRAINED:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = clone(estimator)
        try:
            one.fit(rows) if target is None else one.fit(rows, target[:TRAINED])
            method = next(each for each in ("predict", "transform", "score_samples") if hasattr(one, each))
            getattr(one, method)(unseen)
        except Exception:  # not for this kind of data; which, is what is being asked
            return None
    return one, unseen
