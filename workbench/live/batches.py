"""The batches of the last minutes, by why they were released and how many rows they had: what columns cannot hold.

A record is 12 bytes: a tick, a kind of batch, and how many there were. There are as many as kinds came in the ticks, up
to a bound; where that is not enough, what is older than half a minute is kept by 16 ticks rather than by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Batches = Mapping[str, Mapping[str, int]]
"""Reason -> rows, as text -> how many."""

MAX_RECORDS = 32_768
FIRST_RECORDS = 64

FINE_TICKS = 120
"""So many of the newest ticks are never put together."""
COARSE = 16

_ROWS = 1 << 24
"""Above the rows of any batch: a kind is the number of its reason times this, and its rows."""


class BatchLog:
    """Of one model. Ticks are numbered, and come in order."""

    def __init__(self) -> None:
        self._records = np.zeros((3, FIRST_RECORDS), np.uint32)
        """Tick, kind and count."""
        self._used = 0
        self._reasons: dict[str, int] = {}

    @property
    def nbytes(self) -> int:
        return self._records.nbytes

    def add(self, tick: int, batches: Batches, oldest: int) -> None:
        """What was run in a tick; of those before `oldest` nothing is needed any more."""
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
        """The batches of each part of time, which begins with a tick of `firsts` (ascending); None where none was run.

        The last part ends with the newest tick.
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
        """For `wanted` records and, so that this is seldom, for a quarter of all."""
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
    """With those that are not among the FINE_TICKS newest put together, COARSE ticks as the last one of them."""
    ticks, kinds, counts = records.astype(np.int64)
    last = max(int(ticks[-1]) - FINE_TICKS, 0) // COARSE * COARSE
    ticks = np.where(ticks < last, ticks | (COARSE - 1), ticks)
    keys, where = np.unique(ticks << 32 | kinds, return_inverse=True)
    totals = np.bincount(where, counts, len(keys))
    return np.stack([keys >> 32, keys & 0xFFFFFFFF, totals]).astype(np.uint32)
