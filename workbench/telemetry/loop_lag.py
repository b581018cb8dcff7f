"""How long the event loop keeps others waiting, measured by a timer of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

EVERY_S = 0.1
"""A stall is seen when a timer falls into it: always from this length on, a shorter one in proportion."""


class LoopLagMonitor:
    """Ticks on the running loop from `start` to `stop`, and tells each time how late it was, in seconds.

    A loop's timers are exact to a millisecond, so less than that means nothing.
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
