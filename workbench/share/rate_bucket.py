"""A token bucket, as the generic cell rate algorithm has it. Pure: it is told the time."""

from __future__ import annotations

import math
from typing import Final

BURST_S: Final = 1.0
"""A caller that was silent may send so many seconds' worth at once, one request at least."""

_INEXACT_S: Final = 1e-9
"""By which sums of intervals may be off."""


class RateBucket:
    """Holds requests, or their rows, to `rate` a second. The bucket is full at first."""

    __slots__ = ("_full_at", "_full_s", "_interval_s", "_now", "burst", "rate")

    def __init__(self, rate: float, now: float, least: int = 1) -> None:
        """`least`: what a full bucket holds however small the rate is."""
        self.rate = rate
        self.burst = max(least, math.floor(rate * BURST_S))
        """What a full bucket holds."""
        self._interval_s = 1.0 / rate
        self._full_s = self.burst * self._interval_s
        self._now = now
        self._full_at = now
        """When the bucket will be full again."""

    def take(self, now: float, count: int = 1) -> float:
        """Take so many out: 0.0, or the seconds until they can be taken, and nothing was taken.

        More than a full bucket holds are taken out of a full one, which then owes the rest. A clock that goes back
        stands still instead.
        """
        if now < self._now:
            now = self._now
        else:
            self._now = now
        ahead_s = self._full_at - now
        cost_s = count * self._interval_s
        if ahead_s <= 0:
            self._full_at = now + cost_s
            return 0.0
        full_s = self._full_s
        over_s = ahead_s if cost_s >= full_s else ahead_s + cost_s - full_s
        if over_s <= _INEXACT_S:
            self._full_at += cost_s
            return 0.0
        return over_s
