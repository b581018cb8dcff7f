"""Wakes an event loop at a given moment, to within some 30 us on an idle machine.

Event loops wait in whole milliseconds or so, which is as long as a fast answer takes. Linux has nanosecond timers that
can be waited for like sockets (timerfd), which cost no CPU while waiting. Elsewhere the loop spins through the last
stretch, and goes on reading answers meanwhile.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

SPIN_S = 0.0015
"""Without timerfd: the loop's own timer wakes this long before the moment, and the loop spins from then on."""

_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_CLOCK_MONOTONIC = 1
_PR_SET_TIMERSLACK = 29


class PreciseTimer(Protocol):
    """Calls its callback once a `set`, at or shortly after that moment. A later `set` replaces an earlier one."""

    def set(self, at_s: float) -> None:
        """A moment on time.monotonic; one that has passed means in the loop's next turn."""
        ...

    def close(self) -> None: ...


def precise_timer(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> PreciseTimer:
    """The most precise timer that this system has."""
    if sys.platform == "linux":
        try:
            return _TimerFd(loop, callback)
        except OSError:  # a sandbox without timerfd
            pass
    return _Spinning(loop, callback)


class _TimerFd:
    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # nanoseconds: do not delay wake-ups to batch them
        # struct itimerspec: an interval of 0, then the moment, each as seconds and nanoseconds.
        self._spec = (ctypes.c_long * 4)(0, 0, 0, 0)
        self._settime = libc.timerfd_settime
        self._loop = loop
        self._callback = callback
        loop.add_reader(self._fd, self._on_readable)

    def set(self, at_s: float) -> None:
        nanoseconds = max(int(at_s * 1e9), 1)  # 0 would disarm it
        self._spec[2], self._spec[3] = divmod(nanoseconds, 1_000_000_000)
        self._settime(self._fd, _ABSOLUTE, self._spec, None)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _on_readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again between the wake-up and the read
            return
        self._callback()


class _Spinning:
    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._at_s = 0.0
        self._handle: asyncio.Handle | None = None

    def set(self, at_s: float) -> None:
        self.close()
        self._at_s = at_s
        self._wait()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wait(self) -> None:
        left_s = self._at_s - time.monotonic()
        if left_s > SPIN_S:
            self._handle = self._loop.call_later(left_s - SPIN_S, self._wait)
        else:
            self._handle = self._loop.call_soon(self._wait if left_s > 0 else self._callback)
