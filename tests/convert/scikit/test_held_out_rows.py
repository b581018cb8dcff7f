"""Trees, and trees behind transformations, answer rows of real tables that they have not seen as they do themselves.

The rows are float64, straight from scikit-learn's data sets: their values repeat, so many lie on split points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor

from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.convert.scikit import sklearn as converter
from workbench.core.tensor import Array

CLASSES = {"breast_cancer": load_breast_cancer, "digits": load_digits, "iris": load_iris, "wine": load_wine}


@cache
def table(name: str) -> tuple[Any, Any, Array, Array]:
    """Rows to train on, rows held out, and the targets of both."""
    if name == "mixed":
        return mixed_table()
    found = load_diabetes(return_X_y=True) if name == "diabetes" else CLASSES[name](return_X_y=True)
    return tuple(train_test_split(*found, random_state=0))  # type: ignore[return-value]


def mixed_table() -> tuple[Any, Any, Array, Array]:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 400),
            "pay": np.round(rng.lognormal(8, 1, 400), 2),
            "seen": rng.integers(1_600_000_000, 1_700_000_000, 400) * 1.0,
            "city": rng.choice(["Bern", "Köln", "Rom"], 400),
        }
    )
    paid = (rows.pay / rows.age + 40 * (rows.city == "Rom") > 70).to_numpy().astype(int)
    return tuple(train_test_split(rows, paid, random_state=0))  # type: ignore[return-value]


def lgbm(kind: str) -> Any:
    return getattr(lightgbm, kind)(n_estimators=10, verbose=-1, n_jobs=1)


def columns(*numbers: Any) -> ColumnTransformer:
    return ColumnTransformer(
        [("numbers", make_pipeline(*numbers), ["age", "pay", "seen"]), ("city", OneHotEncoder(), ["city"])],
        sparse_threshold=0,
    )


def forest() -> Any:
    return RandomForestClassifier(20, random_state=0)


def boosting() -> Any:
    return HistGradientBoostingClassifier(max_iter=10)


KINDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "boosting on histograms": ("breast_cancer", boosting),
    "boosting on histograms, three classes": ("wine", boosting),
    "boosting on histograms, a number": ("diabetes", lambda: HistGradientBoostingRegressor(max_iter=10)),
    "boosting on histograms, scaled": (
        "diabetes",
        lambda: make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=10)),
    ),
    "boosting on categories of a frame": (
        "mixed",
        lambda: make_pipeline(
            ColumnTransformer(
                [("city", OrdinalEncoder(), ["city"]), ("rest", "passthrough", ["age", "pay", "seen"])],
            ),
            HistGradientBoostingClassifier(max_iter=10, categorical_features=[0]),
        ),
    ),
    "a forest of a frame": ("mixed", lambda: make_pipeline(columns(StandardScaler()), forest())),
    "LightGBM of a frame": ("mixed", lambda: make_pipeline(columns(MinMaxScaler()), lgbm("LGBMClassifier"))),
    "splines of times": ("mixed", lambda: make_pipeline(columns(SplineTransformer()), boosting())),
    "normal quantiles of times": (
        "mixed",
        lambda: make_pipeline(columns(QuantileTransformer(output_distribution="normal", n_quantiles=50)), forest()),
    ),
    "a forest": ("digits", forest),
    "a scaled forest": ("breast_cancer", lambda: make_pipeline(StandardScaler(), forest())),
    "a scaled forest, ten classes": ("digits", lambda: make_pipeline(MinMaxScaler(), forest())),
    "a scaled forest, a number": (
        "diabetes",
        lambda: make_pipeline(StandardScaler(), RandomForestRegressor(20, random_state=0)),
    ),
    "a tree behind powers": (
        "diabetes",
        lambda: make_pipeline(PowerTransformer(), DecisionTreeRegressor(random_state=0)),
    ),
    "XGBoost behind a scaler": (
        "diabetes",
        lambda: make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=10, n_jobs=1)),
    ),
    "LightGBM behind a scaler": ("diabetes", lambda: make_pipeline(StandardScaler(), lgbm("LGBMRegressor"))),
    "LightGBM behind splines": ("diabetes", lambda: make_pipeline(SplineTransformer(), lgbm("LGBMRegressor"))),
    "boosting behind products": ("diabetes", lambda: make_pipeline(PolynomialFeatures(), lgbm("LGBMRegressor"))),
    "gradient boosting behind components": (
        "diabetes",
        lambda: make_pipeline(PCA(3), GradientBoostingRegressor(n_estimators=10, random_state=0)),
    ),
    "gradient boosting behind bins": (
        "breast_cancer",
        lambda: make_pipeline(
            KBinsDiscretizer(encode="ordinal", quantile_method="averaged_inverted_cdf"),
            GradientBoostingClassifier(n_estimators=10, random_state=0),
        ),
    ),
    "LightGBM behind a few quantiles": (
        "breast_cancer",
        lambda: make_pipeline(QuantileTransformer(n_quantiles=10), lgbm("LGBMClassifier")),
    ),
    "extra trees behind quantiles": (
        "wine",
        lambda: make_pipeline(QuantileTransformer(n_quantiles=50), ExtraTreesClassifier(20, random_state=0)),
    ),
    "AdaBoost behind a scaler": (
        "iris",
        lambda: make_pipeline(StandardScaler(), AdaBoostClassifier(n_estimators=10, random_state=0)),
    ),
    "bags of scaled forests": (
        "iris",
        lambda: BaggingClassifier(make_pipeline(StandardScaler(), forest()), n_estimators=2, random_state=0),
    ),
    "a vote": (
        "breast_cancer",
        lambda: VotingClassifier([("a", boosting()), ("b", make_pipeline(StandardScaler(), forest()))], voting="soft"),
    ),
    "a stack": (
        "diabetes",
        lambda: StackingRegressor(
            [("a", HistGradientBoostingRegressor(max_iter=5)), ("b", make_pipeline(StandardScaler(), Ridge()))], cv=2
        ),
    ),
    "calibrated boosting": ("breast_cancer", lambda: CalibratedClassifierCV(boosting(), cv=2)),
    "calibrated LightGBM": ("wine", lambda: CalibratedClassifierCV(lgbm("LGBMClassifier"), cv=2)),
    "isolation": (
        "breast_cancer",
        lambda: make_pipeline(StandardScaler(), IsolationForest(n_estimators=100, contamination=0.1, random_state=0)),
    ),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # scikit-learn's, of LightGBM in a pipeline
@pytest.mark.parametrize("kind", KINDS)
async def test_rows_that_were_held_out_are_answered_as_by_the_original(kind: str) -> None:
    name, make = KINDS[kind]
    trained, held_out, target, _ = table(name)
    estimator = make().fit(trained, target)
    client = OnnxClient()
    await load(client, "m", estimator, {})
    answer = await Predictor(client).predict("m", held_out)
    if "label" in answer:
        np.testing.assert_array_equal(np.ravel(answer["label"]), estimator.predict(held_out))
    for output, method in (
        ("probabilities", "predict_proba"),
        ("scores", "decision_function"),
        ("variable", "predict"),
    ):
        if output in answer:
            own = getattr(estimator, method)(held_out)
            np.testing.assert_allclose(answer[output].reshape(own.shape), own, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("kind", ["a scaled forest", "LightGBM of a frame", "boosting on histograms, a number"])
async def test_an_export_in_float32_is_found_out_without_rows_of_the_user(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make = KINDS[kind]
    trained, _, target, _ = table(name)
    monkeypatch.setattr(converter, "computes_in_double", lambda estimator: False)
    report = await load(OnnxClient(), "m", make().fit(trained, target), {})
    assert "in double precision, since float32" in report.exported
