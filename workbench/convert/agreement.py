"""Does the exported model answer as the original does? Compared row by row, and said in one sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from workbench.client.formatting import counted
from workbench.core.provenance import AnswerCheck, OutputCheck
from workbench.core.tensor import Array

TOLERANCE = 1e-3
"""The largest difference of a score that passes, as a share of that output's largest value.

An export computes in float32 where scikit-learn uses float64; what that costs is near 1e-6, and a wrong export is
off by much more than this.
"""

EXAMPLES = 3
"""The most rows that are told of those that differ."""


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
    outputs: tuple[OutputCheck, ...] = ()
    wrong_rows: tuple[tuple[int, str], ...] = ()
    """The first rows that differ by more than the tolerance, each with what became of it: (5, "label 0 became 1")."""


def compare(
    expected: Mapping[str, Array], got: Mapping[str, Array], labels: frozenset[str], tolerance: float = TOLERANCE
) -> Agreement:
    """Compare the outputs that both have; those named in `labels` must be equal.

    A label may differ only in a row that the original itself finds undecided: where the two best scores are no
    further apart than the tolerance.
    """
    found = [
        _compare_output(name, original, got[name], name in labels, _scores(expected, labels), tolerance)
        for name, original in expected.items()
    ]
    if not found:
        return Agreement(False, 0.0, "it has no answer to compare", np.inf)
    wrong = [each.said for each in found if each.is_wrong]
    rows = sorted({int(row) for each in found for row in each.wrong_rows})[:EXAMPLES]
    largest = max(
        (np.inf if each.check.largest is None else each.check.largest for each in found if each.scores), default=0.0
    )
    return Agreement(
        not wrong,
        largest,
        "; ".join(wrong) if wrong else ", ".join(each.said for each in found),
        max(each.needed for each in found),
        tuple(each.check for each in found),
        tuple((row, ", ".join(each.became(row) for each in found if row in each.wrong_rows)) for row in rows),
    )


def merged(
    agreements: Iterable[Agreement], rows: int, made_up: bool, tolerance: float, *, one_call: bool = False
) -> AnswerCheck:
    """All comparisons of one export as one, with one clause."""
    each = list(agreements)
    by_name: dict[str, list[OutputCheck]] = {}
    for output in (output for agreement in each for output in agreement.outputs):
        by_name.setdefault(output.name, []).append(output)
    outputs = tuple(_joined(of_one) for of_one in by_name.values())
    agrees = all(agreement.agrees for agreement in each)
    asked = "on the sample" if one_call else f"on {counted(rows, 'made-up row' if made_up else 'row')}"
    return AnswerCheck(agrees, rows, made_up, tolerance, f"{_clause(outputs)} {asked}", outputs)


def flaws(check: AnswerCheck) -> str:
    """What is wrong, as "flipped 12 labels" after the name of what did it."""
    flips, over = (sum(getattr(output, each) for output in check.outputs) for each in ("flips", "over"))
    if flips:
        return f"flipped {counted(flips, 'label')}"
    return f"was off in {counted(over, 'row')}" if over else "did not answer as the original"


@dataclass(frozen=True, slots=True)
class _Output:
    check: OutputCheck
    said: str
    is_wrong: bool
    needed: float
    wrong_rows: Array
    scores: bool
    original: Array
    exported: Array

    def became(self, row: int) -> str:
        """In one row: its value that differs most, or the first label that does."""
        pair = [np.atleast_1d(np.atleast_1d(array)[row]).reshape(-1) for array in (self.original, self.exported)]
        at = int(_gaps(*pair).argmax()) if self.scores else int(_unequal(*pair).argmax())
        was, now = (f"{array[at]:.6g}" if self.scores else str(array[at]) for array in pair)
        return f"{self.check.name} {was} became {now}"


def _scores(expected: Mapping[str, Array], labels: frozenset[str]) -> list[Array]:
    return [array for name, array in expected.items() if name not in labels]


def _compare_output(
    name: str, original: Array, answer: Array, is_label: bool, scores: list[Array], tolerance: float
) -> _Output:
    rows = len(original) if original.ndim else 1
    exported = _alike(answer, original)
    if exported is None:
        check = OutputCheck(name, rows, over=rows, largest=None, relative=None)
        said = f"{name} cannot be compared: {list(answer.shape)} beside {list(original.shape)}"
        return _Output(check, said, True, np.inf, np.arange(0), False, original, answer)
    if is_label or not _numeric(original, exported):
        return _compare_labels(name, original, exported, rows, scores, tolerance)
    gaps = _gaps(original, exported)
    gap = float(gaps.max(initial=0.0))
    scale = _scale(original)
    share = gap / scale
    over = np.flatnonzero((gaps.reshape(rows, -1) / scale > tolerance).any(axis=1)) if gaps.size else np.arange(0)
    nan = int(np.isinf(gaps).sum())
    numbers = (gap, share) if math.isfinite(gap) else (None, None)
    check = OutputCheck(name, rows, over=len(over), nan=nan, largest=numbers[0], relative=numbers[1])
    if not share > tolerance:
        said = f"{name} within {share:.1e} of its largest value" if gap else f"{name} equal"
        return _Output(check, said, False, share, over, True, original, exported)
    where = np.unravel_index(int(gaps.argmax()), gaps.shape)
    pair = f"{float(original[where]):.6g} became {float(exported[where]):.6g}"
    place = f"in row {int(where[0])}: {pair}" if where else pair
    far = (
        f"off by {share:.2g} of its largest value"
        if math.isfinite(share)
        else f"{nan} of {gaps.size} values are NaN or infinite in one of the two only"
    )
    return _Output(check, f"{name}: {far}, {place}", True, share, over, True, original, exported)


def _compare_labels(
    name: str, original: Array, exported: Array, rows: int, scores: list[Array], tolerance: float
) -> _Output:
    needed = 0.0
    original, exported = np.atleast_1d(original, exported)  # one label alone, as of a function
    differs = _unequal(original.reshape(-1), exported.reshape(-1))
    flips = int(differs.sum())
    margins = _margins(scores, original)
    if margins is not None:
        needed = float(margins[differs].max(initial=0.0))
        differs = differs & (margins > tolerance)
    elif flips:
        needed = np.inf
    each = max(differs.size // max(rows, 1), 1)
    over = np.unique(np.flatnonzero(differs) // each)
    check = OutputCheck(name, rows, over=len(over), flips=flips, largest=None, relative=None)
    if not differs.any():
        undecided = f" but for {flips} that the original finds undecided" if flips else ""
        return _Output(check, f"{name} equal{undecided}", False, needed, over, False, original, exported)
    row = int(np.argmax(differs))
    pair = f"{original.reshape(-1)[row]} became {exported.reshape(-1)[row]}"
    what = "rows" if len(differs) == len(original) else "labels"
    said = f"{name}: {int(differs.sum())} of {len(differs)} {what} differ, first {what[:-1]} {row}: {pair}"
    return _Output(check, said, True, needed, over, False, original, exported)


def _joined(checks: list[OutputCheck]) -> OutputCheck:
    rows, over, flips, nan = (sum(getattr(each, name) for each in checks) for name in ("rows", "over", "flips", "nan"))
    largest, relative = (_largest([getattr(each, name) for each in checks]) for name in ("largest", "relative"))
    return OutputCheck(checks[0].name, rows, over, flips, nan, largest, relative)


def _largest(numbers: list[float | None]) -> float | None:
    present = [number for number in numbers if number is not None]
    return max(present) if len(present) == len(numbers) else None


def _clause(outputs: tuple[OutputCheck, ...]) -> str:
    """ "labels equal, max |diff| 1.4e-7", or what differs."""
    said = []
    labels = [each for each in outputs if each.largest is None and not each.nan]
    scores = [each for each in outputs if each.largest is not None]
    flips = sum(each.flips for each in labels)
    if any(each.over and not each.flips for each in labels):
        said.append("answers of another shape")
    elif any(each.over for each in labels):
        said.append(f"{flips:,} labels differ" if flips > 1 else "1 label differs")
    elif labels:
        said.append(f"labels equal but for {flips:,} undecided" if flips else "labels equal")
    if nan := sum(each.nan for each in outputs):
        said.append(f"{nan:,} values NaN on one side only")
    if scores:
        said.append(f"max |diff| {_short(max(each.largest or 0.0 for each in scores))}")
    if over := max((each.over for each in scores), default=0):
        said.append(f"{over:,} over the tolerance")
    return ", ".join(said) or "nothing compared"


def _short(number: float) -> str:
    """1.4e-7, 0.21, 0."""
    if number and not 0.001 <= number < 1000:
        mantissa, _, exponent = f"{number:.1e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{number:.2g}"


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
        if not array.ndim or not _numeric(array):
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
