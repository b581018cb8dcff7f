"""Which inputs a model over a table has: one of all its numbers, or one a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.convert.scikit.hoisted_columns import column_choosers
from workbench.convert.scikit.trained_columns import places_of
from workbench.errors import Unsupported

INPUT = "X"
"""What the one input of a model is called that takes a table as a whole."""

_TEXT = ("string", "empty")
_NUMBERS = ("boolean", "integer", "floating", "mixed-integer-float", "decimal")


def input_columns(estimator: Any, rows: Any) -> list[tuple[str, int, bool]]:
    """(name, how many columns, whether of text) of each input.

    A DataFrame has one a column, without those that no step reads, where some step chooses columns or some hold text.
    """
    if not hasattr(rows, "columns"):
        array = np.asarray(rows)
        return [(INPUT, array.shape[1] if array.ndim > 1 else 1, is_text(array))]
    first = _first(estimator)
    names = [str(name) for name in rows.columns]
    unread = unread_columns(estimator, names)
    text = {name: is_text(rows[column], name) for name, column in zip(names, rows.columns, strict=True)
            if name not in unread}  # fmt: skip
    if not hasattr(first, "transformers_") and not any(text.values()):
        return [(INPUT, len(names), False)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Unsupported(f"the column {min(twice)!r} is there twice; an input a column needs a name for each")
    return [(name, 1, text[name]) for name in names if name in text]


def unread_columns(estimator: Any, names: list[str]) -> frozenset[str]:
    """Those of `names` that the estimator's ColumnTransformer, or each of those inside it, drops; none where it does
    not begin with one."""
    read: set[str] = set()
    for step in column_choosers(estimator) or [_first(estimator)]:
        if not hasattr(step, "transformers_") or not hasattr(step, "feature_names_in_"):
            return frozenset()
        trained = [str(name) for name in step.feature_names_in_]
        read |= {
            trained[place]
            for _, each, chosen in step.transformers_
            if not (isinstance(each, str) and each == "drop")
            for place in places_of(chosen, trained, len(trained))
        }
    return frozenset(names) - read


def is_text(column: Any, name: str = "") -> bool:
    """Whether a column or an array holds text, missing or not. Raises Unsupported for one that a tensor cannot hold."""
    dtype: Any = getattr(column, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "iufb":
        return False
    if isinstance(dtype, np.dtype) and dtype.kind in "UST":
        return True
    from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype

    if hasattr(dtype, "categories"):
        column = dtype.categories
    elif is_numeric_dtype(dtype) or is_bool_dtype(dtype):
        return False
    found = infer_dtype(np.ravel(np.asarray(column, dtype=object)), skipna=True)
    if found in _NUMBERS:
        return False
    if found in _TEXT:
        return True
    if found in ("mixed", "mixed-integer"):
        raise Unsupported(
            f"{f'column {name!r} holds' if name else 'the rows are an array of'} text and numbers, and ONNX has "
            "columns of one kind; give a DataFrame, and make such a column text before you train, as with "
            "df[column].astype(str)"
        )
    where = f"column {name!r} holds" if name else "the rows hold"
    raise Unsupported(
        f"{where} {found} values, which no tensor can hold; make them numbers before you train, as with "
        "df[column].astype('int64')"
    )


def _first(estimator: Any) -> Any:
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif steps := getattr(estimator, "steps", None):
            estimator = steps[0][1]
        else:
            return estimator
