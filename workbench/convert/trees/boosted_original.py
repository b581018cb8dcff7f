"""Reads a boosted model, native or in scikit-learn's form: its trees, its classes and how to ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    names: tuple[str, ...]
    """The columns that it was trained on, in order; none, where it was trained without names."""
    rows: Any
    """The sample, its columns in the order of training."""


def read_original(source: object, sample: object | None) -> Original:
    """What is to be exported. Raises InvalidInput for a model not ready for it, Unsupported for one without a form."""
    package = next(
        name for name in (each.__module__.split(".")[0] for each in type(source).__mro__) if name in _READERS
    )
    if not hasattr(source, "predict"):
        raise InvalidInput(f"{package}'s {type(source).__name__} holds data, not a model; load what was trained on it")
    return _READERS[package](source, sample)


def _answer(source: Any, rows: Any) -> dict[str, Array]:
    """What a model in scikit-learn's form answers."""
    if hasattr(source, "predict_proba"):
        return {"label": np.asarray(source.predict(rows)), "probabilities": np.asarray(source.predict_proba(rows))}
    return {"variable": np.asarray(source.predict(rows))}


def in_training_order(sample: Any, names: tuple[str, ...], kind: str) -> Any:
    """The columns of a DataFrame by their names, as `kind` was trained on them; other rows as they are.

    Raises InvalidInput, naming the columns that are missing or were not there.
    """
    if not names or not hasattr(sample, "columns"):
        return sample
    places = {_spelt(name, names): place for place, name in enumerate(map(str, sample.columns))}
    missing, unknown = [name for name in names if name not in places], [name for name in places if name not in names]
    if missing or unknown or len(places) != sample.shape[1]:
        said = [f"{what}: {', '.join(map(repr, found[:12]))}"
                for what, found in (("missing", missing), ("unknown", unknown)) if found]  # fmt: skip
        raise InvalidInput(f"the sample has other columns than {kind} was trained on; {'; '.join(said) or 'one twice'}")
    return sample.iloc[:, [places[name] for name in names]]


def _spelt(name: str, names: tuple[str, ...]) -> str:
    """`name` as the model has it: LightGBM writes _ for a space."""
    return name if name in names else name.replace(" ", "_")


def _names(features: Sequence[str], counted: str) -> tuple[str, ...]:
    """`features`, or none of them where they are the library's own for columns without names, as "Column_0"."""
    return () if list(features) == [f"{counted}{place}" for place in range(len(features))] else tuple(features)


# LightGBM


def _lightgbm(source: Any, sample: object | None) -> Original:
    from workbench.convert.trees.lightgbm_trees import read_lightgbm

    kind = type(source).__name__
    native = kind == "Booster"
    if not native and not source.__sklearn_is_fitted__():
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    booster = source if native else source.booster_
    names = _names(booster.feature_name(), "Column_")
    sample = in_training_order(sample, names, kind)
    model = replace(read_lightgbm(booster), categories=_pandas_categories(booster, sample))
    if names and hasattr(sample, "columns"):
        names = tuple(str(name) for name in sample.columns)  # LightGBM has no spaces in names
        model = replace(model, features=names)
    classes = getattr(source, "classes_", None)
    if classes is not None and model.link == "identity":
        raise Unsupported(f"{kind} has no ONNX form: it was trained with an objective of its own, so it has no classes")

    kind = f"LightGBM {kind}" if native else kind
    return Original(kind, model, classes, False, partial(_answer, source), "lightgbm", names, sample)


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
    names = _names(source.feature_names_, "")
    sample = in_training_order(sample, names, kind)
    return Original(kind, model, classes, several, partial(_answer, source), "catboost", names, sample)


# XGBoost


def _xgboost(source: Any, sample: object | None) -> Original:
    import xgboost

    from workbench.convert.trees.xgboost_trees import read_xgboost

    kind = type(source).__name__
    native = isinstance(source, xgboost.Booster)
    if not native and not source.__sklearn_is_fitted__():
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    booster = source if native else source.get_booster()
    names = tuple(booster.feature_names or ())
    sample = in_training_order(sample, names, kind)
    if native:
        model = _with_categories(read_xgboost(source), sample)

        def answer_native(rows: Any) -> dict[str, Array]:
            names = None if hasattr(rows, "columns") else source.feature_names
            types = None if hasattr(rows, "columns") else source.feature_types
            matrix = xgboost.DMatrix(rows, feature_names=names, feature_types=types, enable_categorical=True)
            return {"variable": np.asarray(source.predict(matrix))}

        return Original("XGBoost Booster", model, None, False, answer_native, _distribution(), names, sample)
    best = getattr(source, "best_iteration", None) if hasattr(source, "early_stopping_rounds") else None
    if source.early_stopping_rounds is not None and best is not None and source.booster != "gblinear":
        booster = booster[: best + 1]
    missing = float("nan") if source.missing is None else float(source.missing)
    model = _with_categories(read_xgboost(booster, missing), sample)
    classifier = hasattr(source, "predict_proba")
    several = classifier and model.targets > 1 and model.link == "sigmoid"
    classes = np.asarray(source.classes_) if classifier and not several else None

    return Original(kind, model, classes, several, partial(_answer, source), _distribution(), names, sample)


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
