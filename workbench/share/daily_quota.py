"""So many requests a day, and so many rows. Pure: it is told the time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class DailyUse:
    """What was used of a day that ends at `ends_at`, a Unix time."""

    ends_at: float
    requests: int = 0
    rows: int = 0


class DailyQuota:
    """Holds requests and their rows to so many each UTC day; None: any number.

    When the day ends is decided once, by the wall clock as the day begins, and then it ends after so much time:
    a clock that is set meanwhile neither gives another day's worth nor holds one back for longer than a day.
    """

    __slots__ = ("_ends", "_ends_at", "_requests", "_rows", "most_requests", "most_rows", "noted")

    def __init__(self, requests: int | None, rows: int | None, now: float, wall: float, used: DailyUse | None) -> None:
        """`used`: what is known from before, of a day that may be over."""
        self.most_requests = requests
        self.most_rows = rows
        self.noted = True
        """The use is written down somewhere, or about to be."""
        self._begin(now, wall)
        if used is not None and wall < used.ends_at:
            self._requests, self._rows = used.requests, used.rows

    def take(self, now: float, wall: float) -> float:
        """Count a request: 0.0, or the seconds until there is another day, and nothing was counted."""
        if now >= self._ends:
            self._begin(now, wall)
        if self.most_requests is not None and self._requests >= self.most_requests:
            return self._ends - now
        self._requests += 1
        return 0.0

    def take_rows(self, now: float, wall: float, count: int) -> float:
        """Count the rows of a request that was counted: 0.0, or the seconds as above, and then neither is."""
        if now >= self._ends:
            self._begin(now, wall)
        if self.most_rows is not None and self._rows + count > self.most_rows:
            self.give_back()
            return self._ends - now
        self._rows += count
        return 0.0

    def give_back(self, rows: int = 0) -> None:
        """Forget a request that was counted, and so many rows of it: it is not run."""
        self._requests = max(self._requests - 1, 0)
        self._rows = max(self._rows - rows, 0)

    def use(self, now: float, wall: float) -> DailyUse:
        """Of the day that it is."""
        if now >= self._ends:
            self._begin(now, wall)
        return DailyUse(self._ends_at, self._requests, self._rows)

    def _begin(self, now: float, wall: float) -> None:
        self._ends_at = (math.floor(wall / DAY_S) + 1) * DAY_S
        self._ends = now + self._ends_at - wall
        self._requests = self._rows = 0
