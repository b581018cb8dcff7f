"""Keeps answers within a number of bytes: the one that was asked for longest ago goes first. Pure: it is told the time.

An answer is kept for `ttl_s` seconds at most. What is too old is dropped when it is asked for, and when it is the next
one to go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from workbench.core.tensor import Array

ENTRY_BYTES: Final = 440
"""Memory of an entry beside its arrays: measured."""

ARRAY_BYTES: Final = 120
"""Memory of an array beside its elements."""

ITEM_BYTES: Final = 40
"""Memory of an element of BYTES beside its bytes."""


@dataclass(slots=True)
class KeptAnswer:
    outputs: Mapping[str, Array]
    """They cannot be written to."""
    cost_s: float
    """Seconds inside the runtime that an answer from here saves."""
    size_bytes: int
    stored_at: float


class ResultStore:
    """Not safe for threads."""

    def __init__(self, limit_bytes: int, ttl_s: float) -> None:
        """`ttl_s` 0: answers do not age."""
        self.limit_bytes = limit_bytes
        self.ttl_s = ttl_s
        self.size_bytes = 0
        self.evicted = 0
        """Answers that went to make room."""
        self.expired = 0
        """Answers that were dropped for their age."""
        self._kept: OrderedDict[bytes, KeptAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> KeptAnswer | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._is_old(kept, now):
            self._drop(key)
            self.expired += 1
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, outputs: Mapping[str, Array], cost_s: float, now: float) -> bool:
        """Keep the answer, of which it has copies; False: it is larger than all that may be kept."""
        size_bytes = ENTRY_BYTES + sum(map(_size_of, outputs.values()))
        if size_bytes > self.limit_bytes:
            return False
        if key in self._kept:
            self._drop(key)
        copies = {name: _own(array) for name, array in outputs.items()}
        self._kept[key] = KeptAnswer(copies, cost_s, size_bytes, now)
        self.size_bytes += size_bytes
        self._make_room(now)
        return True

    def configure(self, limit_bytes: int, ttl_s: float, now: float) -> None:
        self.limit_bytes = limit_bytes
        self.ttl_s = ttl_s
        self._make_room(now)

    def clear(self) -> None:
        self._kept.clear()
        self.size_bytes = 0

    def _make_room(self, now: float) -> None:
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            if self._is_old(oldest, now):
                self.expired += 1
            elif self.size_bytes > self.limit_bytes:
                self.evicted += 1
            else:
                return
            self._drop(key)

    def _is_old(self, kept: KeptAnswer, now: float) -> bool:
        return self.ttl_s > 0 and now - kept.stored_at >= self.ttl_s

    def _drop(self, key: bytes) -> None:
        self.size_bytes -= self._kept.pop(key).size_bytes


def _size_of(array: Array) -> int:
    if array.dtype.hasobject:
        return ARRAY_BYTES + array.nbytes + sum(ITEM_BYTES + len(item) for item in array.ravel().tolist())
    return ARRAY_BYTES + array.nbytes


def _own(array: Array) -> Array:
    """A copy, since an answer may be a view of a whole batch."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
