"""Keeps the batches of the last minutes by release reason and rows, which do not fit into columns.

A record is 12 bytes: a tick, a kind of batch and a count. The number of records is bounded: where the bound is reached,
records older than half a minute are merged, 16 ticks into one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Batches = Mapping[str, Mapping[str, int]]
"""Release reason -> rows, as text -> count."""

MAX_RECORDS = 32_768
FIRST_RECORDS = 64

FINE_TICKS = 120
"""The newest ticks, which are never merged."""
COARSE = 16

_ROWS = 1 << 24
"""More than the rows of any batch. The number of a kind is its reason's number times this, plus its rows."""


class BatchLog:
    """The batches of one model. Ticks are numbered, and come in order."""

    def __init__(self) -> None:
        self._records = np.zeros((3, FIRST_RECORDS), np.uint32)
        """Rows of tick, kind and count."""
        self._used = 0
        self._reasons: dict[str, int] = {}

    @property
    def nbytes(self) -> int:
        return self._records.nbytes

    def add(self, tick: int, batches: Batches, oldest: int) -> None:
        """Add the batches of a tick. Ticks before `oldest` may be dropped."""
        found = [
            (tick, self._reasons.setdefault(reason, len(self._reasons)) * _ROWS + min(int(rows), _ROWS - 1), count)
            for reason, sizes in batches.items()
            for rows, count in sizes.items()
        ][: MAX_RECORDS // 2]
        if not found:
            return
        if self._used + len(found) > self._records.shape[1]:
            self._make_room(len(found), oldest)
        self._records[:, self._used : self._used + len(found)] = np.array(found, np.uint32).T
        self._used += len(found)

    def parts(self, firsts: NDArray[np.int64]) -> list[Batches | None]:
        """Return the batches of each part of time, None where none was run.

        A part begins with a tick of `firsts` (ascending); the last one ends with the newest tick.
        """
        ticks, kinds, counts = self._records[:, : self._used].astype(np.int64)
        begin = np.searchsorted(ticks, firsts[0])
        part = np.searchsorted(firsts, ticks[begin:], side="right") - 1
        keys, where = np.unique(part << 32 | kinds[begin:], return_inverse=True)
        totals = np.bincount(where, counts[begin:], len(keys)).astype(np.int64)
        names = list(self._reasons)
        found: list[dict[str, dict[str, int]] | None] = [None] * len(firsts)
        for key, total in zip(keys.tolist(), totals.tolist(), strict=True):
            at, kind = key >> 32, key & 0xFFFFFFFF
            batches = found[at]
            if batches is None:
                batches = found[at] = {}
            batches.setdefault(names[kind // _ROWS], {})[str(kind % _ROWS)] = total
        return list(found)

    def _make_room(self, wanted: int, oldest: int) -> None:
        """Free space for `wanted` records, and for a quarter of all, so that this happens rarely."""
        records = self._records[:, : self._used]
        records = records[:, records[0] >= oldest]
        size = self._records.shape[1]
        while (records.shape[1] + wanted) > size * 3 // 4 and size < MAX_RECORDS:
            size *= 2
        if records.shape[1] + wanted > size * 3 // 4:
            records = _thinned(records)
            records = records[:, max(0, records.shape[1] + wanted - size * 3 // 4) :]
        self._records = np.zeros((3, size), np.uint32)
        self._used = records.shape[1]
        self._records[:, : self._used] = records


def _thinned(records: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Merge the records of all but the FINE_TICKS newest ticks: COARSE ticks become the last of them."""
    ticks, kinds, counts = records.astype(np.int64)
    last = max(int(ticks[-1]) - FINE_TICKS, 0) // COARSE * COARSE
    ticks = np.where(ticks < last, ticks | (COARSE - 1), ticks)
    keys, where = np.unique(ticks << 32 | kinds, return_inverse=True)
    totals = np.bincount(where, counts, len(keys))
    return np.stack([keys >> 32, keys & 0xFFFFFFFF, totals]).astype(np.uint32)
