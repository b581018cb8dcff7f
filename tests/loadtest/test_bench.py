from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.helpers.full_disk import full_disk
from tests.loadtest.servers import Process, Script
from workbench.errors import Conflict, NotFound
from workbench.loadtest import bench as module
from workbench.loadtest.bench import bench
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.patterns import Constant, Pattern, Stairs
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.history import History
from workbench.loadtest.store.run import RunState

END_S = 60.0


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


def plan(server: Process, pattern: Pattern | None = None, **changes: object) -> Plan:
    settings = {"duration_s": 0.5, "warm_up_s": 0.2, **changes}
    return Plan(Target("m", server.url), pattern or Constant(200), **settings)  # type: ignore[arg-type]


def test_a_bench_is_kept_and_reported(history: History) -> None:
    with Process(Script(delays_s=(0.01,))) as server:
        report = bench(plan(server), history).result(END_S)
    assert report.id == "m-1"
    assert history.run("m-1") == report.run
    assert report.run.state is RunState.DONE
    assert report.run.whole.due == 100
    assert report.run.whole.quantile(0.5) == pytest.approx(0.01, rel=0.5)
    assert len(report.requests) == 140
    assert report.not_kept == ""


def test_one_that_is_under_way_is_in_the_history_with_its_figures_so_far(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY_S", 0.1)
    saved = threading.Event()
    save = history.save

    def watched(run: object) -> None:
        save(run)  # type: ignore[arg-type]
        if run.whole.due:  # type: ignore[attr-defined]
            saved.set()

    monkeypatch.setattr(history, "save", watched)
    with Process(Script()) as server:
        handle = bench(plan(server, duration_s=30.0, warm_up_s=0.0), history)
        assert saved.wait(END_S)
        found = history.run("m-1")
        assert (found.state, found.whole.due > 0) == (RunState.RUNNING, True)
        handle.cancel()
        report = handle.result(END_S)
    assert report.run.state is RunState.CUT_SHORT
    assert history.run("m-1") == report.run
    assert "was cut short" in repr(report)


def test_on_a_full_disk_the_test_goes_on_and_its_report_says_so(history: History) -> None:
    with Process(Script()) as server:
        history.list()
        handle = bench(plan(server), history)
        with full_disk():
            report = handle.result(END_S)
    assert "disk of the data folder is full" in report.not_kept
    assert report.not_kept in repr(report)
    assert report.run.whole.due == 100
    assert report.keep() == "m-1"
    assert report.not_kept == ""
    assert history.run("m-1") == report.run


def test_the_stairs_of_a_bench_are_its_points(history: History) -> None:
    with Process(Script()) as server:
        report = bench(plan(server, Stairs(100, 100, 0.25)), history).result(END_S)
    assert [(point.label, point.figures.due) for point in report.run.points] == [("100/s", 25), ("200/s", 50)]


def test_what_cannot_begin_is_not_kept(history: History) -> None:
    with Process(Script()) as server, pytest.raises(NotFound):
        bench(Plan(Target("other", server.url), Constant(10)), history)
    assert history.list() == []


def test_one_that_fails_midway_is_not_left_as_running(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise Conflict("the model is being loaded")

    monkeypatch.setattr(LoadTestJob, "record", fails)
    with Process(Script()) as server, pytest.raises(Conflict):
        bench(plan(server), history).result(END_S)
    found = history.run("m-1")
    assert (found.state, found.reason) == (RunState.CUT_SHORT, "the model is being loaded")
