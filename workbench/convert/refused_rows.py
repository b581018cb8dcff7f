"""Says in terms of the sample that a user gave why a model of rows does not take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.client.formatting import counted
from workbench.convert.converters import words
from workbench.errors import InvalidInput

_ASKED = 5
"""Rows on which an estimator is asked; whether it takes all of them, the comparison says."""

_OF_A_VECTOR = ("2D array", "2-dimensional", "does not contain any features")
"""What scikit-learn says of rows without columns."""

_OF_TEXT = ("arrays of bytes/strings", "Unicode-")
"""What scikit-learn and XGBoost say of an array of text."""

_OF_BOOSTING = ("dtypes must be int, float or bool", "DataFrame.dtypes for data must be", "Bad value for num_feature")
"""What LightGBM, XGBoost and CatBoost say of text among numbers."""

_NAMED = 4
"""Columns that a message names."""


def check_rows(estimator: Any, kind: str, rows: Any) -> None:
    """InvalidInput where the estimator itself refuses the first rows of a sample.

    Asked before an export is tried, since an exporter describes the same rows in words of its own.
    """
    method = next(
        (each for name in ("predict", "transform", "score_samples") if (each := getattr(estimator, name, None))), None
    )
    if method is None:
        return
    some = rows[:_ASKED]
    try:
        answer = method(some)
    except Exception as error:  # the estimator's own, of any class
        raise refused_rows(estimator, kind, rows, error, method) from error
    # A vectoriser takes the names of a DataFrame's columns for texts.
    if hasattr(answer, "shape") and answer.shape[0] != len(some):
        raise InvalidInput(
            f"{kind} gives {counted(answer.shape[0], 'answer')} for {counted(len(some), 'row')} of the sample, so it "
            "takes another form of them; a vectoriser takes one text a row, as df['text'][:100]"
        )


def refused_rows(
    estimator: Any, kind: str, rows: Any, error: Exception, method: Callable[[Any], object] | None = None
) -> InvalidInput:
    """The error for a sample that `method`, of the estimator itself, refuses with `error`.

    Of the estimator `feature_names_in_` and `n_features_in_` are read, where it has them.
    """
    why = _columns(estimator, rows) or _shape(estimator, rows, error) or _content(rows, error)
    if not why and method is not None:
        why = _numbers_for_text(method, rows, error)
    why = why or words(error)
    return InvalidInput(f"{kind} itself refuses the rows of the sample: {why}")


def _columns(estimator: Any, rows: Any) -> str:
    """What is wrong with their columns."""
    trained = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if trained and hasattr(rows, "columns"):
        given = [str(name) for name in rows.columns]
        lacking = [name for name in trained if name not in given]
        others = [name for name in given if name not in trained]
        if lacking:
            beside = f", and has {_named(others)}, which {_was(others)} not there in training" if others else ""
            return f"it lacks {_named(lacking)}{beside}"
    if np.ndim(rows) == 2 and (most := getattr(estimator, "n_features_in_", None)) not in (None, np.shape(rows)[1]):
        names = f" ({_listed(trained)})" if trained else ""
        return f"it has {counted(np.shape(rows)[1], 'column')}, and {most}{names} were there in training"
    return ""


def _shape(estimator: Any, rows: Any, error: Exception) -> str:
    """What is wrong with the number of its axes."""
    if np.ndim(rows) == 1 and isinstance(next(iter(rows), None), dict):
        return "its rows are dicts; give a DataFrame of them, as pd.DataFrame(rows)"
    of_columns = getattr(estimator, "n_features_in_", None) is not None
    if np.ndim(rows) == 1 and (of_columns or any(each in str(error) for each in _OF_A_VECTOR)):
        return "it has one axis, and rows of columns are taken; give a table, as X[:100], or one row of it as X[:1]"
    if "has no attribute 'lower'" in str(error):
        found = "it has two axes" if np.ndim(rows) == 2 else "not each of its rows is a text"
        return f"{found}, and a vectoriser takes one text a row, as df['text'][:100]"
    if "columns using strings is only supported for dataframes" in str(error):
        return "it has no names of columns, by which some are chosen; give a DataFrame"
    if getattr(getattr(rows, "dtype", None), "kind", "") in ("M", "m"):
        return "it holds dates, and numbers are taken"
    if np.ndim(rows) > 2:
        return f"its shape is {list(np.shape(rows))}, and rows of columns are taken"
    return ""


def _content(rows: Any, error: Exception) -> str:
    """What is wrong with its values, where the error tells that it is one of the usual things."""
    table = rows if hasattr(rows, "columns") else np.asarray(rows)
    values = np.asarray(table, object)
    if values.ndim != 2:
        return ""
    names = [repr(str(each)) for each in getattr(table, "columns", ())] or [str(at) for at in range(values.shape[1])]
    found = str(error)
    if values.dtype != getattr(table, "dtype", None) and any(each in found for each in _OF_TEXT):
        return f"it holds text ({str(values[0, 0])[:40]!r}), and numbers are taken"
    for place, name in enumerate(names):
        for value in values[:_ASKED, place].tolist():
            if "unknown categories" in found and f"[{value!r}]" in found:
                return (
                    f"column {name} holds {value!r}, a category that was not there in training; leave such rows "
                    "out, or train it with handle_unknown='ignore'"
                )
            if isinstance(value, complex) and "Complex" in found:
                return f"column {name} holds complex numbers"
            if not isinstance(value, str | bytes):
                continue
            if "could not convert string to float" in found and repr(value) in found:
                return f"column {name} holds text ({str(value)[:40]!r}), and numbers are taken there"
            if any(each in found for each in _OF_BOOSTING):
                return f"column {name} holds text ({str(value)[:40]!r}), and numbers are taken, or pandas categories"
    lacking = [name for place, name in enumerate(names) if any(map(_is_missing, values[:, place].tolist()))]
    if lacking and "NaN" in found:
        where = f"column {lacking[0]} has missing values, and it takes none there"
        if len(lacking) == len(names):
            where = "it has missing values, and none are taken"
        elif len(lacking) > 1:
            where = f"columns {', '.join(lacking[:_NAMED])} have missing values, which it does not take in each of them"
        return f"{where}; leave such rows out of the sample, or train it with SimpleImputer() before it"
    return ""


def _numbers_for_text(method: Callable[[Any], object], rows: Any, error: Exception) -> str:
    """The column of numbers where text was in training: as text it is refused in other words, or not at all."""
    if not isinstance(error, TypeError) or not hasattr(rows, "columns"):
        return ""
    some = rows[:_ASKED]
    for name in some.columns:
        if some[name].dtype.kind not in "biuf":
            continue
        try:
            method(some.assign(**{name: some[name].astype(str)}))
        except Exception as other:  # the estimator's own, of any class
            if str(other) == str(error):
                continue
        return f"column {name!r} holds numbers ({some[name].tolist()[0]!r}), and text was there in training"
    return ""


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _named(columns: list[str]) -> str:
    return f"column{'s' if len(columns) > 1 else ''} {_listed(columns)}"


def _listed(columns: list[str]) -> str:
    others = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
    return ", ".join(map(repr, columns[:_NAMED])) + others


def _was(columns: list[str]) -> str:
    return "were" if len(columns) > 1 else "was"
