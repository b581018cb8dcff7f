"""A token bucket, as the generic cell rate algorithm has it. Pure: it is told the time."""

from __future__ import annotations

import math
from typing import Final

BURST_S: Final = 1.0
"""A caller that was silent may send so many seconds' worth at once, one request at least."""


class RateBucket:
    """Holds requests to `rate` a second. The bucket is full at first."""

    __slots__ = ("_full_at", "_interval_s", "_now", "_slack_s", "burst", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.burst = max(1, math.floor(rate * BURST_S))
        """Requests that a full bucket holds."""
        self._interval_s = 1.0 / rate
        self._slack_s = (self.burst - 1) * self._interval_s
        self._now = now
        self._full_at = now
        """When the bucket will be full again."""

    def take(self, now: float) -> float:
        """Take one request out: 0.0, or the seconds until there is one to take, and nothing was taken.

        A clock that goes back stands still instead.
        """
        if now < self._now:
            now = self._now
        else:
            self._now = now
        ahead_s = self._full_at - now
        if ahead_s <= 0:
            self._full_at = now + self._interval_s
            return 0.0
        if ahead_s <= self._slack_s + 1e-9:  # sums of intervals are not exact
            self._full_at += self._interval_s
            return 0.0
        return ahead_s - self._slack_s

    @property
    def left(self) -> int:
        """Requests that can be taken at the time of the last `take`."""
        ahead_s = max(self._full_at - self._now, 0.0)
        return max(self.burst - math.ceil(ahead_s / self._interval_s - 1e-6), 0)
