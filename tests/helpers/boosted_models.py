"""Boosted models of each kind, fitted on small data, each with rows that it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import xgboost

from workbench.core.tensor import Array

TRAINED, FRESH = 300, 60
COUNT = TRAINED + FRESH
TREES = 12

_RNG = np.random.default_rng(0)
NUMBERS = _RNG.normal(size=(COUNT, 4))
HOLED = np.where(_RNG.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS)
ZEROS = np.where(_RNG.random(NUMBERS.shape) < 0.3, 0.0, NUMBERS)
LARGE = NUMBERS + 1.7e9
CODES = np.column_stack([NUMBERS[:, :2], _RNG.integers(0, 3, COUNT), _RNG.integers(0, 40, COUNT)])
FRAME = pd.DataFrame(NUMBERS[:, :3], columns=["width", "height", "age"]).assign(
    colour=pd.Categorical(_RNG.choice(["rot", "gelb", "blau"], COUNT)),
    size=pd.Categorical(_RNG.choice([10, 20], COUNT)),
)
TWO = (NUMBERS[:, 0] + NUMBERS[:, 1] > 0).astype(int)
THREE = np.digitize(NUMBERS[:, 0] + NUMBERS[:, 1], [-1, 1])
NAMED = np.array(["low", "middle", "high"])[THREE]
REAL = NUMBERS @ [1.0, 2.0, 3.0, 0.0] + 10
MANY = np.column_stack([REAL, np.abs(REAL)])
BY_CODE = REAL + 5 * np.sin(CODES[:, 3] * 7) + CODES[:, 2]
BY_COLOUR = REAL + 5.0 * (FRAME.colour == "rot").to_numpy() + 3.0 * (FRAME["size"] == 20).to_numpy()
GROUPS = [50] * (TRAINED // 50)

Made = tuple[Any, Any]
"""A fitted model, and fresh rows."""


def _lgbm(
    kind: str, rows: Any = NUMBERS, target: Array = REAL, fit: dict[str, Any] | None = None, **settings: Any
) -> Made:
    model = getattr(lightgbm, kind)(n_estimators=TREES, verbose=-1, n_jobs=1, **settings)
    return model.fit(rows[:TRAINED], target[:TRAINED], **fit or {}), rows[TRAINED:]


def _xgb(
    kind: str, rows: Any = NUMBERS, target: Array = REAL, fit: dict[str, Any] | None = None, **settings: Any
) -> Made:
    model = getattr(xgboost, kind)(**{"n_estimators": TREES, "n_jobs": 1} | settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gblinear is deprecated
        return model.fit(rows[:TRAINED], target[:TRAINED], **fit or {}), rows[TRAINED:]


def _lgbm_native(target: Array, rows: Any = NUMBERS, **settings: Any) -> Made:
    data = lightgbm.Dataset(rows[:TRAINED], target[:TRAINED])
    return lightgbm.train({"verbose": -1, "num_threads": 1, **settings}, data, TREES), rows[TRAINED:]


def _xgb_native(target: Array, rows: Any = NUMBERS, **settings: Any) -> Made:
    data = xgboost.DMatrix(rows[:TRAINED], target[:TRAINED])
    return xgboost.train({"nthread": 1, **settings}, data, TREES), rows[TRAINED:]


def _catboost(
    kind: str, rows: Any = NUMBERS, target: Array = REAL, fit: dict[str, Any] | None = None, **settings: Any
) -> Made:
    quiet = {"iterations": TREES, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    model = catboost.CatBoost(quiet | settings) if kind == "CatBoost" else getattr(catboost, kind)(**quiet | settings)
    return model.fit(rows[:TRAINED], target[:TRAINED], **fit or {}), rows[TRAINED:]


def _stops_early(kind: str) -> Made:
    noisy = REAL[:TRAINED] + np.random.default_rng(1).normal(size=TRAINED) * 3
    if kind == "LGBMRegressor":
        stop = lightgbm.early_stopping(3, verbose=False)
        return _lgbm(kind, fit={"eval_X": NUMBERS[:TRAINED], "eval_y": noisy, "callbacks": [stop]}, learning_rate=0.8)
    return _xgb(
        kind, fit={"eval_set": [(NUMBERS[:TRAINED], noisy)], "verbose": False}, early_stopping_rounds=3, n_estimators=60
    )


BOOSTED: dict[str, Callable[[], Made]] = {
    "CatBoostRegressor, missing values": lambda: _catboost("CatBoostRegressor", HOLED),
    "CatBoostRegressor, nan_mode=Max": lambda: _catboost("CatBoostRegressor", HOLED, nan_mode="Max"),
    "CatBoostRegressor, Poisson": lambda: _catboost("CatBoostRegressor", target=np.abs(REAL), loss_function="Poisson"),
    "CatBoostRegressor, Lossguide": lambda: _catboost("CatBoostRegressor", grow_policy="Lossguide"),
    "CatBoostRegressor of two targets": lambda: _catboost("CatBoostRegressor", target=MANY, loss_function="MultiRMSE"),
    "CatBoostRegressor on a DataFrame": lambda: _catboost("CatBoostRegressor", FRAME.iloc[:, :3]),
    "CatBoostClassifier, missing values": lambda: _catboost("CatBoostClassifier", HOLED, TWO),
    "CatBoostClassifier of True and False": lambda: _catboost("CatBoostClassifier", target=TWO > 0),
    "CatBoostClassifier, text labels": lambda: _catboost("CatBoostClassifier", HOLED, NAMED),
    "CatBoostClassifier, one against all": lambda: _catboost(
        "CatBoostClassifier", target=NAMED, loss_function="MultiClassOneVsAll"
    ),
    "CatBoostClassifier of two labels": lambda: _catboost(
        "CatBoostClassifier", target=np.column_stack([TWO, THREE > 1]).astype(int), loss_function="MultiLogloss"
    ),
    "CatBoostRanker": lambda: _catboost("CatBoostRanker", target=THREE, fit={"group_id": np.repeat(range(6), 50)}),
    "catboost.CatBoost, Logloss": lambda: _catboost("CatBoost", target=TWO, loss_function="Logloss"),
    "LGBMRegressor": lambda: _lgbm("LGBMRegressor"),
    "LGBMRegressor on numbers around 1.7e9": lambda: _lgbm("LGBMRegressor", LARGE),
    "LGBMRegressor, categorical_feature": lambda: _lgbm(
        "LGBMRegressor", CODES, BY_CODE, {"categorical_feature": [2, 3]}, min_data_per_group=1
    ),
    "LGBMRegressor, zero_as_missing": lambda: _lgbm("LGBMRegressor", ZEROS, zero_as_missing=True),
    "LGBMRegressor, use_missing=False": lambda: _lgbm("LGBMRegressor", HOLED, use_missing=False),
    "LGBMRegressor, dart": lambda: _lgbm("LGBMRegressor", boosting_type="dart"),
    "LGBMRegressor, poisson": lambda: _lgbm("LGBMRegressor", target=np.abs(REAL), objective="poisson"),
    "LGBMRegressor, reg_sqrt": lambda: _lgbm("LGBMRegressor", reg_sqrt=True),
    "LGBMRegressor of a constant": lambda: _lgbm("LGBMRegressor", target=np.full(COUNT, 3.0)),
    "LGBMRegressor, early stopping": lambda: _stops_early("LGBMRegressor"),
    "LGBMClassifier, missing values": lambda: _lgbm("LGBMClassifier", HOLED, TWO),
    "LGBMClassifier, text labels": lambda: _lgbm("LGBMClassifier", HOLED, NAMED),
    "LGBMClassifier of True and False": lambda: _lgbm("LGBMClassifier", target=TWO > 0, sigmoid=2.5),
    "LGBMClassifier, one against all": lambda: _lgbm(
        "LGBMClassifier", target=NAMED, objective="multiclassova", sigmoid=2.5
    ),
    "LGBMClassifier, random forest": lambda: _lgbm(
        "LGBMClassifier", target=THREE, boosting_type="rf", subsample=0.6, subsample_freq=1
    ),
    "LGBMClassifier on pandas categories": lambda: _lgbm("LGBMClassifier", FRAME, TWO, min_data_per_group=1),
    "LGBMRanker": lambda: _lgbm("LGBMRanker", target=THREE, fit={"group": GROUPS}),
    "lightgbm.Booster, binary": lambda: _lgbm_native(TWO, objective="binary"),
    "lightgbm.Booster, multiclass": lambda: _lgbm_native(THREE, objective="multiclass", num_class=3),
    "lightgbm.Booster, cross_entropy_lambda": lambda: _lgbm_native(TWO, objective="cross_entropy_lambda"),
    "lightgbm.Booster on pandas categories": lambda: _lgbm_native(BY_COLOUR, FRAME, objective="regression"),
    "XGBRegressor": lambda: _xgb("XGBRegressor"),
    "XGBRegressor, count:poisson": lambda: _xgb("XGBRegressor", target=np.abs(REAL), objective="count:poisson"),
    "XGBRegressor, three quantiles": lambda: _xgb(
        "XGBRegressor", objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]
    ),
    "XGBRegressor, gblinear": lambda: _xgb("XGBRegressor", HOLED, booster="gblinear"),
    "XGBRegressor, dart": lambda: _xgb("XGBRegressor", booster="dart", rate_drop=0.3),
    "XGBRegressor of two targets": lambda: _xgb("XGBRegressor", target=MANY),
    "XGBRegressor of two targets in each tree": lambda: _xgb(
        "XGBRegressor", target=MANY, multi_strategy="multi_output_tree"
    ),
    "XGBRegressor, missing=0": lambda: _xgb("XGBRegressor", ZEROS, missing=0.0),
    "XGBRegressor, early stopping": lambda: _stops_early("XGBRegressor"),
    "XGBRegressor, feature_types": lambda: _xgb(
        "XGBRegressor", CODES, BY_CODE, feature_types=list("qqcc"), enable_categorical=True, max_cat_to_onehot=1
    ),
    "XGBClassifier, missing values": lambda: _xgb("XGBClassifier", HOLED, TWO),
    "XGBClassifier on a DataFrame": lambda: _xgb("XGBClassifier", FRAME.iloc[:, :3], THREE),
    "XGBClassifier on pandas categories": lambda: _xgb("XGBClassifier", FRAME, TWO, enable_categorical=True),
    "XGBClassifier, gblinear": lambda: _xgb("XGBClassifier", target=THREE, booster="gblinear"),
    "XGBClassifier, binary:hinge": lambda: _xgb("XGBClassifier", target=TWO, objective="binary:hinge"),
    "XGBClassifier of two labels": lambda: _xgb("XGBClassifier", target=np.column_stack([TWO, THREE > 1])),
    "XGBRanker": lambda: _xgb("XGBRanker", target=THREE, fit={"qid": np.repeat(range(6), 50)}),
    "XGBRFClassifier": lambda: _xgb("XGBRFClassifier", target=THREE),
    "xgboost.Booster, base_score": lambda: _xgb_native(TWO, objective="binary:logistic", base_score=0.3),
    "xgboost.Booster, binary:logitraw": lambda: _xgb_native(TWO, objective="binary:logitraw", base_score=0.3),
    "xgboost.Booster, multi:softmax": lambda: _xgb_native(THREE, objective="multi:softmax", num_class=3),
    "xgboost.Booster on a DataFrame": lambda: _xgb_native(REAL, FRAME.iloc[:, :3]),
}
"""Kind -> a fitted model of it, and fresh rows."""


def lightgbm_with_linear_leaves() -> Made:
    return _lgbm("LGBMRegressor", linear_tree=True)


def catboost_with_categories() -> Made:
    return _catboost("CatBoostRegressor", FRAME.astype({"colour": str, "size": str}), cat_features=["colour", "size"])
