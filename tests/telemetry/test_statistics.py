from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.helpers.clock import Clock
from tests.telemetry.statuses import ready
from workbench.core.cache_figures import CacheFigures
from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import ModelState
from workbench.core.ports import Outcome
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.request_record import RequestRecord
from workbench.telemetry.statistics import statistics


def test_statistics_are_the_figures_of_each_version_that_is_known() -> None:
    metrics = Metrics(Clock())
    metrics.watch(lambda: [ready("a", "1"), ready("a", "2"), ready("b", "1")])
    for _ in range(3):
        metrics.request_done("a", "2", Outcome.OK, Timings(0.4, 0.1, 0.3, 0.2, 8, 2))
    metrics.request_done("a", "2", Outcome.REJECTED, None)
    refused = RequestRecord("a", "2", b"r", 10.0)
    refused.received_at, refused.sent_at, refused.error = 10.5, 10.75, "queue_full"
    metrics.exchange_done(refused)
    metrics.batch_done("a", "2", 8, 2, ReleaseReason.IDLE, 0.25)
    metrics.batch_done("a", "2", 8, 2, ReleaseReason.IDLE, 0.5)
    metrics.batch_done("a", "2", 1, 1, ReleaseReason.IDLE, 0.125)
    metrics.request_done("gone", "1", Outcome.OK, None)
    state = metrics.state()
    assert [(each.name, each.version) for each in statistics(state)] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert [each.version for each in statistics(state, "a")] == ["1", "2"]
    (found,) = statistics(state, "a", "2")
    assert (found.rows, found.batches, found.last_inference_at) == (17, 3, 1000.0)
    assert (found.success.count, found.failed.count) == (3, 1)
    assert found.success.total_s == pytest.approx(3.0)
    assert found.failed.nanoseconds == 250_000_000
    assert [spent.total_s for spent in (found.queue, found.join, found.compute, found.split)] == pytest.approx(
        [1.2, 0.3, 0.9, 0.6]
    )
    assert [(each.rows, each.compute.count, each.compute.total_s) for each in found.by_size] == [
        (1, 1, 0.125),
        (8, 2, 0.75),
    ]
    assert found.by_size[1].compute.nanoseconds == 750_000_000
    (untouched,) = statistics(state, "b")
    assert (untouched.rows, untouched.by_size, untouched.last_inference_at) == (0, (), 0.0)


def test_the_result_cache_is_counted_as_triton_counts_it_and_of_the_latest_load() -> None:
    metrics = Metrics(Clock())
    figures = CacheFigures(hits=3, joined=2, misses=5, remote=1)
    before = dataclasses.replace(ready("a", loaded_at=1.0), cache=CacheFigures(hits=9), state=ModelState.DRAINING)
    metrics.watch(lambda: [dataclasses.replace(ready("a", loaded_at=2.0), cache=figures), before, ready("b")])
    counts = [(each.cache_hits, each.cache_misses) for each in statistics(metrics.state())]
    assert counts == [(6, 5), (0, 0)]


def test_figures_of_an_interval_have_its_times_by_size() -> None:
    metrics = Metrics(Clock())
    metrics.watch(lambda: [ready("a", "1")])
    metrics.batch_done("a", "1", 4, 1, ReleaseReason.IDLE, 0.5)
    before = metrics.state().figures["a", "1"]
    metrics.batch_done("a", "1", 4, 1, ReleaseReason.IDLE, 0.25)
    assert metrics.state().figures["a", "1"].since(before).batches_s == {4: 0.25}


def test_statistics_begin_anew_with_each_load_and_the_counters_go_on() -> None:
    metrics = Metrics(Clock())
    serving = [ready("a", "1", loaded_at=1.0)]
    metrics.watch(lambda: serving)

    def changed(state: ModelState, **more: Any) -> None:
        metrics.model_changed(dataclasses.replace(serving[0], state=state, **more))

    def infer() -> None:
        metrics.request_done("a", "1", Outcome.OK, Timings(0.4, 0.1, 0.3, 0.2, 8, 1))
        metrics.batch_done("a", "1", 8, 1, ReleaseReason.IDLE, 0.3)

    def counted() -> tuple[int, int, float, int]:
        (found,) = statistics(metrics.state())
        return found.rows, found.success.count, found.last_inference_at, len(found.by_size)

    changed(ModelState.READY)
    infer()
    assert counted() == (8, 1, 1000.0, 1)
    # Loaded anew in place: the load before serves until the new one is routed, and drains then.
    changed(ModelState.READY, loaded_at=2.0, routed=False)
    infer()
    assert counted() == (16, 2, 1000.0, 1)
    changed(ModelState.READY, loaded_at=2.0)
    changed(ModelState.DRAINING)
    changed(ModelState.GONE)
    assert counted() == (0, 0, 0.0, 0)
    serving[0] = ready("a", "1", loaded_at=2.0)
    infer()
    changed(ModelState.READY)  # settings that are live
    assert counted() == (8, 1, 1000.0, 1)
    # Unloaded, and another model loaded under its name.
    changed(ModelState.GONE)
    serving[0] = ready("a", "1", loaded_at=3.0)
    changed(ModelState.READY, routed=False)
    assert counted() == (0, 0, 0.0, 0)
    infer()
    changed(ModelState.READY)
    assert counted() == (8, 1, 1000.0, 1)
    assert metrics.state().figures["a", "1"].rows == 4 * 8
