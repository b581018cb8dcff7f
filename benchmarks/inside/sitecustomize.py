"""Lets a running service be asked which asyncio tasks it has: a signal makes it write their names.

Python imports a module of this name at its start where PYTHONPATH finds one; `benchmarks.soak` sees to that.
"""

import os
import signal


def _tell(*_: object) -> None:
    import asyncio
    import json

    # all_tasks() wants a running loop, and a signal's handler may run between two of its steps.
    tasks = [task for task in list(asyncio.tasks._all_tasks) if not task.done()]  # type: ignore[attr-defined]
    names = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in tasks)
    path = os.path.join(os.environ["BENCH_TASKS"], str(os.getpid()))
    with open(path + ".new", "w") as file:
        json.dump(names, file)
    os.replace(path + ".new", path)


if "BENCH_TASKS" in os.environ:
    signal.signal(signal.SIGRTMIN + 1, _tell)  # SIGUSR1 and SIGUSR2 have a meaning already
