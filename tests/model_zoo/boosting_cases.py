"""LightGBM's, XGBoost's and CatBoost's models for the table in docs/models.md."""

from __future__ import annotations

from tests.helpers.boosted_models import BOOSTED, catboost_with_categories, lightgbm_with_linear_leaves
from tests.model_zoo.case import Case

CASES: list[Case] = [
    *(Case(kind, make) for kind, make in BOOSTED.items()),
    Case("LGBMRegressor, linear_tree", lightgbm_with_linear_leaves, "a linear model in each leaf"),
    Case("CatBoostRegressor, cat_features", catboost_with_categories, "categorical features ('colour', 'size')"),
]
