"""Runs a piece of work in a forked process, which has this process's objects without a copy of them being sent.

What it imports and what it computes leaves this process's memory as it was, and so do its changes to the objects. It
gives back files. Only where nothing but plain memory is needed: no event loop, no thread and no GPU of this process
is usable there.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

from workbench import errors
from workbench.convert.conversion import Conversion
from workbench.errors import Cancelled, DeadlineExceeded, ExecutionError, WorkbenchError

Say = Callable[[str], None]
"""Tells the caller's progress what is done now."""

CAN_FORK = sys.platform == "linux"
"""macOS has forks too, but its own libraries do not survive them."""

_LOOK_S = 0.1
"""How often the waiting thread looks whether it is still waited for."""


def run_forked(work: Callable[[Say], None], conversion: Conversion, what: str, limit_s: float) -> None:
    """Run `work` in a forked process, and wait for its end.

    Raises what `work` raises where that is a WorkbenchError, ExecutionError for anything else and for a process that
    died, DeadlineExceeded after `limit_s` and Cancelled when the conversion is abandoned; no process is left.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks beside threads: see _child
        pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(work, writing, limit_s)
    os.close(writing)
    try:
        told = _followed(reading, conversion, time.monotonic() + limit_s, what)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        status = _ended(pid)
    if told is not None:
        kind, message = told
        raise getattr(errors, kind, ExecutionError)(message)
    if status:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise ExecutionError(f"the process for {what} ended with {how} before it was done; nothing was loaded")


def _child(work: Callable[[Say], None], writing: int, limit_s: float) -> NoReturn:
    """No other thread exists here, and a lock that one of them held stays locked; the alarm ends what waits on it."""
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(limit_s) + 5)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the waiting process ends this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.freeze()  # collecting what was there would write to, and so copy, every page
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # a kernel's own streams need its threads
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        work(lambda step: _write(writing, ["step", step]))
        status = 0
    except WorkbenchError as error:
        _write(writing, [type(error).__name__, error.message])
        status = 0
    except BaseException as error:
        _write(writing, ["ExecutionError", f"{type(error).__name__}: {error}"[:1000]])
        status = 0
    finally:
        os._exit(status)


def _write(writing: int, line: list[str]) -> None:
    data = json.dumps(line).encode() + b"\n"
    while data:
        data = data[os.write(writing, data) :]


def _followed(reading: int, conversion: Conversion, until: float, what: str) -> tuple[str, str] | None:
    """Show the child's steps until it closes the pipe; returns the error that it told."""
    buffered, told = b"", None
    while True:
        if conversion.abandoned.is_set():
            raise Cancelled(f"{what} was stopped")
        if time.monotonic() > until:
            raise DeadlineExceeded(f"{what} took longer than the limit, so it was ended; nothing was loaded")
        if not select.select([reading], [], [], _LOOK_S)[0]:
            continue
        data = os.read(reading, 65536)
        *lines, buffered = (buffered + data).split(b"\n")
        for line in lines:
            kind, text = json.loads(line)
            if kind == "step":
                conversion.progress.begin(text)
            else:
                told = kind, text
        if not data:
            return told


def _ended(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # somebody's os.wait() was faster
        return 0
