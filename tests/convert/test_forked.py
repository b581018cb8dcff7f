from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.forking import sleep, with_a_grandchild
from tests.helpers.processes import has_ended
from tests.helpers.waiting import until
from workbench.client.load_progress import LoadProgress
from workbench.convert.conversion import Conversion, conversion
from workbench.convert.forked import run_forked
from workbench.errors import Cancelled, DeadlineExceeded, ExecutionError, Unsupported


@pytest.fixture
def converting() -> Iterator[Conversion]:
    with conversion(LoadProgress()) as made:
        yield made


def gone(pids: Path) -> bool:
    return all(
        not psutil.pid_exists(pid) or has_ended(psutil.Process(pid)) for pid in map(int, pids.read_text().split())
    )


def test_what_a_cancelled_export_started_is_ended_with_it(converting: Conversion, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stop = threading.Thread(target=lambda: (until(pids.exists), converting.abandoned.set()))
    stop.start()
    with pytest.raises(Cancelled, match="the export was stopped"):
        run_forked(with_a_grandchild(pids, sleep), converting, "the export", 60)
    stop.join()
    until(lambda: gone(pids))


def test_what_an_export_left_running_is_ended_and_not_waited_for(converting: Conversion, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    run_forked(with_a_grandchild(pids, lambda: None), converting, "the export", 600)
    until(lambda: gone(pids))

    def refuse() -> None:
        raise Unsupported("no such operator")

    with pytest.raises(Unsupported, match="no such operator"):
        run_forked(with_a_grandchild(pids, refuse), converting, "the export", 600)
    until(lambda: gone(pids))
    with pytest.raises(ExecutionError, match="ended with exit status 3 before it was done"):
        run_forked(with_a_grandchild(pids, lambda: os._exit(3)), converting, "the export", 600)
    with pytest.raises(DeadlineExceeded, match="took longer than the limit"):
        run_forked(with_a_grandchild(pids, sleep), converting, "the export", 0.5)
    until(lambda: gone(pids))


def test_it_works_with_over_a_thousand_open_files(converting: Conversion, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1030)]
    try:
        run_forked(lambda say: (tmp_path / "done").touch(), converting, "the export", 60)
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (tmp_path / "done").exists()


_KERNEL = """
import sys
from pathlib import Path
from tests.helpers.forking import sleep, with_a_grandchild
from workbench.client.load_progress import LoadProgress
from workbench.convert.conversion import conversion
from workbench.convert.forked import run_forked
with conversion(LoadProgress()) as converting:
    run_forked(with_a_grandchild(Path(sys.argv[1]), sleep), converting, "the export", 600)
"""


def test_an_export_ends_with_the_kernel_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with subprocess.Popen([sys.executable, "-c", _KERNEL, str(pids)], cwd=Path(__file__).parents[2]) as kernel:
        until(pids.exists)
        kernel.kill()
    until(lambda: gone(pids))
