"""Turns signals into events of a selector, and detaches a process from its parent."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.server.process.startup import MISUSE, OK

RESTART_SIGNAL = signal.SIGUSR1
"""Asks the keeper for another worker. Not SIGHUP: a terminal that is closed sends that, and means the end."""


class Signals:
    """Signals as events of the selector, in the order in which they came."""

    def __init__(self, selector: selectors.BaseSelector, signalled: Callable[[int], None]) -> None:
        self._selector = selector
        self._signalled = signalled
        self._numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, RESTART_SIGNAL]

    def __enter__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self._numbers}
        self._wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._read, selectors.EVENT_READ, self._came)

    def __exit__(self, *exc: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.unregister(self._read)
        self._read.close()
        self._write.close()

    def _came(self) -> None:
        for number in self._read.recv(4096):
            self._signalled(number)


def detach(start_log: Path, run: Callable[[Callable[[], None]], int]) -> int:
    """`run(published)` in a child that no one is the parent of; returns here once `published` was called.

    1 where it ended before that; what it said is then in `start_log`. Nobody's child: whoever started it need not wait
    for it, and does not end it by ending its children.
    """
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        return OK if os.read(read, 1) else MISUSE
    os.close(read)
    os.setsid()
    descriptor = os.open(start_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDWR)
    for target, source in ((0, null), (1, descriptor), (2, descriptor)):
        os.dup2(source, target)
    os.close(descriptor)
    os.close(null)

    def published() -> None:
        os.write(write, b".")
        os.close(write)

    status = 1
    try:
        status = run(published)
    except WorkbenchError as error:
        sys.stderr.write(f"{error.message}\n")
        status = MISUSE
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(status)
