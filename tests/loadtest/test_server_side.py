"""What the service says of itself, joined to a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil

from tests import models
from tests.helpers.service_process import Serve
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Constant
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.server_side import second_of

STAGES = ("receive", "decode", "queue", "batch", "compute", "split", "encode", "send")


def entry(version: str, ran: int, answered: int, stage_s: float) -> dict[str, Any]:
    return {
        "name": "m",
        "version": version,
        "requests": {"ok": answered, "failed": ran - answered, "invalid": 0},
        "batch_sizes": {"1": 2, "8": 1},
        "release_reasons": {"idle": 3, "full": 0},
        "stages_s": dict.fromkeys(STAGES, stage_s),
        "latency": {"request": {"count": ran}},
        "answered": answered,
        "queued": 1,
        "busy": 0.5,
    }


def snapshot(*entries: dict[str, Any], interval_s: float = 1.0) -> dict[str, Any]:
    other = {**entry("1", 5, 5, 1.0), "name": "other"}
    return {"time": 1010.0, "interval_s": interval_s, "machine": {"cpu": 0.5}, "models": [other, *entries]}


def test_a_snapshot_becomes_means_a_request() -> None:
    second = second_of(snapshot(entry("1", 10, 5, 1.0)), "m", None, 1000.0)
    assert second is not None
    assert second.at_s == 10.0
    assert second.requests == {"ok": 5, "failed": 5}
    assert second.stages_s["compute"] == 0.1  # of all that were run
    assert second.stages_s["send"] == 0.2  # of those that were answered
    assert second.batches == 3 and second.batch_sizes == {1: 2, 8: 1} and second.release_reasons == {"idle": 3}
    assert second.machine == {"cpu": 0.5}


def test_versions_are_added_up_unless_one_was_named() -> None:
    two = snapshot(entry("1", 10, 10, 1.0), entry("2", 30, 30, 1.0))
    both, one = second_of(two, "m", None, 1000.0), second_of(two, "m", "2", 1000.0)
    assert both is not None and one is not None
    assert both.requests == {"ok": 40} and both.stages_s["compute"] == 2 / 40 and both.queued == 2
    assert one.requests == {"ok": 30}


def test_nothing_is_made_of_no_time_or_another_model() -> None:
    assert second_of(snapshot(entry("1", 1, 1, 1.0), interval_s=0.001), "m", None, 1000.0) is None
    assert second_of(snapshot(), "m", None, 1000.0) is None


def test_a_service_that_dies_midway_is_marked_and_what_it_cost_becomes_rows(tmp_path: Path) -> None:
    models.save(models.identity(shape=("batch", 2)), tmp_path / "m.onnx")
    with Serve(tmp_path, "--load", f"m={tmp_path / 'm.onnx'}").ready() as serve:
        published = serve.published
        token = Path(published["token_file"]).read_text(encoding="utf-8").strip()
        handle = start(
            Plan(
                Target("m", published["url"], token=token, controlled=True),
                Constant(100),
                duration_s=600.0,
                warm_up_s=0.0,
                timeout_s=30.0,
            )
        )

        async def worker_and_its_successor() -> None:
            while not (so_far := handle.so_far()) or not so_far.server:
                await asyncio.sleep(0.05)
            (worker,) = psutil.Process(serve.process.pid).children()
            worker.kill()
            while not any(mark.kind == "restart" for mark in (handle.so_far() or so_far).marks):
                await asyncio.sleep(0.05)
            handle.cancel()

        asyncio.run(asyncio.wait_for(worker_and_its_successor(), 60))
        found = handle.result(60)
        serve.stop()
    assert [mark.kind for mark in found.marks] == ["lost", "restart"]
    lost, restart = found.marks
    assert 0 < lost.at_s <= restart.at_s
    counts = found.rows.counts()
    assert counts["ok"] and set(counts) <= {"ok", "connection", "unavailable", "cancelled", "timeout", "invalid"}
    late = found.rows[found.rows.scheduled_s > restart.at_s].counts()
    assert late.get("ok", 0) or found.rows.scheduled_s.max() < restart.at_s + 1
