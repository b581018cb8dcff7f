"""Searches and sweeps on a real service, and stairs on a server that breaks where it is known to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from tests.loadtest.servers import Process, Script
from workbench.api import Workbench
from workbench.client import sync
from workbench.client.shared_service import Address
from workbench.errors import InvalidInput, ModelNotFound
from workbench.loadtest.generator.target import prepare
from workbench.loadtest.job import LoadTestJob, start
from workbench.loadtest.patterns import Constant, Stairs, Users
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.report.multi_run import grid_for, search, sweep
from workbench.loadtest.store.recording import Recording
from workbench.loadtest.store.run import Run, RunState

END_S = 120.0

Found = tuple[Run, Recording]


def searched(plan: Plan) -> Run:
    prepared = sync.run(prepare(plan))
    handle: LoadTestJob[Found] = LoadTestJob(plan, lambda handle: search(handle, prepared))
    run, recording = handle.result(END_S)
    assert recording in handle.recordings
    return run


def test_a_search_finds_the_rate_that_a_server_holds() -> None:
    """Eight connections, each answered after 100 ms: 80 requests/s at most, and no queue below that."""
    with Process(Script(delays_s=(0.1,))) as server:
        slo = "p99<500ms,errors<1%"
        run = searched(Plan(Target("m", server.url), Constant(100), duration_s=1.0, connections=8, slo=slo))
    assert run.kind == "search" and run.state is RunState.DONE
    best = max((point for point in run.points if point.held), key=lambda point: point.offered_per_s)
    assert 40 <= best.offered_per_s <= 100
    assert run.points[-1].offered_per_s == best.offered_per_s
    assert run.whole.duration_s == 1.0  # the figures are those of the confirming run
    assert all(verdict.held for verdict in run.verdicts)


def test_a_search_where_nothing_holds_says_so() -> None:
    with Process(Script(delays_s=(0.05,))) as server:
        plan = Plan(Target("m", server.url), Constant(1), duration_s=1.0, warm_up_s=0.0, slo="p50<1ms")
        prepared = sync.run(prepare(plan))
        handle: LoadTestJob[Found] = LoadTestJob(
            plan, lambda handle: search(handle, prepared, lambda run: handle.cancel())
        )
        run, _ = handle.result(END_S)
    assert not any(point.held for point in run.points)


def test_a_search_that_is_cancelled_keeps_what_it_found() -> None:
    with Process(Script(delays_s=(0.01,))) as server:
        plan = Plan(Target("m", server.url), Constant(1), duration_s=1.0, warm_up_s=0.0, slo="p99<1s")
        prepared = sync.run(prepare(plan))
        handle: LoadTestJob[Found] = LoadTestJob(
            plan, lambda handle: search(handle, prepared, lambda run: handle.cancel())
        )
        run, _ = handle.result(END_S)
    assert len(run.points) == 1


def test_a_search_needs_to_know_what_for() -> None:
    with Process(Script()) as server, pytest.raises(InvalidInput, match="what must hold"):
        searched(Plan(Target("m", server.url), Constant(1)))


def test_stairs_end_where_something_breaks_and_say_what() -> None:
    """Twelve connections of 100 ms each take 120 requests/s at most; the third stair asks for 140."""
    with Process(Script(delays_s=(0.1,))) as server:
        target, stairs = Target("m", server.url), Stairs(20, 60, 2.0)
        plan = Plan(target, stairs, duration_s=60.0, warm_up_s=0.0, connections=12, slo="p99<1500ms")
        found = start(plan).result(END_S)
    assert found.ended == "broken"
    assert found.reason.startswith("at 140 requests/s only ")
    assert found.reason.endswith("a second were answered in time, and a queue grew, so the stairs ended there")
    assert found.elapsed_s < 30


@pytest.fixture
def target(service: Address, wb: Workbench) -> Target:
    X = np.arange(40, dtype=np.float32).reshape(10, 4)
    wb.load("m", LogisticRegression().fit(X, np.arange(10) % 2))
    return Target("m", service.url, token=service.token)


def test_a_run_against_the_service_has_the_services_own_figures(target: Target) -> None:
    found = start(Plan(target, Users(2), duration_s=2.5, warm_up_s=0.0)).result(END_S)
    assert set(found.rows.counts()) == {"ok"}
    assert found.target["server"]["name"] == "infer-workbench" and found.target["digest"]
    assert found.target["config"]["max_batch_size"] == 64
    assert len(found.server) >= 2
    second = next(each for each in found.server if each.requests.get("ok"))
    assert second.batches > 0
    assert second.stages_s["compute"] > 0 and second.stages_s["decode"] > 0
    assert 0.0 < second.at_s < found.elapsed_s + 1.5
    assert found.rows.rows.max() == 1


def test_the_same_over_grpc(tmp_path: Path) -> None:
    models.save(models.identity(shape=("batch", 2)), tmp_path / "m.onnx")
    with Serve(tmp_path, "--grpc-port", "0", "--load", f"m={tmp_path / 'm.onnx'}").ready() as serve:
        published = serve.published
        token = Path(published["token_file"]).read_text(encoding="utf-8").strip()
        grpc = published["grpc"]
        url = grpc if "://" in grpc else f"grpc://{grpc}"
        target = Target("m", url, token=token, controlled=True, control_url=published["url"])
        found = start(Plan(target, Constant(100), duration_s=1.2, warm_up_s=0.0)).result(END_S)
        assert found.rows.counts() == {"ok": 120}
        assert (found.rows.response_bytes > 0).all() and found.rows.rows.max() == 1
        assert found.server and found.target["digest"]
        with pytest.raises(ModelNotFound):
            start(Plan(replace(target, model="other"), Constant(1)))
        restarting = start(Plan(target, Constant(50), duration_s=60.0))
        serve.process.kill()
        restarting.cancel()
        assert restarting.result(END_S).ended == "cancelled"


def test_a_sweep_tries_settings_and_leaves_the_models_own(target: Target, wb: Workbench) -> None:
    plan = Plan(target, Users(4), duration_s=0.5, warm_up_s=0.1)
    before = wb["m"].status.config
    prepared = sync.run(prepare(plan))
    grid = grid_for(prepared, "batch=1:8,delay=0:2ms")
    seen = list[int]()
    handle: LoadTestJob[Found] = LoadTestJob(
        plan, lambda handle: sweep(handle, prepared, grid, lambda run: seen.append(1))
    )
    run, _ = handle.result(END_S)
    assert run.kind == "sweep" and len(run.points) == 4 == len(seen)
    assert run.summary.endswith("with 4 settings of batch and delay")
    assert (handle.progress.number, handle.progress.count, handle.progress.share) == (4, 4, 1.0)
    assert str(handle.progress).startswith("batch=8, delay=2ms (4 of 4): ended")
    assert [point.label for point in run.points][:2] == [
        "batch=1, delay=0",
        "batch=1, delay=2ms",
    ]
    assert all(point.figures.answered > 0 and point.held for point in run.points)
    until(lambda: wb["m"].status.config == before)  # given back once the service sees that the lender left


def test_a_sweep_needs_a_service_of_ours() -> None:
    with Process(Script()) as server:
        prepared = sync.run(prepare(Plan(Target("m", server.url), Users(1))))
        with pytest.raises(InvalidInput, match="takes a service of the workbench"):
            grid_for(prepared, "batch")
