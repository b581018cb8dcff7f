"""Estimators around pipelines that choose columns of text and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.core.tensor import BYTES
from workbench.errors import Unsupported

RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 80, 200),
        "fare": np.where(RANDOM.random(200) < 0.1, np.nan, RANDOM.lognormal(2, 1, 200)),
        "city": RANDOM.choice(["Köln", "Rom", "Oslo"], 200),
        "note": RANDOM.choice(["is", "not read"], 200),
    }
)
NUMBER = FRAME["age"] * 2.0 + 10 * (FRAME["city"] == "Rom")
CLASS = np.where(NUMBER > 100, "high", "low")
THREE = np.digitize(NUMBER, [70, 130])


def columns(scaled: bool = True) -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler()) if scaled else SimpleImputer()
    text = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", numbers, ["age", "fare"]), ("text", text, ["city"])])


def linear() -> Any:
    return make_pipeline(columns(), LogisticRegression())


def forest() -> Any:
    return make_pipeline(columns(scaled=False), RandomForestClassifier(5, random_state=0))


def logarithm(regressor: Any) -> Any:
    return TransformedTargetRegressor(regressor, func=np.log1p, inverse_func=np.expm1)


CASES: dict[str, tuple[Any, Any]] = {
    "a transformed target": (logarithm(make_pipeline(columns(), Ridge())), NUMBER),
    "a search of it": (
        GridSearchCV(logarithm(make_pipeline(columns(), Ridge())), {"regressor__ridge__alpha": [0.1, 1]}, cv=2),
        NUMBER,
    ),
    "another threshold": (FixedThresholdClassifier(linear(), threshold=0.3, pos_label="low"), CLASS),
    "calibrated": (CalibratedClassifierCV(linear(), cv=2), CLASS),
    "calibrated by steps": (CalibratedClassifierCV(forest(), cv=2, method="isotonic"), CLASS),
    "a vote of shares": (VotingClassifier([("a", linear()), ("b", forest())], voting="soft", weights=[1, 2]), THREE),
    "a vote": (
        VotingClassifier([("a", linear()), ("b", make_pipeline(columns(), StandardScaler(), LinearSVC()))]),
        CLASS,
    ),
    "a mean": (
        VotingRegressor(
            [("a", make_pipeline(columns(), Ridge())), ("b", make_pipeline(columns(False), LinearRegression()))]
        ),
        NUMBER,
    ),
    "a stack": (StackingClassifier([("a", linear()), ("b", forest())], cv=2), CLASS),
    "a stack of three classes": (StackingClassifier([("a", linear()), ("b", forest())], cv=2), THREE),
    "a stack of numbers": (StackingRegressor([("a", make_pipeline(columns(), Ridge()))], cv=2), NUMBER),
    "one against the rest": (OneVsRestClassifier(linear()), THREE),
}


@pytest.mark.parametrize("case", CASES)
async def test_an_estimator_around_pipelines_takes_their_columns(case: str) -> None:
    model, target = CASES[case]
    model.fit(FRAME, target)
    client = OnnxClient()
    await load(client, "m", model, {})
    signature = (await client.status("m")).signature
    assert signature is not None
    assert [each.name for each in signature.inputs] == ["age", "fare", "city"]
    assert signature.inputs[2].datatype == BYTES
    answer = await Predictor(client).predict("m", FRAME)
    if hasattr(model, "classes_"):
        assert np.array_equal(answer["label"], model.predict(FRAME))
    else:
        np.testing.assert_allclose(next(iter(answer.values())).reshape(-1), model.predict(FRAME), rtol=1e-4)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(answer["probabilities"], model.predict_proba(FRAME), atol=1e-5)


async def test_one_that_is_not_turned_inside_out_names_its_columns_and_the_cure() -> None:
    model = MultiOutputRegressor(make_pipeline(columns(), Ridge())).fit(FRAME, np.column_stack([NUMBER, -NUMBER]))
    said = r"columns of text \('city', 'note'\) as a whole, .* make_pipeline\(ColumnTransformer\(...\), MultiOutputR"
    with pytest.raises(Unsupported, match=said):
        await load(OnnxClient(), "m", model, {}, sample=FRAME)
