"""`%infer bench` and its like in a real IPython shell, against a real service."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output

from tests.loadtest.servers import Process, Script
from tests.models import add_constant
from tests.notebook.cells import Cells
from workbench.api import Workbench
from workbench.loadtest.analysis.compare import Comparison
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.report.report import Report
from workbench.loadtest.store.run import RunState


@pytest.fixture(autouse=True)
def _own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_DATA_DIR", str(tmp_path))


@pytest.fixture
def plus(wb: Workbench) -> Workbench:
    wb.load("plus", add_constant(1.0))
    return wb


def test_a_bench_from_a_cell_is_reported_kept_listed_and_compared(cells: Cells, plus: Workbench) -> None:
    assert repr(cells.run("%infer history plus")).startswith("No load test of 'plus' is kept yet; %infer bench plus")
    report = cells.run("%infer bench plus X --rate 50 --duration 1s --warm-up 0.2s --slo p99<10s -o kept")
    assert isinstance(report, Report)
    assert cells.run("kept") is report
    assert (report.id, report.held) == ("plus-1", True)
    assert report.run.whole.due == 50
    assert report.run.target["version"] == "1"
    assert report.run.server_figures().requests > 0
    assert "compute" in {what for what, _, _ in report.charts["stages"].parts}  # type: ignore[union-attr]
    again = cells.run("%infer bench plus --users 2 --duration 0.5s --warm-up 0s --compare plus-1")
    assert again.run.model == "plus"
    history = cells.run("%infer history plus")
    assert [each.id for each in history] == history.df.index.tolist() == ["plus-2", "plus-1"]
    compared = cells.run("%infer compare plus-1 plus-2")
    assert isinstance(compared, Comparison)
    assert "how requests come" in {each.what for each in compared.differences}
    assert plus.report("plus").id == "plus-2"


def test_in_the_background_a_handle_is_there_at_once_and_can_be_stopped(cells: Cells, plus: Workbench) -> None:
    handle = cells.run("%infer bench plus --rate 20 --duration 60s --bg")
    assert isinstance(handle, LoadTestJob)
    assert not handle.done()
    handle.cancel()
    assert handle.result(30).run.state is RunState.CUT_SHORT


def test_an_interrupt_shows_and_keeps_what_was_measured(
    cells: Cells, plus: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop button, at the moment in which the cell has waited for some figures."""
    result = LoadTestJob.result

    def interrupted(handle: LoadTestJob[Report], timeout: float | None = None) -> Report:
        if timeout is not None and handle.progress.done > 5:
            monkeypatch.setattr(LoadTestJob, "result", result)
            raise KeyboardInterrupt
        return result(handle, timeout)

    monkeypatch.setattr(LoadTestJob, "result", interrupted)
    began = time.monotonic()
    with capture_output() as captured:
        done = cells.shell.run_cell("%infer bench plus --rate 50 --duration 60s --warm-up 0s")
    assert isinstance(done.error_in_exec, KeyboardInterrupt)
    *shown, last = captured.stdout.strip().splitlines()
    assert "plus takes" in "".join(shown)
    assert last.startswith("KeyboardInterrupt: the load test was stopped")
    assert last.endswith("is kept as plus-1")
    assert time.monotonic() - began < 50
    kept = plus.report("plus-1").run
    assert (kept.state, kept.whole.due > 0) == (RunState.CUT_SHORT, True)
    assert not [each for each in threading.enumerate() if each.name.startswith("infer-workbench-history")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bench", "bench needs a model's name"),
        ("bench plus", "say how requests are to come"),
        ("bench plus --rate 0", "rate must be above 0"),
        ("bench plus --rate 10 --duration -3s", "duration must be above 0"),
        ("bench plus --rate 10 --rows x", "rows must be a whole number, got 'x'"),
        ("bench plos --rate 10", "did you mean 'plus'"),
        ("bench plus [[1,2,3]] --rate 10", "axis 1 takes 4"),
        ("bench plus --rate 10 --slo fast", "is no threshold"),
        ("bench plus --rate 10 --compare plus-9", "there is no run 'plus-9'"),
        ("bench plus --slo p99<1s --sweep batch", "say which load"),
        ("compare plus-1", "compare takes two runs"),
        ("compare a b", "no load test has been kept yet"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_leaves_no_run(cells: Cells, plus: Workbench, line: str, said: str) -> None:
    assert said in cells.refused(f"%infer {line}")
    assert plus.history().empty


def test_a_bench_can_be_awaited(cells: Cells, plus: Workbench) -> None:
    cells.run("import workbench")
    cells.shell.user_ns["model"] = plus["plus"]
    report = cells.run("await model.bench(rate=50, duration=0.3, warm_up=0)")
    assert isinstance(report, Report)


def test_another_server_of_the_protocol_can_be_tested(cells: Cells, wb: Workbench) -> None:
    with Process(Script(delays_s=(0.005,))) as server:
        report = cells.run(f"%infer bench m --endpoint {server.url} --rate 50 --duration 0.4s --warm-up 0s")
    assert report.id == "m-1"
    assert report.run.whole.ok == 20
    assert [what for what, _, _ in report.charts["stages"].parts] == ["unsent", "server"]
