"""Rows on both sides of where an estimator's answer jumps, as those of trees do, however its columns are transformed.

Between two rows with different answers lies a jump. The way between them is cut into parts, the part across which the
answer changes most is kept, and so on: what is left are two rows that are nearer to each other than float32 can tell,
and that an export which computes in float32 takes for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.core.tensor import Array

PAIRS = 48
PARTS = 16
CUTS = 8
"""The way is cut into PARTS as often as this, so to 2^-32 of it: of float64's digits, some are left for rounding."""


def rows_at_splits(estimator: Any, rows: Any) -> Any:
    """Rows like `rows` (a DataFrame or an array [N, columns]), 2 * PAIRS at most; None where no number can be moved or
    no answers differ."""
    table = _Table(rows)
    if not table.columns or len(rows) < 2:
        return None
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, len(rows), (2, 8 * PAIRS))
    answer = _answer(estimator)
    all_of = answer(rows)
    differ = np.flatnonzero(_apart(all_of[one], all_of[other]) > 0)[:PAIRS]
    if not len(differ):
        return None
    one, other = one[differ], other[differ]
    low, high = table.numbers[one], table.numbers[other]
    shares = np.linspace(0, 1, PARTS + 1)[:, np.newaxis, np.newaxis]
    for _ in range(CUTS):
        cuts = low + shares * (high - low)  # [PARTS + 1, pairs, columns]
        cuts[-1] = high
        made = table.like(np.tile(one, PARTS + 1), cuts.reshape(-1, cuts.shape[2]))
        answers = answer(made).reshape(PARTS + 1, len(one), -1)
        steps = _apart(answers[1:], answers[:-1])
        part = steps.argmax(axis=0)
        pairs = np.arange(len(one))
        low, high = cuts[part, pairs], cuts[part + 1, pairs]
    return table.like(np.concatenate([one, one]), np.concatenate([low, high]))


class _Table:
    """The columns of fractions of some rows; the others stay as they are."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._frame = hasattr(rows, "columns")
        if self._frame:
            kinds = [(place, rows.iloc[:, place]) for place in range(rows.shape[1])]
        else:
            array = np.asarray(rows)
            kinds = [(place, array[:, place]) for place in range(array.shape[1])]
        self.columns = [place for place, column in kinds if _fractions(column)]
        given = [np.asarray(column, float) for place, column in kinds if place in self.columns]
        self.numbers = np.column_stack(given) if given else np.empty((len(rows), 0))

    def like(self, places: Array, numbers: Array) -> Any:
        """The rows at `places`, with other numbers."""
        if not self._frame:
            made = np.asarray(self._rows)[places]
            made[:, self.columns] = numbers
            return made
        made = self._rows.iloc[places].reset_index(drop=True)
        return made.assign(**{str(made.columns[place]): numbers[:, at] for at, place in enumerate(self.columns)})


def _fractions(column: Any) -> bool:
    if not isinstance(column.dtype, np.dtype) or column.dtype.kind != "f":
        return False
    values = np.asarray(column, float)
    values = values[np.isfinite(values)]
    return len(values) > 0 and not np.array_equal(values, np.round(values))


def _answer(estimator: Any) -> Callable[[Any], Array]:
    """Rows -> [N, scores], of labels each as a number."""
    names = ("predict_proba", "decision_function", "predict", "transform")
    method = getattr(estimator, next(name for name in names if hasattr(estimator, name)))

    def answer(rows: Any) -> Array:
        found = method(rows)
        if isinstance(found, list):  # an array for each output
            found = np.concatenate([np.asarray(each) for each in found], axis=1)
        array = np.asarray(found.toarray() if hasattr(found, "toarray") else found)
        if array.dtype.kind not in "biuf":
            array = np.unique(array.astype(str), return_inverse=True)[1]
        return array.reshape(len(rows), -1).astype(float)

    return answer


def _apart(one: Array, other: Array) -> Array:
    found: Array = np.abs(np.nan_to_num(one - other)).sum(axis=-1)
    return found
