"""Reads a boosted model, native or in scikit-learn's form: its trees, its classes and how to ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from workbench.convert.trees.tree_graph import Boosted
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported


@dataclass(frozen=True, slots=True)
class Original:
    kind: str
    model: Boosted
    classes: Array | None
    several_labels: bool
    answer: Callable[[Any], dict[str, Array]]
    """Rows -> its own answer, by output."""
    library: str


def read_original(source: object, sample: object | None) -> Original:
    """What is to be exported. Raises InvalidInput for a model not ready for it, Unsupported for one without a form."""
    package = next(
        name for name in (each.__module__.split(".")[0] for each in type(source).__mro__) if name in _READERS
    )
    return _READERS[package](source, sample)


def _answer(source: Any, rows: Any) -> dict[str, Array]:
    """What a model in scikit-learn's form answers."""
    if hasattr(source, "predict_proba"):
        return {"label": np.asarray(source.predict(rows)), "probabilities": np.asarray(source.predict_proba(rows))}
    return {"variable": np.asarray(source.predict(rows))}


# LightGBM


def _lightgbm(source: Any, sample: object | None) -> Original:
    from workbench.convert.trees.lightgbm_trees import read_lightgbm

    kind = type(source).__name__
    native = kind == "Booster"
    if not native and not source.__sklearn_is_fitted__():
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    booster = source if native else source.booster_
    model = replace(read_lightgbm(booster), categories=_pandas_categories(booster, sample))
    if hasattr(sample, "columns") and len(sample.columns) == len(model.features):
        model = replace(model, features=[str(name) for name in sample.columns])  # LightGBM has no spaces in names
    classes = getattr(source, "classes_", None)
    if classes is not None and model.link == "identity":
        raise Unsupported(f"{kind} has no ONNX form: it was trained with an objective of its own, so it has no classes")

    return Original(f"LightGBM {kind}" if native else kind, model, classes, False, partial(_answer, source), "lightgbm")


def _pandas_categories(booster: Any, sample: Any) -> dict[int, list[Any]]:
    """Feature -> its categories, of the columns that were pandas categories in training."""
    from workbench.convert.trees.lightgbm_trees import categorical_features

    known = booster.pandas_categorical
    if not known:
        return {}
    if hasattr(sample, "columns"):
        places = [place for place, dtype in enumerate(sample.dtypes) if dtype == "category"]
    else:
        places = categorical_features(booster)
    if len(places) != len(known):
        raise InvalidInput(
            f"the model was trained with {len(known)} pandas category columns, and {len(places)} could be told from "
            "the others; give rows like its training data, as sample=df[:100] (--sample df[:100])"
        )
    return dict(zip(places, known, strict=True))


# CatBoost


def _catboost(source: Any, sample: object | None) -> Original:
    from workbench.convert.trees.catboost_trees import read_catboost

    kind = type(source).__name__
    if not source.is_fitted():
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    model = read_catboost(source)
    classifier = kind == "CatBoostClassifier"
    several = classifier and np.shape(source.predict(np.zeros((1, len(model.features)))))[1:] not in ((), (1,))
    classes = np.asarray(source.classes_) if classifier and not several else None
    return Original(kind, model, classes, several, partial(_answer, source), "catboost")


# XGBoost


def _xgboost(source: Any, sample: object | None) -> Original:
    import xgboost

    from workbench.convert.trees.xgboost_trees import read_xgboost

    kind = type(source).__name__
    native = isinstance(source, xgboost.Booster)
    if native:
        model = _with_categories(read_xgboost(source), sample)

        def answer_native(rows: Any) -> dict[str, Array]:
            names = None if hasattr(rows, "columns") else source.feature_names
            types = None if hasattr(rows, "columns") else source.feature_types
            matrix = xgboost.DMatrix(rows, feature_names=names, feature_types=types, enable_categorical=True)
            return {"variable": np.asarray(source.predict(matrix))}

        return Original("XGBoost Booster", model, None, False, answer_native, _distribution())
    if not source.__sklearn_is_fitted__():
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    booster = source.get_booster()
    best = getattr(source, "best_iteration", None) if hasattr(source, "early_stopping_rounds") else None
    if source.early_stopping_rounds is not None and best is not None and source.booster != "gblinear":
        booster = booster[: best + 1]
    missing = float("nan") if source.missing is None else float(source.missing)
    model = _with_categories(read_xgboost(booster, missing), sample)
    classifier = hasattr(source, "predict_proba")
    several = classifier and model.targets > 1 and model.link == "sigmoid"
    classes = np.asarray(source.classes_) if classifier and not several else None

    return Original(kind, model, classes, several, partial(_answer, source), _distribution())


def _with_categories(model: Boosted, sample: Any) -> Boosted:
    """`model` with those categories of `sample` that XGBoost does not give back."""
    if all(model.categories.values()):
        return model
    if not hasattr(sample, "columns"):
        lacking = ", ".join(repr(model.features[index]) for index, each in model.categories.items() if not each)
        raise InvalidInput(
            f"XGBoost does not give back the categories of {lacking}, since they are not plain ASCII; give rows like "
            "its training data, as sample=df[:100] (--sample df[:100])"
        )
    given = {index: each or list(sample.iloc[:, index].cat.categories) for index, each in model.categories.items()}
    return replace(model, categories=given)


def _distribution() -> str:
    """XGBoost is installed under one of two names."""
    from importlib.metadata import packages_distributions

    return packages_distributions().get("xgboost", ["xgboost"])[0]


_READERS: dict[str, Callable[[Any, object | None], Original]] = {
    "catboost": _catboost,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
}
