"""When copies of calls may run on a device that callers use, and how many at once. Pure: it is told the time.

A caller's call that comes while copies run waits for them at worst, or has the cores with them. So a run of copies is
kept as short as one of the callers' own, and there is only one at a time, which is followed by a rest. Where the
shadow is slower than what it shadows its runs come less often: what it may take of the time shrinks as they grow. A
single long run, as the first one or one beside a busy neighbour, changes nothing of that. Where no call has come for
several times as long as a run takes, the next may begin at once.
"""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.05
"""The part of the time that runs of copies may take, where they are no longer than those of callers."""

SHORT_S: Final = 0.5e-3
"""A run of copies this short is never too long: less would be mostly the work around it."""

MOST_COPIES: Final = 64
"""In one run."""

QUIET_S: Final = 20e-3
"""Without a call, after which copies need not rest any more."""

QUIET_RUNS: Final = 3
"""Nor before so many times the length of a run of copies."""

FAILED_REST_S: Final = 0.1
"""After a run that failed; twice as long after each further one in a row."""

LONGEST_REST_S: Final = 10.0

_SMOOTH: Final = 1 / 16


class CopyPace:
    """Belongs to one thread."""

    __slots__ = ("_called_at", "_failures", "_next_at", "_spent_s", "copies", "own_s")

    def __init__(self) -> None:
        self.copies = 1
        """The most copies of the next run."""
        self.own_s = 0.0
        """How long a run of the callers' own takes, smoothed."""
        self._next_at = self._called_at = float("-inf")
        self._spent_s = 0.0
        """How long the last run took."""
        self._failures = 0

    def called(self, now: float) -> None:
        """A caller's call has come."""
        self._called_at = now

    def answered(self, ran_s: float) -> None:
        """A caller's call was run for so long."""
        self.own_s += (ran_s - self.own_s) * _SMOOTH if self.own_s else ran_s

    def wait_s(self, now: float) -> float:
        """Seconds until the next run of copies may begin; 0: now."""
        until = self._next_at
        if not self._failures:
            until = min(until, self._called_at + max(QUIET_S, QUIET_RUNS * self._spent_s))
        return max(0.0, until - now)

    def ran(self, copies: int, spent_s: float, now: float, failed: bool = False) -> None:
        """A run of so many copies has ended, which took `spent_s` with the work around it."""
        if failed:
            self._failures += 1
            self._next_at = now + min(FAILED_REST_S * 2 ** min(self._failures - 1, 20), LONGEST_REST_S)
            return
        self._failures = 0
        limit_s = max(self.own_s, SHORT_S)
        # As long as it took, or as the one before it did: what happens once does not come again.
        felt_s = min(spent_s, max(self._spent_s, limit_s))
        self._spent_s = spent_s
        if felt_s > limit_s:
            self.copies = max(1, int(copies * limit_s / felt_s))
        elif copies >= self.copies and 2 * spent_s <= limit_s:
            self.copies = min(2 * self.copies, MOST_COPIES)
        share = SHARE * min(1.0, limit_s / felt_s) if felt_s > 0 else SHARE
        rest_s = max(spent_s * (1 / SHARE - 1), felt_s * (1 / share - 1))
        self._next_at = now + min(rest_s, LONGEST_REST_S)
