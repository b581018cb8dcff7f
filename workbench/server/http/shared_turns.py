"""Requests sent ahead, and bodies in many chunks: taken apart a little at a time, over all connections together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, Protocol

TURN_S: Final = 0.001
"""Of a turn of the event loop, for what all connections have sent ahead. The step that goes beyond it is the last."""


class TakesTurns(Protocol):
    def take_turn(self) -> bool:
        """A few steps. True: there are more, for another turn. Raises nothing."""
        ...


class SharedTurns:
    """The queue of connections that have more to take apart. Belongs to the event loop.

    A request that comes alone is answered as it comes. To send requests ahead of their answers costs a client nothing,
    so they have one budget in each turn of the loop, whatever the number of connections, and others are served between
    the turns.
    """

    def __init__(self) -> None:
        self._waiting: deque[TakesTurns] = deque()
        self._due = False

    def add(self, connection: TakesTurns) -> None:
        """Have it take turns until it has no more. Once until then."""
        self._waiting.append(connection)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        waiting = self._waiting
        until = time.monotonic() + TURN_S
        try:
            for _ in range(len(waiting)):
                connection = waiting.popleft()
                if connection.take_turn():
                    waiting.append(connection)
                if time.monotonic() >= until:
                    break
        finally:
            self._due = bool(waiting)
            if waiting:
                asyncio.get_running_loop().call_soon(self._run)
