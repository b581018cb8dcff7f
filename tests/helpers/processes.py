"""Processes that a test looks for."""

from __future__ import annotations

import os

import psutil

GENERATOR = "workbench.loadtest.generator.generator_main"


def generators(pid: int | None = None) -> list[psutil.Process]:
    """The load generators below a process; without `pid`, below this one."""
    return [each for each in psutil.Process(pid or os.getpid()).children(recursive=True) if GENERATOR in each.cmdline()]


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
