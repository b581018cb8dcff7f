"""Runs a piece of work in a forked process, which has this process's objects without a copy of them being sent.

What it imports and what it computes leaves this process's memory as it was, and so do its changes to the objects. It
gives back files. Only where nothing but plain memory is needed: no event loop, no thread and no GPU of this process
is usable there.
"""

from __future__ import annotations

import contextlib
import fcntl
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
    died, DeadlineExceeded after `limit_s` and Cancelled when the conversion is abandoned. No process is left, of those
    that the forked one started neither, also where this process is killed.
    """
    reading, writing = os.pipe()
    life, ours = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks beside threads: see _child
        pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.close(ours)
        _child(work, writing, life, limit_s)
    with contextlib.suppress(OSError):  # the child does it too: now it is done, whichever was first
        os.setpgid(pid, pid)
    os.close(writing)
    os.close(life)
    try:
        told = _followed(reading, pid, conversion, time.monotonic() + limit_s, what)
        _look(pid, os.WEXITED)
    finally:
        status = _ended(pid)
        os.close(reading)
        os.close(ours)
    if told is not None:
        kind, message = told
        raise getattr(errors, kind, ExecutionError)(message)
    if status:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise ExecutionError(f"the process for {what} ended with {how} before it was done; nothing was loaded")


def _child(work: Callable[[Say], None], writing: int, life: int, limit_s: float) -> NoReturn:
    """No other thread exists here, and a lock that one of them held stays locked; the alarm ends what waits on it."""
    status = 1
    try:
        _end_with(life)
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


def _end_with(life: int) -> None:
    """Lead a group of processes, which the system ends when no process holds the other end of the pipe any more.

    A group of its own, so that all of it can be ended, and the Ctrl-C of a terminal ends none of it by halves. But then
    what ends the kernel's group, as Jupyter does, ends this one no more. A thread that waits for the pipe would wait
    for the interpreter as well, which an exporter's native code may hold.
    """
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # of a system that is not quite Linux: the alarm ends it then
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if _is_readable(life, 0):  # it was over before
        os._exit(1)


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    waiting = select.poll()  # unlike select.select, it takes descriptors over 1023
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


def _write(writing: int, line: list[str]) -> None:
    data = json.dumps(line).encode() + b"\n"
    while data:
        data = data[os.write(writing, data) :]


def _followed(reading: int, pid: int, conversion: Conversion, until: float, what: str) -> tuple[str, str] | None:
    """Show the child's steps until it closes the pipe, or has ended and left it to others; the error that it told."""
    buffered, told = b"", None
    while True:
        if conversion.abandoned.is_set():
            raise Cancelled(f"{what} was stopped")
        if time.monotonic() > until:
            raise DeadlineExceeded(f"{what} took longer than the limit, so it was ended; nothing was loaded")
        if not _is_readable(reading, _LOOK_S):
            if _look(pid, os.WEXITED | os.WNOHANG) and not _is_readable(reading, 0):
                return told
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


def _look(pid: int, how: int) -> bool:
    """Whether the child has ended; it stays to be waited for, so that the number is still its own."""
    try:
        return os.waitid(os.P_PID, pid, how | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _ended(pid: int) -> int:
    """End what there still is of the child and of all that it started; how the child ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # somebody's os.wait() was faster
        return 0
