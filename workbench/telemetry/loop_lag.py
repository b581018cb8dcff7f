"""Measures event-loop lag with a periodic timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

EVERY_S = 0.1
"""Interval of the timer. A stall of this length or more is always seen, a shorter one with a chance in proportion."""


class LoopLagMonitor:
    """Runs a timer on the event loop from `start` to `stop`, and calls `ticked` with its delay in seconds.

    Timers of an event loop are exact to a millisecond, so a smaller delay means nothing.
    """

    def __init__(self, ticked: Callable[[float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._ticked = ticked
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._due = self._clock() + EVERY_S
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        late_s = max(self._clock() - self._due, 0.0)
        self.start()
        self._ticked(late_s)
