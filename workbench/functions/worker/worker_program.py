"""The program of a function's process, run by its path: a keeper, which forks the process that runs the function.

It runs in the interpreter that the function was written in, which may lack Workbench: the standard library and numpy
are all that it and the modules beside it import. The keeper does nothing but wait, so that nothing which the function
does keeps it from ending the function when the service ends, which native code that never gives up the interpreter
would otherwise outlive.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import types
from collections.abc import Callable

LIFE = 0
"""The pipe that the service holds the other end of. A byte on it, or its end, ends the function."""

_ROOMS = ("workbench", "workbench.functions", "workbench.functions.worker")


def main(control: int, taken: int, given: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    if pid := os.fork():
        _lead_group(pid)
        for each in (control, taken, given):
            os.close(each)
        _keep(pid, waking)
    _lead_group(0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(waking)
    os.close(woken)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, LIFE)
    os.close(nothing)
    _loaded()(control, taken, given)


def _lead_group(pid: int) -> None:
    """Both sides of the fork do it, so that it is done for either."""
    try:
        os.setpgid(pid, pid)
    except OSError:  # it has ended already
        pass


def _keep(pid: int, waking: int) -> None:
    """End the process `pid` and all that it started when the service says so or ends; end as that process does.

    It is waited for here, or it would be left to the machine's first process, which in a container may wait for none.
    """
    waiting = select.poll()
    waiting.register(LIFE, select.POLLIN)
    waiting.register(waking, select.POLLIN)
    while True:
        found = dict(waiting.poll())
        if LIFE in found:
            waiting.unregister(LIFE)
            _end_group(pid)
        if waking in found:
            os.read(waking, 64)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
    _end_group(pid)  # what it left running
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if code not in (-signal.SIGKILL, -signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:  # there is none left
        pass


def _loaded() -> Callable[[int, int, int], None]:
    """The loop, from the modules beside this file. A Workbench that the function itself imports is not these."""
    for name in _ROOMS:
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = []
    package.__path__ = [os.path.dirname(__file__)]  # noqa: PTH120 - pathlib costs every start
    from workbench.functions.worker.function_loop import serve

    for name in [each for each in sys.modules if each.partition(".")[0] == _ROOMS[0]]:
        del sys.modules[name]
    return serve


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
