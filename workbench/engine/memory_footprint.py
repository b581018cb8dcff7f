"""Measures a model's memory: by how much the process grew while that model, and no other, was loaded."""

from __future__ import annotations

from collections.abc import Callable

import psutil


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


class Footprints:
    """The loads under way in this process; belongs to the event loop's thread."""

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._open: set[Footprint] = set()

    def begin(self) -> Footprint:
        """A load begins."""
        footprint = Footprint(self._resident, self._open)
        if self._open:  # none of them can be told from the others any more
            footprint.shared = True
            for other in self._open:
                other.shared = True
        self._open.add(footprint)
        return footprint


class Footprint:
    """One load. `end` it whatever came of it."""

    def __init__(self, resident: Callable[[], int], beside: set[Footprint]) -> None:
        self.shared = False
        """Another load was under way at the same time."""
        self._resident = resident
        self._beside = beside
        self._before = resident()

    def end(self) -> int | None:
        """The bytes by which the process grew, requests that were served meanwhile included; None where it was shared,
        and where nothing was seen because memory given back before was used again."""
        self._beside.discard(self)
        grown = self._resident() - self._before
        return grown if grown > 0 and not self.shared else None
