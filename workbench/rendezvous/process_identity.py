"""Identifies a process by its pid and the time it began, since pids are reused."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessKey:
    """One process, and never another one that was given its pid later."""

    pid: int
    began: int
    """Linux: clock ticks between the boot and its begin, which no change of the wall clock moves. Elsewhere
    hundredths of a second of Unix time, as the system noted them at its begin."""

    @property
    def alive(self) -> bool:
        """True while it runs; a zombie does not."""
        return process_key(self.pid) == self


class ProcessHandle:
    """A process that is looked at often. From one thread at a time."""

    def __init__(self, process: ProcessKey) -> None:
        self.process = process
        self._descriptor: int | None = None
        try:
            # On Linux a descriptor stands for the process; asking it costs half a microsecond, /proc forty times that.
            self._descriptor = os.pidfd_open(process.pid)
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLIN)
        except (OSError, AttributeError):
            pass  # it has ended, or this system has no such thing
        self._lives = process.alive  # after the descriptor was had, so that both mean the same process

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # held: `os` may be emptied before, at the exit
        if self._descriptor is not None:
            close(self._descriptor)

    @property
    def alive(self) -> bool:
        if self._lives:
            self._lives = self.process.alive if self._descriptor is None else not self._poll.poll(0)
        return self._lives


def this_process() -> ProcessKey:
    found = process_key(os.getpid())
    assert found is not None
    return found


def boot_ticks() -> int:
    """Now, as `ProcessKey.began` counts."""
    return _ticks_linux() if sys.platform == "linux" else round(time.time() * 100)


def process_key(pid: int) -> ProcessKey | None:
    """The process that has this pid now; None where there is none, or only a zombie."""
    began = _began_linux(pid) if sys.platform == "linux" else _began_elsewhere(pid)
    return None if began is None else ProcessKey(pid, began)


def _ticks_linux() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _began_linux(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else int(fields[18])


def _began_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 100)
    except psutil.Error:
        return None
