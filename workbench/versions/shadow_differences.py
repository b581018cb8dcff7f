"""How far a shadow's answers differ from those that callers got, over many calls. Pure.

Calls are compared many at once (`compare`), which can be done on any thread; the result is added to what was found
before (`ShadowDifferences`).
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, TypeAlias

import numpy as np

from workbench.core.shadow_figures import ShadowExample, ShadowOutput
from workbench.core.tensor import Array, memory_bytes
from workbench.versions.output_agreement import OutputAgreement, agreement

EXAMPLE_BYTES: Final = 16 << 20
"""What the examples of one shadow may take."""

Arrays: TypeAlias = Mapping[str, Array]
Answers: TypeAlias = tuple[Arrays, Arrays, Arrays]
"""Of one call: its inputs, what the caller got, and what the shadow answered."""


@dataclass(slots=True)
class Compared:
    """What a few calls showed."""

    rows: int = 0
    differing: int = 0
    agreements: list[OutputAgreement] = field(default_factory=list)
    unlike: list[tuple[str, int, str]] = field(default_factory=list)
    """(output, rows, why) that could not be compared."""
    examples: list[ShadowExample] = field(default_factory=list)


def compare(calls: Sequence[Answers], keep_rows: int = 0, worse_than: tuple[int, float] = (0, 0.0)) -> Compared:
    """Compare the answers of each call. Of up to `keep_rows` rows, those that differ most, the inputs and answers are
    copied, if they differ by more than `worse_than`, a `badness`."""
    found = Compared()
    alike: defaultdict[tuple[object, ...], list[Answers]] = defaultdict(list)
    for call in calls:
        _, first, second = call
        found.rows += _rows(first)
        if (why := _unlike(first, second)) is not None:
            found.unlike.append(why)
            continue
        alike[tuple((name, array.shape[1:], array.ndim, array.dtype) for name, array in first.items())].append(call)
    for group in alike.values():
        together = all(_are_rows(call[1]) for call in group)
        for members in [group] if together else [[each] for each in group]:
            _compare_alike(members, found, keep_rows, worse_than)
    return found


def badness(example: ShadowExample) -> tuple[int, float]:
    """Larger for a row that is more worth a look."""
    return example.flips, example.difference


class ShadowDifferences:
    """What was found so far. Belongs to one thread."""

    def __init__(self, keep_rows: int = 0) -> None:
        self.rows = 0
        self.differing = 0
        self._outputs: dict[str, _Total] = {}
        self._examples: list[tuple[tuple[int, float], int, ShadowExample, bytes, int]] = []
        self._held: set[bytes] = set()
        """Digests of the inputs of the examples: a row that comes again and again is one example."""
        self._bytes = 0
        self._count = itertools.count()
        self.keep_rows = keep_rows

    def keep(self, rows: int) -> None:
        """How many examples are kept from now on."""
        self.keep_rows = rows
        while len(self._examples) > rows:
            self._drop()

    def add(self, found: Compared) -> None:
        self.rows += found.rows
        self.differing += found.differing
        for each in found.agreements:
            self._of(each.name).add(each)
        for name, rows, why in found.unlike:
            total = self._of(name)
            total.unlike += rows
            total.why = why
        for example in found.examples:
            self._keep(example)

    def outputs(self) -> tuple[ShadowOutput, ...]:
        return tuple(total.told(name) for name, total in self._outputs.items())

    @property
    def kept(self) -> int:
        """Rows that are kept as examples."""
        return len(self._examples)

    def examples(self) -> list[ShadowExample]:
        """The worst first."""
        return [each[2] for each in sorted(self._examples, key=lambda each: (each[0], -each[1]), reverse=True)]

    @property
    def worse_than(self) -> tuple[int, float]:
        """What a row has to exceed to become an example."""
        return self._examples[0][0] if len(self._examples) >= self.keep_rows > 0 else (0, 0.0)

    def _of(self, name: str) -> _Total:
        return self._outputs.setdefault(name, _Total())

    def _keep(self, example: ShadowExample) -> None:
        size = sum(
            memory_bytes(array) for part in (example.inputs, example.serving, example.shadow) for array in part.values()
        )
        digest = _digest(example.inputs)
        if not self.keep_rows or digest in self._held or size > EXAMPLE_BYTES or badness(example) <= self.worse_than:
            return
        while self._examples and (len(self._examples) >= self.keep_rows or self._bytes + size > EXAMPLE_BYTES):
            self._drop()
        heapq.heappush(self._examples, (badness(example), next(self._count), example, digest, size))
        self._held.add(digest)
        self._bytes += size

    def _drop(self) -> None:
        *_, digest, size = heapq.heappop(self._examples)
        self._held.discard(digest)
        self._bytes -= size


@dataclass(slots=True)
class _Total:
    """Of one output."""

    rows: int = 0
    same: int | None = None
    is_label: bool = False
    largest: float | None = None
    scale: float = 0.0
    nan: int = 0
    unlike: int = 0
    why: str = ""

    def add(self, each: OutputAgreement) -> None:
        if each.unlike:
            self.why = each.unlike
            return
        self.rows += each.rows
        self.nan += each.nan
        if each.same is not None:
            self.same = (self.same or 0) + each.same
        if each.largest is None:
            self.is_label = True
        else:
            self.largest = max(self.largest or 0.0, min(each.largest, sys.float_info.max))
            self.scale = max(self.scale, each.scale)

    def told(self, name: str) -> ShadowOutput:
        relative = None
        if self.largest is not None and self.scale:
            relative = min(self.largest / self.scale, sys.float_info.max)
        return ShadowOutput(
            name, self.rows, self.same, self.is_label, self.largest, relative, self.nan, self.unlike, self.why
        )


def _compare_alike(calls: list[Answers], found: Compared, keep_rows: int, worse_than: tuple[int, float]) -> None:
    """Calls whose outputs have one shape but for the first axis, which is then joined."""
    first, second = ({name: _joined([call[i][name] for call in calls]) for name in calls[0][i]} for i in (1, 2))
    told = agreement(first, second)
    found.agreements += told
    flips, gaps = _by_row(first, second)
    found.differing += int((flips > 0).sum())
    if not keep_rows:
        return
    order = np.lexsort((-gaps, -flips))[:keep_rows]
    starts = np.cumsum([0, *(_rows(call[1]) for call in calls)])
    for row in order:
        bad = int(flips[row]), float(gaps[row])
        if bad <= worse_than:
            break
        which = int(np.searchsorted(starts, row, side="right")) - 1
        inputs, one, other = calls[which]
        at, rows = int(row - starts[which]), _rows(one)
        asked, before, after = (
            {name: _row(array, at, rows) for name, array in each.items()} for each in (inputs, one, other)
        )
        found.examples.append(ShadowExample(asked, before, after, *bad))


def _by_row(first: Arrays, second: Arrays) -> tuple[Array, Array]:
    """Of each row: the outputs with another label, another class first, or NaN in one alone; and the largest difference
    of scores, as a share of the row's largest number."""
    rows = _rows(first)
    flips, gaps = np.zeros(rows, int), np.zeros(rows)
    for name, one in first.items():
        if not rows:
            break
        before, after = (array.reshape(rows, -1) for array in (one, second[name]))
        if one.dtype.kind not in "f" and one.dtype.kind in "iubOSU":
            flips += (before != after).any(axis=1)
            continue
        before, after = before.astype(np.float64), after.astype(np.float64)
        nan = (np.isnan(before) != np.isnan(after)).any(axis=1)
        if one.ndim == 2 and one.shape[1] > 1:
            nan |= before.argmax(axis=1) != after.argmax(axis=1)
        flips += nan
        with np.errstate(all="ignore"):
            gap = np.where(before == after, 0.0, np.abs(before - after)).max(axis=1, initial=0.0)
            scale = np.abs(before).max(axis=1, initial=0.0)
            share = np.nan_to_num(gap / np.where(scale > 0, scale, 1.0), nan=0.0, posinf=sys.float_info.max)
        gaps = np.maximum(gaps, share)
    return flips, gaps


def _unlike(first: Arrays, second: Arrays) -> tuple[str, int, str] | None:
    """(output, rows, why) of the first output that cannot be compared."""
    for name, one in first.items():
        other = second.get(name)
        if other is None:
            return name, _rows(first), "the shadow's answer lacks it"
        if one.shape != other.shape:
            return name, _rows(first), f"the shapes differ: {list(one.shape)} and {list(other.shape)}"
        if one.dtype != other.dtype:
            return name, _rows(first), f"the types differ: {one.dtype} and {other.dtype}"
    return None


def _joined(arrays: Sequence[Array]) -> Array:
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return joined.astype(np.float32) if joined.dtype.kind == "V" else joined  # as numpy calls BF16


def _rows(outputs: Arrays) -> int:
    """The rows of an answer: 1 where its outputs have not the same number of them."""
    counts = {len(array) if array.ndim else 1 for array in outputs.values()}
    return counts.pop() if len(counts) == 1 else 1


def _are_rows(outputs: Arrays) -> bool:
    """Whether the first axis of each output counts the same rows, so that those of several calls can be joined."""
    return all(array.ndim for array in outputs.values()) and len({len(array) for array in outputs.values()}) == 1


def _row(array: Array, at: int, rows: int) -> Array:
    """A copy of the one row, or of all where they are not these rows."""
    return (array[at : at + 1] if array.ndim and len(array) == rows else array).copy()


def _digest(inputs: Arrays) -> bytes:
    found = blake2b(digest_size=16)
    for name, array in inputs.items():
        found.update(f"{name}{array.dtype}{array.shape}".encode())
        found.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
    return found.digest()
