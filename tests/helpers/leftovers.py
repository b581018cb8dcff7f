"""Finds the processes that tests started and did not end."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import psutil

ENDING_S = 10.0
"""How long a process that is about to end may take."""


def left_behind(folder: Path) -> list[str]:
    """One line for each process of this test session that still lives, with the test that started it; ends them all.

    A process of ours is a child, or names the session's temporary `folder` in its command line or environment.
    """
    end = time.monotonic() + ENDING_S
    while (left := _of_ours(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    for process in left:
        try:
            process.kill()
        except psutil.Error:
            pass
    return list(left.values())


def _of_ours(folder: Path) -> dict[psutil.Process, str]:
    me = psutil.Process()
    children = set(me.children(recursive=True))
    above = {me, *me.parents()}
    found = {}
    for process in psutil.process_iter():
        try:
            if process in above or process.status() == psutil.STATUS_ZOMBIE:
                continue
            command, environment = process.cmdline(), _environment(process)
        except psutil.Error:
            continue
        text = " ".join([*command, *environment.values()])
        if process in children or f"{folder}{os.sep}" in text:
            folders = re.search(re.escape(f"{folder}{os.sep}") + r"[^/ ]+", text)
            test = environment.get("PYTEST_CURRENT_TEST") or (folders and folders[0]) or "a test unknown"
            found[process] = f"{test}: {process.pid} {' '.join(command)[:200]}"
    return found


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
