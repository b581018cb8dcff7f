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
"""The pipe that the service holds the other end of."""

_ROOMS = ("workbench", "workbench.functions", "workbench.functions.worker")


def main(control: int, taken: int, given: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    if pid := os.fork():
        for each in (control, taken, given):
            os.close(each)
        _keep(pid, waking)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(waking)
    os.close(woken)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, LIFE)
    os.close(nothing)
    _loaded()(control, taken, given)


def _keep(pid: int, waking: int) -> None:
    """End everything that the function started when the service ends, and end as the process `pid` does."""
    waiting = select.poll()
    waiting.register(LIFE, select.POLLIN)
    waiting.register(waking, select.POLLIN)
    while True:
        found = dict(waiting.poll())
        if LIFE in found and not os.read(LIFE, 1):
            os.killpg(0, signal.SIGKILL)
        if waking in found:
            os.read(waking, 64)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if code not in (-signal.SIGKILL, -signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


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
