"""Decides when calls to a model that keeps failing are refused at once, and when it is tried again. Holds no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from workbench.core.circuit import Circuit, CircuitState

PROBES = 3
"""Calls that are let through to see whether the model answers again; all of them have to end well."""

_SLICES = 10
"""The window is counted in so many parts, and moves by one of them at a time."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long. The fields are the settings `breaker_...` of a model."""

    failure_rate: float
    """The part of the calls in the window, failed and slow ones together, at which it opens; 0: never."""
    min_calls: int
    window_s: float
    slow_call_s: float
    """Seconds inside the runtime from which on a call is slow; 0: none is."""
    open_s: float


class CircuitBreaker:
    """Counts how calls ended, and is open while too many end badly. Belongs to one thread; `now` comes from one clock.

    The window begins with the first bad call after a calm time, so that a model without trouble is not counted at all.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self.engaged = False
        """True: not closed, so each call has to ask `admit`."""
        self.watching = False
        """True: each call's end is to be told to `record`; else only the bad ones."""
        self.configure(policy)
        self._state = CircuitState.CLOSED
        self._reason = ""
        self._opened = 0
        self._window: deque[list[float]] = deque()
        """[when it began, calls, failed, slow] of each part of the window."""
        self._changed_at = 0.0
        """Since when it is open, or since when the present probes are let through."""
        self._let_through = self._ended_well = 0
        """Of the present probes."""

    def configure(self, policy: BreakerPolicy) -> None:
        """Take another policy; one that never opens closes it."""
        self._policy = policy
        self.slow_call_s = policy.slow_call_s if policy.failure_rate and policy.slow_call_s else float("inf")
        if not policy.failure_rate and (self.engaged or self.watching):
            self._close()

    def admit(self, now: float) -> float:
        """0 where a call may go through; else for how many seconds none will."""
        if self._state is CircuitState.CLOSED:
            return 0.0
        left_s = self._changed_at + self._policy.open_s - now
        if left_s <= 0:  # also where the probes before were given up on by their callers, and so told nothing
            self._state = CircuitState.HALF_OPEN
            self._changed_at = now
            self._let_through = self._ended_well = 0
        if self._state is CircuitState.HALF_OPEN and self._let_through < PROBES:
            self._let_through += 1
            return 0.0
        return left_s if left_s > 0 else self._policy.open_s

    def is_stale(self, now: float) -> bool:
        """Whether it has refused nothing for a window, since no call came that could try the model."""
        left_s = self._changed_at + self._policy.open_s + self._policy.window_s - now
        return self._state is not CircuitState.CLOSED and left_s <= 0

    def record(self, now: float, calls: int, failed: int, slow: int) -> bool:
        """Note that calls ended, `failed` of them with an error of the model's and `slow` others too late. True where
        that opened or closed it."""
        policy = self._policy
        if not policy.failure_rate or self._state is CircuitState.OPEN:
            return False
        if self._state is CircuitState.HALF_OPEN:
            if failed or slow:
                self._open(now, f"a call that was let through {'failed' if failed else 'was slow'} again")
                return True
            self._ended_well += calls
            if self._ended_well < PROBES:
                return False
            self._close()
            return True
        self.watching = True
        window = self._window
        while window and window[0][0] <= now - policy.window_s:
            window.popleft()
        if not window or window[-1][0] <= now - policy.window_s / _SLICES:
            window.append([now, 0, 0, 0])
        for place, count in enumerate((calls, failed, slow), 1):
            window[-1][place] += count
        total, all_failed, all_slow = (int(sum(part[place] for part in window)) for place in (1, 2, 3))
        if all_failed + all_slow == 0:
            window.clear()
            self.watching = False
            return False
        if total < policy.min_calls or all_failed + all_slow < policy.failure_rate * total:
            return False
        self._open(now, _reason(total, all_failed, all_slow, policy))
        return True

    def told(self) -> Circuit:
        """What the status says of it."""
        return Circuit(self._state, self._reason, self._opened)

    def _open(self, now: float, reason: str) -> None:
        self._state = CircuitState.OPEN
        self._reason = reason
        self._opened += 1
        self._changed_at = now
        self._window.clear()
        self.engaged, self.watching = True, True

    def _close(self) -> None:
        self._state = CircuitState.CLOSED
        self._reason = ""
        self._window.clear()
        self.engaged = self.watching = False


def _reason(calls: int, failed: int, slow: int, policy: BreakerPolicy) -> str:
    found = [f"{failed} failed"] if failed else []
    found += [f"{slow} took {policy.slow_call_s:g} s or longer"] if slow else []
    return f"of the last {calls} calls {' and '.join(found)}"
