"""How far the answers of two versions to the same rows agree, output by output. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from workbench.core.tensor import Array

WORST: Final = 5
"""The rows that are named of those that differ most."""

_Z: Final = 1.959963984540054
"""Of a normal distribution, for intervals of 95 %."""


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """Of one output."""

    name: str
    rows: int
    """That were compared."""
    same: int | None
    """Rows with the same label, or the same class with the highest score; None for an output that has neither."""
    largest: float | None
    """The largest absolute difference of two scores; None for labels."""
    relative: float | None
    """The same as a share of the first version's largest number."""
    nan: int
    """Rows in which only one of the two has NaN."""
    worst: tuple[int, ...]
    """The rows that differ most, the worst first."""
    unlike: str = ""
    """Why they cannot be compared."""
    scale: float = 0.0
    """The first version's largest number, of scores."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """In which the share of equal rows lies, as of all rows like these, 95 % (Wilson, "Probable inference", Journal
        of the American Statistical Association 22, 1927)."""
        if self.same is None or not self.rows:
            return None
        share, z = self.same / self.rows, _Z
        middle = (share + z * z / (2 * self.rows)) / (1 + z * z / self.rows)
        within = math.sqrt(share * (1 - share) / self.rows + z * z / (4 * self.rows**2)) * z / (1 + z * z / self.rows)
        return max(middle - within, 0.0), min(middle + within, 1.0)


def agreement(first: Mapping[str, Array], second: Mapping[str, Array]) -> tuple[OutputAgreement, ...]:
    """Compare the outputs, arrays [rows, ...], of each name. One that only one of the two has is told as such."""
    found = []
    for name in dict.fromkeys((*first, *second)):
        if name in first and name in second:
            found.append(_compared(name, np.asarray(first[name]), np.asarray(second[name])))
        else:
            found.append(_unlike(name, f"only the {'first' if name in first else 'second'} version has this output"))
    return tuple(found)


def _compared(name: str, one: Array, other: Array) -> OutputAgreement:
    if one.shape != other.shape:
        return _unlike(name, f"the shapes differ: {list(one.shape)} and {list(other.shape)}")
    kinds = {each.dtype.kind for each in (one, other)}
    if "f" in kinds and kinds <= set("fiu"):
        return _scores(name, one, other)
    if kinds <= set("iub") or kinds.isdisjoint("iubf"):
        return _labels(name, one, other)
    return _unlike(name, f"the types differ: {one.dtype} and {other.dtype}")


def _labels(name: str, one: Array, other: Array) -> OutputAgreement:
    rows = len(one) if one.ndim else 1
    differs = _by_row(np.asarray(one != other)).any(axis=1)
    worst = tuple(int(row) for row in np.flatnonzero(differs)[:WORST])
    return OutputAgreement(name, rows, rows - int(differs.sum()), None, None, 0, worst)


def _scores(name: str, one: Array, other: Array) -> OutputAgreement:
    rows = len(one) if one.ndim else 1
    before, after = (_by_row(each).astype(np.float64) for each in (one, other))
    nan = np.isnan(before) != np.isnan(after)
    with np.errstate(invalid="ignore"):
        gaps = np.where(before == after, 0.0, np.abs(before - after))  # of two infinities too
    gaps = np.nan_to_num(gaps, nan=0.0, posinf=np.inf)
    by_row = np.where(nan.any(axis=1), np.inf, gaps.max(axis=1, initial=0.0))
    worst = tuple(int(row) for row in np.argsort(-by_row, kind="stable")[:WORST] if by_row[row] > 0)
    same = None
    if one.ndim == 2 and one.shape[1] > 1:  # scores of classes
        same = int((before.argmax(axis=1) == after.argmax(axis=1)).sum())
    largest = float(gaps.max(initial=0.0))
    scale = float(np.abs(before[np.isfinite(before)]).max(initial=0.0))
    relative = largest / scale if scale else None
    return OutputAgreement(name, rows, same, largest, relative, int(nan.any(axis=1).sum()), worst, "", scale)


def _by_row(array: Array) -> Array:
    """[rows, values]; a scalar is one row."""
    return array.reshape(len(array) if array.ndim else 1, math.prod(array.shape[1:]))


def _unlike(name: str, why: str) -> OutputAgreement:
    return OutputAgreement(name, 0, None, None, None, 0, (), why)
