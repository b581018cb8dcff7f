"""The verbs of load tests on the command line: what they print, write, and end with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.loadtest.servers import Process, Script
from workbench.cli import main
from workbench.loadtest.store.run import decode

QUICK = ("--duration", "500ms", "--warm-up", "0")

Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command in a data folder of its own, and gives what it printed: on stderr where its status is 2."""
    monkeypatch.setenv("INFER_WORKBENCH_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: str, status: int = 0) -> str:
        found = main(arguments)
        printed = capsys.readouterr()
        assert found == status, printed
        return printed.err if status == 2 else printed.out

    return run


def test_any_endpoint_can_be_tested_and_its_run_is_kept_listed_and_compared(said: Said, tmp_path: Path) -> None:
    with Process(Script()) as server:
        page, kept = tmp_path / "report.html", tmp_path / "run.json"
        bench = ("bench", "m", "--endpoint", server.url, *QUICK)
        first = said(*bench, "--rate", "100", "--slo", "p99<5s", "--json", str(kept), "--html", str(page))
        assert "p99<5s holds" in first and "m-1" in first
        assert decode(kept.read_bytes()).whole.ok == 50
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        second = said(*bench, "--users", "2", "--compare", "m-1")
        assert "m-1" in second
        run = json.loads(said(*bench, "--rate", "50", "--json", "-"))
        assert run
    assert "m-3" in said("history") and "m-2" in said("history", "m", "--limit", "2")
    assert "m-1" in said("compare", "m-1", "m-2")


def test_what_does_not_hold_is_status_1(said: Said) -> None:
    with Process(Script(delays_s=(0.05,))) as server:
        bench = ("bench", "m", "--endpoint", server.url, *QUICK, "--rate", "50")
        assert "p50<10ms does not hold" in said(*bench, "--slo", "p50<10ms", status=1)
        assert "rate>1000/s does not hold" in said(*bench, "--slo", "rate>1000", status=1)
    with Process(Script(break_after=1)) as server:
        said("bench", "m", "--endpoint", server.url, *QUICK, "--rate", "50", status=1)


def test_inputs_come_from_files(said: Said, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((10, 4), np.float32))
    (tmp_path / "requests.json").write_text("[[[1, 2, 3, 4]], [[1, 2, 3, 4], [5, 6, 7, 8]]]")
    (tmp_path / "times.txt").write_text("0\n0.1\n0.2\n")
    with Process(Script()) as server:
        bench = ("bench", "m", "--endpoint", server.url, *QUICK)
        said(*bench, "--rate", "20", "--inputs", str(tmp_path / "rows.npy"), "--rows", "3")
        said(*bench, "--replay", str(tmp_path / "times.txt"), "--requests", str(tmp_path / "requests.json"))
        wrong = said(*bench, "--rate", "20", "--inputs", str(tmp_path / "none.npy"), status=2)
        assert "cannot be read" in wrong
        assert "replay must be arrival times" in said(*bench, "--replay", str(tmp_path / "requests.json"), status=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate", "0"), "rate must be above 0"),
        (("--rate", "5", "--users", "5"), "rate and users were given"),
        ((), "say how requests are to come"),
        (("--rate", "5", "--duration=-1s"), "duration"),
        (("--rate", "5", "--slo", "p99<20"), "needs a unit of time"),
        (("--rate", "5", "--compare", "m-77"), "m-77"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(said: Said, arguments: tuple[str, ...], words: str) -> None:
    printed = said("bench", "m", "--endpoint", "http://127.0.0.1:1", *arguments, status=2)
    assert words in printed and len(printed.splitlines()) == 1


def test_nobody_who_listens_is_one_line_and_status_2(said: Said) -> None:
    assert "does not answer" in said("bench", "m", "--endpoint", "http://127.0.0.1:1", "--rate", "5", status=2)


@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN], ids=["in front", "in the background"])
def test_ctrl_c_shows_what_was_measured_until_then(tmp_path: Path, inherited: signal.Handlers) -> None:
    """A shell starts what runs in the background with SIGINT ignored."""
    environment = {**os.environ, "INFER_WORKBENCH_DATA_DIR": str(tmp_path)}
    with Process(Script(counts=True)) as server:
        command = [sys.executable, "-m", "workbench", "bench", "m", "--endpoint", server.url, "--rate", "50"]
        with subprocess.Popen(
            [*command, "--duration", "600s", "--warm-up", "0"],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, inherited),
        ) as bench:
            try:
                server.answered(20)
                bench.send_signal(signal.SIGINT)
                printed, _ = bench.communicate(timeout=60)
            finally:
                bench.kill()
    assert bench.returncode == 130
    assert "cut short" in printed
