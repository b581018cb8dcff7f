"""Work for a forked process that leaves another one behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from workbench.convert.forked import Say


def with_a_grandchild(pids: Path, then: Callable[[], object]) -> Callable[[Say], None]:
    """Work that forks a process which never ends, writes both numbers down, and goes on with `then`."""

    def work(say: Say) -> None:
        if not (grandchild := os.fork()):
            while True:
                time.sleep(60)
        part = pids.with_suffix(".part")
        part.write_text(f"{os.getpid()} {grandchild}")
        part.rename(pids)
        then()

    return work


def sleep() -> None:
    time.sleep(600)
