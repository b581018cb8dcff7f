"""Nothing that a measured server started outlives its measurement."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import DidNotStart, running

DAEMON = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("up", flush=True)
time.sleep(60)
"""


def test_a_process_that_left_its_group_is_ended_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running([sys.executable, "-c", DAEMON], log) as started:
        started.wait_until(lambda: "up" in log.read_text(), 30)
        found = started.processes()
        assert len(found) == 2 and started.resident_bytes() > 0
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            assert process.status() == psutil.STATUS_ZOMBIE


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise RuntimeError('no library')"]
    with running(command, tmp_path / "log") as started, pytest.raises(DidNotStart, match=r"status 1: .*no library"):
        started.wait_until(lambda: False, 30)
