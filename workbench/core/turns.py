"""Long work on threads that takes turns, so that an event loop never waits for more than one of them.

Python's threads hand the interpreter's lock to each other in no order, each up to 5 ms late. So with four threads that
decode, an event loop that has slept waits 20 ms before it runs, again and again. Of those that take turns only one runs
at a time, for about TURN_S; the others wait without asking for the interpreter's lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

Result = TypeVar("Result")

TURN_S: Final = 0.1
_STEP_S: Final = 2e-3
_PAUSE_S: Final = 3e-4
"""Of each step, how long an event loop has the interpreter to itself: it asks for its lock once for each callback."""

_running: Final = threading.Lock()


class _Turn(threading.local):
    began: float | None = None
    """None: this thread takes no turns."""
    paused = 0.0


_turn: Final = _Turn()


def in_turns(work: Callable[[], Result]) -> Result:
    """Return what `work` returns, which calls `give_way` now and then. Blocks: not for an event loop."""
    with _running:
        _turn.began = _turn.paused = time.monotonic()
        try:
            return work()
        finally:
            _turn.began = None


def give_way() -> None:
    """Let others run if this thread had its turn. Does nothing on threads that take no turns."""
    now = time.monotonic()
    if _turn.began is None or now - _turn.paused < _STEP_S:
        return
    time.sleep(_PAUSE_S)
    if now - _turn.began > TURN_S:
        _running.release()
        time.sleep(_PAUSE_S)  # else no waiting thread is awake in time to take it
        _running.acquire()
        _turn.began = time.monotonic()
    _turn.paused = time.monotonic()
