"""Variants of rows that an estimator takes: with missing values, with unknown categories, and new combinations of them.

Which columns take a missing value, or a category that was not there in training, is found by asking the estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from workbench.convert.scikit.frame_columns import is_text
from workbench.core.table_columns import MISSING_NUMBER, MISSING_TEXT, REFUSED

UNKNOWN = "never seen before"
_ROWS = 128
_SHARE = 0.2
"""The share of values that are replaced."""
_MOST_COLUMNS = 256
"""With more columns than these, none is asked for by itself."""

Ask = Callable[[Any], object]
"""Answers rows as the estimator does, or raises what it does."""


class RowVariants:
    def __init__(self, rows: Any, inputs: list[tuple[str, int, bool]], ask: Ask) -> None:
        """`rows`: a DataFrame, or an array with two axes; `inputs` as of `input_columns`."""
        self._rows = rows
        self._frame = hasattr(rows, "columns")
        self._ask = ask
        self._inputs = inputs
        self._one = rows.iloc[:1] if self._frame else rows[:1]
        by_column = self._frame and all(width == 1 for _, width, _ in inputs)
        read = {name for name, _, _ in inputs} if by_column else None
        columns = list(rows.columns) if self._frame else list(range(rows.shape[1]))
        self._columns = [column for column in columns if read is None or str(column) in read]
        self._text = {column: is_text(rows[column] if self._frame else rows[:, column]) for column in self._columns}
        self._holes = self._asked_for_missing(by_column)

    def missing(self) -> dict[str, str]:
        """Input -> what its missing values are sent as, or REFUSED; without those of which it is not known."""
        found = {}
        for name, width, text in self._inputs:
            mine = [column for column in self._columns if width > 1 or not self._frame or str(column) == name]
            taken = {column in self._holes for column in mine}
            if len(self._columns) <= _MOST_COLUMNS and len(taken) == 1 and self._takes(self._one):
                found[name] = REFUSED if taken == {False} else MISSING_TEXT if text else MISSING_NUMBER
        return found

    def variants(self) -> Iterator[tuple[Any, str]]:
        """(rows, what is special about them)"""
        rng = np.random.default_rng(0)
        yield self._recombined(rng), "in new combinations"
        if self._holes:
            yield self._replaced(self._recombined(rng), list(self._holes), self._holes, rng), "with missing values"
        words = [column for column in self._columns if self._text[column]][:_MOST_COLUMNS]
        unknown = dict.fromkeys(words, UNKNOWN)
        open_to = [each for each in words if self._takes(self._replaced(self._one, [each], unknown, None))]
        if open_to:
            yield self._replaced(self._recombined(rng), open_to, unknown, rng), "with unknown categories"

    def _asked_for_missing(self, by_column: bool) -> dict[Any, Any]:
        """Column -> the missing value that the estimator takes there."""
        if not self._columns or len(self._columns) > _MOST_COLUMNS:
            return {}
        holes = {column: None if self._has_none(column) else np.nan for column in self._columns}
        if self._takes(self._replaced(self._one, self._columns, holes, None)):
            return holes
        if not by_column and not any(self._text.values()):  # then all are read by the same step
            return {}
        found = {}
        for column in self._columns:
            for hole in dict.fromkeys([holes[column], np.nan, None]) if self._text[column] else (np.nan,):
                if self._takes(self._replaced(self._one, [column], {column: hole}, None)):
                    found[column] = hole
                    break
        return found

    def _has_none(self, column: Any) -> bool:
        """Whether missing texts are None and not NaN, which an encoder may tell apart."""
        held = self._rows[column] if self._frame else self._rows[:, column]
        return self._text[column] and held.dtype == object and any(value is None for value in held)

    def _takes(self, rows: Any) -> bool:
        try:
            self._ask(rows)
        except Exception:  # the estimator's own, of any class
            return False
        return True

    def _replaced(self, rows: Any, columns: list[Any], values: dict[Any, Any], rng: np.random.Generator | None) -> Any:
        """`rows` with these values in some places of the columns; without `rng`, in all."""
        rows = rows.copy() if self._frame or not columns or self._text[columns[0]] else np.array(rows, dtype=float)
        for column in columns:
            places = np.ones(len(rows), bool) if rng is None else rng.random(len(rows)) < _SHARE
            if not self._frame:
                rows[places, column] = values[column]
                continue
            held = rows[column]
            if self._text[column]:  # as objects, which keep None as it is
                texts = held.to_numpy(dtype=object, copy=True)
                texts[places] = values[column]
                rows[column] = type(held)(texts, index=held.index, dtype=object)
                continue
            held = held.astype(object) if hasattr(held.dtype, "categories") else held
            rows[column] = (held.astype(float) if held.dtype == bool else held).mask(places, values[column])
        return rows

    def _recombined(self, rng: np.random.Generator) -> Any:
        """Rows whose values are each from another row, and whose fractions are moved a little."""
        count = min(_ROWS, len(self._rows))
        if not self._frame:
            chosen = rng.integers(0, len(self._rows), (count, self._rows.shape[1]))
            rows = self._rows[chosen, np.arange(self._rows.shape[1])]
            if rows.dtype.kind == "f":
                rows = np.column_stack([_moved(rows[:, place], rng) for place in range(rows.shape[1])])
            return rows
        import pandas as pd

        made = {}
        for column in self._rows.columns:
            values = self._rows[column].iloc[rng.integers(0, len(self._rows), count)].reset_index(drop=True)
            if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
                values = pd.Series(_moved(values.to_numpy(), rng))
            made[column] = values
        return pd.DataFrame(made)


def _moved(values: Any, rng: np.random.Generator) -> Any:
    """Numbers that float32 holds, so that what is found is not that it holds fewer digits."""
    present = values[np.isfinite(values)]
    if not len(present) or np.array_equal(present, np.round(present)):
        return values
    moved = values + 0.01 * float(present.std()) * rng.standard_normal(len(values))
    return moved.astype(np.float32).astype(np.float64)
