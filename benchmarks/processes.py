"""Servers under measurement: started, waited for, asked what they hold, and ended with everything they started.

Whatever a server starts carries a mark of ours in its environment, so that processes which leave their group or outlive
their parent (Ray has a dozen) are found and ended too, and nothing else is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

MARK = "BENCH_MARK"
STOP_S = 5.0
"""What a server may take to end of itself."""


class DidNotStart(Exception):
    """A server did not come up; the text is what it last said."""


class Running:
    """A started server. `log` takes what it prints."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self._log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                list(command),
                env={**environment, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _STARTED.add(self.process.pid)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns once `ready()`. DidNotStart when the process has ended or the time is over."""
        end = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise DidNotStart(f"ended with exit status {self.process.returncode}: {self.last_words()}")
            if time.monotonic() > end:
                raise DidNotStart(f"not ready after {seconds:g} s: {self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """The last lines that say something, of an error where there is one."""
        lines = [line.strip() for line in self._log.read_text("utf-8", "replace").splitlines()]
        lines = [line for line in lines if any(map(str.isalpha, line))]
        errors = [line for line in lines if "Error" in line or "error" in line]
        return " | ".join(line[:300] for line in (errors or lines)[-2:]) or "(it said nothing)"

    def processes(self) -> list[psutil.Process]:
        """Everything alive that carries the mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def resident_bytes(self) -> int:
        """Of all its processes together, with shared pages counted once (PSS)."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def cpu_s(self) -> float:
        """The processor time of all its processes that live, since each began."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                spent = process.cpu_times()
                total += spent.user + spent.system
        return total

    def stop(self, patience_s: float = STOP_S) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=STOP_S)
        self.process.wait()
        _STARTED.discard(self.process.pid)
        _reap()


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    patience_s: float = STOP_S,
) -> Iterator[Running]:
    started = Running(command, os.environ if environment is None else environment, log)
    try:
        yield started
    finally:
        started.stop(patience_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def leave_nothing_behind() -> None:
    """SIGTERM unwinds like Ctrl-C, so that every server is ended; orphans of servers become ours to reap."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


_STARTED: set[int] = set()
"""Pids that a Popen waits for."""


def _reap() -> None:
    """Bury the orphans that came to us."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.pid not in _STARTED and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
