"""Boosted models inside scikit-learn's pipelines and ensembles answer as they do themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from tests.helpers.boosted_models import FRAME, HOLED, NAMED, NUMBERS, REAL, THREE, TRAINED, TREES, TWO
from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.core.tensor import Array

TEXT = FRAME.astype({"colour": object})


def lgbm(kind: str) -> Any:
    return getattr(lightgbm, kind)(n_estimators=TREES, verbose=-1, n_jobs=1)


def xgb(kind: str) -> Any:
    return getattr(xgboost, kind)(n_estimators=TREES, n_jobs=1)


def cat(kind: str) -> Any:
    return getattr(catboost, kind)(iterations=TREES, verbose=0, allow_writing_files=False, thread_count=1)


def columns() -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("numbers", numbers, ["width", "height", "age"]), ("codes", codes, ["colour"])])


INSIDE: dict[str, tuple[Callable[[], Any], Any, Array]] = {
    "scaled LightGBM with text labels": (
        lambda: make_pipeline(StandardScaler(), lgbm("LGBMClassifier")),
        NUMBERS,
        NAMED,
    ),
    "scaled XGBoost with holes": (lambda: make_pipeline(StandardScaler(), xgb("XGBRegressor")), HOLED, REAL),
    "scaled CatBoost": (lambda: make_pipeline(StandardScaler(), cat("CatBoostClassifier")), NUMBERS, NAMED),
    "columns of a frame, LightGBM": (lambda: make_pipeline(columns(), lgbm("LGBMClassifier")), TEXT, NAMED),
    "columns of a frame, XGBoost": (lambda: make_pipeline(columns(), xgb("XGBRegressor")), TEXT, REAL),
    "columns of a frame, CatBoost": (lambda: make_pipeline(columns(), cat("CatBoostRegressor")), TEXT, REAL),
    "a search": (lambda: GridSearchCV(lgbm("LGBMClassifier"), {"num_leaves": [4, 8]}, cv=2), NUMBERS, TWO),
    "a vote": (
        lambda: VotingClassifier([("a", lgbm("LGBMClassifier")), ("b", xgb("XGBClassifier"))], voting="soft"),
        NUMBERS,
        THREE,
    ),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # scikit-learn's, of LightGBM in a pipeline
@pytest.mark.parametrize("kind", INSIDE)
async def test_a_boosted_model_inside_an_estimator_answers_as_it_does_itself(kind: str) -> None:
    make, rows, target = INSIDE[kind]
    estimator, fresh = make().fit(rows[:TRAINED], target[:TRAINED]), rows[TRAINED:]
    client = OnnxClient()
    await load(client, "m", estimator, {})
    answer = await Predictor(client).predict("m", fresh)
    if "probabilities" in answer:
        np.testing.assert_array_equal(answer["label"].astype(str), np.ravel(estimator.predict(fresh)).astype(str))
        np.testing.assert_allclose(answer["probabilities"], estimator.predict_proba(fresh), atol=1e-6)
    else:
        np.testing.assert_allclose(answer["variable"].reshape(-1), estimator.predict(fresh), atol=2e-5)
