"""What happened while a service was not followed: how much of it to ask for, and its ticks until the present begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from workbench.live.tick import Tick, TickReader

MOST_PAST_S: Final = 900.0
"""How far back the service is asked."""


class CatchingUp:
    """Belongs to one follower, across the ends of its stream."""

    def __init__(self, ticks: TickReader, wall: Callable[[], float] = time.time) -> None:
        self._ticks = ticks
        self._wall = wall
        self._told_until = 0.0
        """The Unix time of the last tick of the present."""
        self._missed: list[Tick] = []

    def missed_s(self) -> float:
        """The seconds to ask for when a stream begins, at most MOST_PAST_S."""
        self._missed = []
        return min(max(self._wall() - self._told_until, 0.0), MOST_PAST_S)

    def takes(self, line: Mapping[str, Any]) -> bool:
        """Whether the line is of the past; it is kept where it was missed."""
        if "past" not in line:
            return False
        if line["time"] > self._told_until:
            self._missed.append(self._ticks.take(line))
        return True

    def missed(self) -> list[Tick]:
        """The ticks that were missed, once."""
        missed, self._missed = self._missed, []
        return missed

    def present(self, line: Mapping[str, Any]) -> Tick:
        """The tick of a line of the present."""
        self._told_until = line["time"]
        return self._ticks.take(line)
