"""Processes that a test looks for."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

GENERATOR = "workbench.loadtest.generator.generator_main"


def generators(pid: int | None = None) -> list[psutil.Process]:
    """The load generators below a process; without `pid`, below this one."""
    found = []
    for each in psutil.Process(pid or os.getpid()).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile, or is a zombie
            if GENERATOR in each.cmdline():
                found.append(each)
    return found


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
