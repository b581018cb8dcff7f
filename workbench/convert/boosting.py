"""Converts LightGBM's, XGBoost's and CatBoost's models, native ones and those in scikit-learn's form.

One input `X` of rows; a model trained on a DataFrame with pandas categories has an input a column, by the column's
name. The rows are float32, and float64 for LightGBM, as each compares in it: so a row on a split is decided
as the original decides it. That costs nothing: 11.3 and 10.9 ms for 1000 rows of 300 trees, 8 and 9 us for one row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from workbench.convert.boosted_model import boosted_model
from workbench.convert.boosted_rows import rows_at_the_splits, with_holes
from workbench.convert.converters import Check, Converted, exported_as
from workbench.convert.sklearn import thinned
from workbench.convert.tree_graph import OPSET, Boosted
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported


@dataclass(frozen=True, slots=True)
class _Original:
    kind: str
    model: Boosted
    classes: Array | None
    several_labels: bool
    answer: Callable[[Any], dict[str, Array]]
    """Rows -> its own answer, by output."""
    library: str


def convert(source: object, sample: object | None) -> Converted:
    """The export of a fitted model. `sample`: rows as its `predict` takes them, or those of its training matrix."""
    package = next(
        name for name in (each.__module__.split(".")[0] for each in type(source).__mro__) if name in _READERS
    )
    original = _READERS[package](source, sample)
    model, double = original.model, package == "lightgbm"
    proto = boosted_model(model, original.classes, several_labels=original.several_labels, double=double)
    data = proto.SerializeToString(deterministic=True)
    rows: Any = _named(model, rows_at_the_splits(model, double=double)) if sample is None else thinned(sample)
    checks = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, on rows without names and the like
        for what, given in (("", rows), ("with missing values", with_holes(rows)), ("in batches of 1", rows[:1])):
            try:
                checks.append(Check(given, len(given), original.answer(given), what))
            except Exception as error:
                if what:  # it takes no missing values
                    continue
                raise InvalidInput(f"{original.kind} itself refuses the rows: {_words(error)}") from error
    return Converted(
        data,
        exported_as(original.kind, original.library, version(original.library), OPSET),
        tuple(checks),
        sample is None,
        frozenset({"label"} if "label" in checks[0].expected else ()),
        original.kind,
        notes=("takes float64, as LightGBM compares in it",) if double else (),
        versions={original.library: version(original.library)},
    )


def _named(model: Boosted, rows: Array) -> Any:
    """`rows` as the model was trained on: a DataFrame, where some columns hold pandas categories."""
    if not model.categories:
        return rows
    import pandas

    columns: dict[str, Any] = {}
    for index, name in enumerate(model.features):
        categories = model.categories.get(index)
        column = rows[:, index]
        if categories is None:
            columns[name] = column
        else:
            columns[name] = pandas.Categorical.from_codes(column.astype(np.int64).tolist(), pandas.Index(categories))
    return pandas.DataFrame(columns)


def _answer(source: Any, rows: Any) -> dict[str, Array]:
    """What a model in scikit-learn's form answers."""
    if hasattr(source, "predict_proba"):
        return {"label": np.asarray(source.predict(rows)), "probabilities": np.asarray(source.predict_proba(rows))}
    return {"variable": np.asarray(source.predict(rows))}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:300]


# LightGBM


def _lightgbm(source: Any, sample: object | None) -> _Original:
    from workbench.convert.lightgbm_trees import read_lightgbm

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

    return _Original(
        f"LightGBM {kind}" if native else kind, model, classes, False, partial(_answer, source), "lightgbm"
    )


def _pandas_categories(booster: Any, sample: Any) -> dict[int, list[Any]]:
    """Feature -> its categories, of the columns that were pandas categories in training."""
    from workbench.convert.lightgbm_trees import categorical_features

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


def _catboost(source: Any, sample: object | None) -> _Original:
    from workbench.convert.catboost_trees import read_catboost

    kind = type(source).__name__
    if not source.is_fitted():
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    model = read_catboost(source)
    classifier = kind == "CatBoostClassifier"
    several = classifier and np.shape(source.predict(np.zeros((1, len(model.features)))))[1:] not in ((), (1,))
    classes = np.asarray(source.classes_) if classifier and not several else None
    return _Original(kind, model, classes, several, partial(_answer, source), "catboost")


# XGBoost


def _xgboost(source: Any, sample: object | None) -> _Original:
    import xgboost

    from workbench.convert.xgboost_trees import read_xgboost

    kind = type(source).__name__
    native = isinstance(source, xgboost.Booster)
    if native:
        model = _with_categories(read_xgboost(source), sample)

        def answer_native(rows: Any) -> dict[str, Array]:
            names = None if hasattr(rows, "columns") else source.feature_names
            types = None if hasattr(rows, "columns") else source.feature_types
            matrix = xgboost.DMatrix(rows, feature_names=names, feature_types=types, enable_categorical=True)
            return {"variable": np.asarray(source.predict(matrix))}

        return _Original("XGBoost Booster", model, None, False, answer_native, _distribution())
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

    return _Original(kind, model, classes, several, partial(_answer, source), _distribution())


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


_READERS: dict[str, Callable[[Any, object | None], _Original]] = {
    "catboost": _catboost,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
}
