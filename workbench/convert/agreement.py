"""Does the exported model answer as the original does? Compared row by row, and said in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from workbench.core.tensor import Array

TOLERANCE = 1e-3
"""The largest difference of a score that passes, as a share of that output's largest value.

An export computes in float32 where scikit-learn uses float64; what that costs is near 1e-6, and a wrong export is
off by much more than this.
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of a comparison."""

    agrees: bool
    largest: float
    """The largest difference of any score, in the output's own unit."""
    summary: str
    """One clause, of what agrees or of where it does not."""
    needed: float
    """The least tolerance with which the two agree; infinite where none would do."""


def compare(
    expected: Mapping[str, Array], got: Mapping[str, Array], labels: frozenset[str], tolerance: float = TOLERANCE
) -> Agreement:
    """Compare the outputs that both have; those named in `labels` must be equal.

    A label may differ only in a row that the original itself finds undecided: where the two best scores are no
    further apart than the tolerance.
    """
    largest, needed = 0.0, 0.0
    said: list[str] = []
    wrong: list[str] = []
    for name, original in expected.items():
        exported = _alike(got[name], original)
        if exported is None:
            needed = np.inf
            wrong.append(f"{name} cannot be compared: {list(got[name].shape)} beside {list(original.shape)}")
        elif name in labels or not _numeric(original, exported):
            differs = _unequal(original.reshape(-1), exported.reshape(-1))
            margins = _margins([expected[other] for other in expected if other not in labels], original)
            if margins is not None:
                needed = max(needed, float(margins[differs].max(initial=0.0)))
                differs &= margins > tolerance
            elif differs.any():
                needed = np.inf
            if differs.any():
                row = int(np.argmax(differs))
                pair = f"{original.reshape(-1)[row]} became {exported.reshape(-1)[row]}"
                rows = "rows" if len(differs) == len(original) else "labels"
                wrong.append(
                    f"{name}: {int(differs.sum())} of {len(differs)} {rows} differ, first {rows[:-1]} {row}: {pair}"
                )
            else:
                said.append(f"{name} equal")
        else:
            gaps = _gaps(original, exported)
            gap = float(gaps.max(initial=0.0))
            share = gap / _scale(original)
            largest, needed = max(largest, gap), max(needed, share)
            if share > tolerance:
                where = np.unravel_index(int(gaps.argmax()), gaps.shape)
                pair = f"{float(original[where]):.6g} became {float(exported[where]):.6g}"
                wrong.append(f"{name}: off by {share:.2g} of its largest value, in row {int(where[0])}: {pair}")
            else:
                said.append(f"{name} within {share:.1e} of its largest value" if gap else f"{name} equal")
    if not expected:
        return Agreement(False, 0.0, "it has no answer to compare", np.inf)
    return Agreement(not wrong, largest, "; ".join(wrong) if wrong else ", ".join(said), needed)


def _numeric(*arrays: Array) -> bool:
    return all(array.dtype.kind in "biuf" for array in arrays)


def _unequal(original: Array, exported: Array) -> Array:
    """Where two vectors differ; text is compared with numbers by what it says."""
    if _numeric(original, exported):
        return np.asarray(original != exported)
    return np.array([str(a) != str(b) for a, b in zip(original, exported, strict=True)], dtype=bool)


def _alike(exported: Array, original: Array) -> Array | None:
    """`exported` in the shape of `original`: a column for a vector, and for one score of two classes the nearer column.

    There is no convention for which of the two it is: exports of SVC and of SGDClassifier differ.
    """
    if exported.shape == original.shape:
        return exported
    if exported.size == original.size:
        return exported.reshape(original.shape)
    if original.ndim == 1 and exported.shape == (len(original), 2):
        return np.asarray(min(exported.T, key=lambda column: float(_gaps(original, column).sum())))
    return None


def _gaps(original: Array, exported: Array) -> Array:
    """Absolute differences; where only one is a number, infinite."""
    a, b = original.astype(np.float64), exported.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gaps = np.where(a == b, 0.0, np.abs(a - b))
    gaps[np.isnan(a) & np.isnan(b)] = 0.0
    return np.asarray(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf))


def _scale(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0)) or 1.0


def _margins(scores: list[Array], labels: Array) -> Array | None:
    """How decided each of `labels`, flattened, is: the gap between its two best scores, or of its score to where it
    changes, as a share of the largest. None where no scores fit the labels."""
    count = len(labels)
    for array in scores:
        if not _numeric(array):
            continue
        if labels.ndim == 2 and array.ndim == 3 and array.shape[:2] == labels.shape[::-1]:  # [outputs, rows, classes]
            return np.asarray(_best_gap(array).T.reshape(-1))
        if labels.ndim == 2 and labels.shape[1] > 1 and array.shape == labels.shape:  # of yes and no
            middle = 0.5 if array.min(initial=0.0) >= 0 and array.max(initial=1.0) <= 1 else 0.0
            return np.asarray(np.abs(array - middle).reshape(-1) / _scale(array))
        if labels.size != count or len(array) != count:
            continue
        if array.ndim == 2 and array.shape[1] > 1:
            return np.asarray(_best_gap(array))
        if array.size == count:
            return np.asarray(np.abs(array.reshape(-1)) / _scale(array))
    return None


def _best_gap(scores: Array) -> Array:
    best = np.sort(scores, axis=-1)
    return np.asarray((best[..., -1] - best[..., -2]) / _scale(scores))
