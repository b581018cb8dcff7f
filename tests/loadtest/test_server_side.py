"""What the service says of itself, joined to a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from workbench.api import Workbench
from workbench.client.client import AsyncClient
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Constant
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.server_side import ServerSide, second_of

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
        "routed": True,
        "epoch": "",
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


class Replaying(AsyncClient):
    """Snapshots as a service would send them, and then nothing more."""

    def __init__(self, *told: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.told = told
        self.over = asyncio.Event()

    async def snapshots(
        self, interval_s: float = 0.5, *, changes: bool = False
    ) -> AsyncGenerator[dict[str, Any], None]:
        for each in self.told:
            yield each
        self.over.set()
        await asyncio.Event().wait()


async def followed(*told: tuple[str, str, str], version: str | None = None) -> list[str]:
    """The marks' words on a model's (epoch of the service, version, epoch of the model), second by second."""
    client = Replaying(
        *(
            {**snapshot(entry(version, 1, 1, 1.0) | {"epoch": epoch, "routed": True}), "epoch": service, "time": at}
            for at, (service, version, epoch) in enumerate(told, 1001)
        )
    )
    side = ServerSide(client, "m", version)
    side.began_at = 1000.0
    following = asyncio.ensure_future(side.follow())
    await asyncio.wait_for(client.over.wait(), 30)
    following.cancel()
    await asyncio.wait([following])
    assert len(side.seconds) == len(told)
    return [f"{mark.at_s:g}: {mark.text}" for mark in side.marks]


async def test_a_model_that_is_replaced_during_a_test_is_marked() -> None:
    stayed = "; the figures are of both, and the requests stayed as they were"
    assert await followed(("s", "1", "a"), ("s", "1", "a")) == []
    assert await followed(("s", "1", "a"), ("s", "1", "b")) == [
        f"2: version 1 was loaded anew, or stopped batching{stayed}"
    ]
    assert await followed(("s", "1", "a"), ("s", "2", "b"), ("s", "2", "b")) == [
        f"2: version 2 took the place of version 1{stayed}"
    ]
    # A new worker loads all models anew; that is said already.
    assert await followed(("s", "1", "a"), ("t", "1", "b")) == ["2: the service began anew"]


@pytest.mark.parametrize("ours", [True, False], ids=["controlled", "as a foreign server"])
def test_a_test_whose_model_was_replaced_just_before_its_end_says_so(wb: Workbench, ours: bool) -> None:
    wb.load("m", models.identity(shape=("batch", 2)))
    token = wb.client.token
    handle = start(Plan(Target("m", wb.url, token=token, controlled=ours), Constant(50), duration_s=600.0))
    until(lambda: handle.progress.done)
    wb.load("m", models.identity(shape=("batch", 3)), force=True)
    handle.cancel()
    found = handle.result(60)
    (said,) = [*(mark.text for mark in found.marks), *(note for note in found.notes if "replaced" in note)]
    if "took the place" not in said:  # the service's own figures, which come each second, were not there yet
        assert said == (
            "the model was replaced during the test: input 'x' was FP32 [-1, 2] and is FP32 [-1, 3]; "
            "output 'y' was FP32 [-1, 2] and is FP32 [-1, 3]; the figures are of both"
        )
