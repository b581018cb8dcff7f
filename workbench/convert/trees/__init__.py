"""Converts boosted trees: LightGBM, XGBoost and CatBoost."""
