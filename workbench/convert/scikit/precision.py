"""Which estimators answer in steps that float32 would move, so that their export takes and computes in float64.

A tree behind a scaler compares what the scaler made, and a split may lie on the value of a training row: the last
digit decides. The same holds for boosting on histograms and LightGBM, which compare float64, and for bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_TREES = ("sklearn.tree.", "lightgbm.", "xgboost.", "catboost.")
_FORESTS = ("_forest", "_gb", "_iforest", "gradient_boosting")
"""Modules of sklearn.ensemble whose classes are trees, and not ensembles of whatever is given."""

_IN_DOUBLE = ("HistGradientBoosting", "LGBM")
"""Classes that compare float64; the other trees round their input to float32 first."""

_STEPPED = ("Binarizer", "KNNImputer", "KBinsDiscretizer", "QuantileTransformer", "SplineTransformer")
"""Transformers that compare what they are given, or lose its digits, where it is large beside its range."""

_COPIES = ("ColumnTransformer", "FeatureUnion", "MissingIndicator", "OneHotEncoder", "OrdinalEncoder", "Pipeline",
           "SimpleImputer", "TargetEncoder")  # fmt: skip
"""Transformers that pass numbers on as they are, or put categories in their place."""


def computes_in_double(estimator: Any) -> bool:
    parts = list(parts_of(estimator))
    if any(type(part).__name__.startswith((*_IN_DOUBLE, *_STEPPED)) for part in parts):
        return True
    return has_trees(estimator) and any(
        hasattr(part, "transform")
        and type(part).__name__ not in _COPIES
        and not hasattr(part, "get_support")
        and not is_tree(part)
        and not hasattr(part, "predict")
        for part in parts
    )


def has_trees(estimator: Any) -> bool:
    """Whether a tree is anywhere in it, so that its answers jump."""
    return any(is_tree(part) for part in parts_of(estimator))


def is_tree(part: Any) -> bool:
    module = f"{type(part).__module__}."
    if module.startswith("sklearn.ensemble."):
        return module.split(".")[2].strip(".").endswith(_FORESTS) or ".gradient_boosting" in module
    return module.startswith(_TREES) or type(part).__module__ in ("lightgbm", "xgboost", "catboost")


def parts_of(estimator: Any) -> Iterator[Any]:
    """The estimator and all those that it holds, fitted or not; of a forest, not its trees."""
    seen: set[int] = set()
    left = [estimator]
    while left:
        part = left.pop()
        if isinstance(part, list | tuple):
            left += part
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, np.ndarray):
            left += list(part.flat) if part.dtype == object else []
        elif hasattr(part, "fit") or type(part).__name__ == "_CalibratedClassifier":
            if id(part) in seen or isinstance(part, type):
                continue
            seen.add(id(part))
            yield part
            if not is_tree(part):
                left += list(getattr(part, "__dict__", {}).values())
