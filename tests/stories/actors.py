"""Who appears in the stories: processes that use the service, and the service itself, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.helpers.waiting import until
from workbench.client.shared_service import SharedService
from workbench.rendezvous.service_record import ServiceRecord, ServiceState


def running(shared: SharedService) -> ServiceRecord:
    """What is published once it is Ready."""

    def look() -> ServiceRecord | None:
        record = shared.record()
        return record if record is not None and record.state is ServiceState.READY else None

    return until(look)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def python(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    """The words that it put out, after it has ended well."""
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out.split()


@contextmanager
def full_disk(*pids: int) -> Iterator[None]:
    """For these processes, and those that they start: not a byte can be added to a file."""
    processes = [psutil.Process(pid) for pid in pids]
    _, most = processes[0].rlimit(psutil.RLIMIT_FSIZE)
    for process in processes:
        process.rlimit(psutil.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        for process in processes:
            for each in (process, *process.children(recursive=True)) if process.is_running() else ():
                each.rlimit(psutil.RLIMIT_FSIZE, (most, most))
