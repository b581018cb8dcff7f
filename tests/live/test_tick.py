from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

from tests.live.ticks import FakeService, ticks
from workbench.core.cache_figures import CacheFigures
from workbench.core.histogram import SERVICE, Histogram
from workbench.core.ports import Outcome
from workbench.live.tick import RecentLatency, TickReader, detail


def test_the_versions_of_a_model_are_one() -> None:
    service = FakeService(("digits", "1"), ("digits", "2"), ("other", "1"))
    service.queued = 3
    service.serve(0.001, 0.001)
    service.serve(0.1, 0.1, version="2")
    tick = TickReader().take(service.snapshot())
    figures = tick.models["digits"]
    assert set(tick.models) == {"digits", "other"}
    assert figures.requests_per_s == figures.rows_per_s == 16
    assert figures.queued == 6
    assert figures.busy == pytest.approx(0.202 / 0.25, rel=1e-3)
    assert figures.p50_s == pytest.approx(0.001, rel=0.03)
    assert figures.p99_s == pytest.approx(0.1, rel=0.03)
    assert tick.models["other"].p50_s is None


def test_a_cache_shows_what_was_not_run_in_a_tick_of_all_that_were_looked_for() -> None:
    service, made = FakeService(("digits", "1"), ("digits", "2")), TickReader()
    service.caches = {"1": CacheFigures(hits=5, joined=1, misses=4, remote=2)}
    assert made.take(service.snapshot()).models["digits"].cache_ratio == pytest.approx(8 / 12, rel=1e-3)
    assert made.take(service.snapshot()).models["digits"].cache_ratio is None
    service.caches = {"1": CacheFigures(8, 1, 5, remote=2), "2": CacheFigures(misses=4)}
    assert made.take(service.snapshot()).models["digits"].cache_ratio == pytest.approx(3 / 8)
    service.loaded_at += 1  # loaded anew, so its counts have begun anew
    service.caches = {"1": CacheFigures(9, misses=1)}
    assert made.take(service.snapshot()).models["digits"].cache_ratio == pytest.approx(0.9)
    service.caches = {}
    assert made.take(service.snapshot()).models["digits"].cache_ratio is UNSET


def test_of_the_past_models_that_are_not_told_of_did_nothing_once_they_were_seen() -> None:
    service, made = FakeService(("digits", "1"), ("other", "1")), TickReader()
    service.second()
    service.second(0.1, 0.1)
    service.second()
    found = [made.take(line).models for line in service.past()]
    assert [set(models) for models in found] == [set(), {"digits"}, {"digits"}]
    assert [models["digits"].requests_per_s for models in found[1:]] == [2, 0]
    assert [models["digits"].queued for models in found[1:]] == [None, 0]
    assert found[1]["digits"].p50_s == pytest.approx(0.1, rel=0.03)
    present = made.take(service.snapshot(1.0))
    assert set(present.models) == {"digits", "other"}


def test_percentiles_look_back_on_two_seconds() -> None:
    service = FakeService()
    made = TickReader()
    service.serve(0.5)
    seen = [made.take(service.snapshot(0.5)).models["digits"] for _ in range(6)]
    assert [figures.requests_per_s for figures in seen] == [2, 0, 0, 0, 0, 0]
    assert [figures.p99_s is not None for figures in seen] == [True, True, True, True, False, False]


def test_errors_are_what_is_neither_ok_nor_given_up_by_the_caller() -> None:
    service = FakeService()
    service.serve(0.001)
    for outcome in (Outcome.CANCELLED, Outcome.FAILED, Outcome.EXPIRED, Outcome.REJECTED, Outcome.INVALID):
        service.fail(outcome)
    figures = TickReader().take(service.snapshot(0.5)).models["digits"]
    assert figures.errors_per_s == 8
    assert figures.requests_per_s == 12


def test_an_error_is_told_for_two_seconds_with_the_words_that_its_caller_got() -> None:
    service, made = FakeService(("digits", "1"), ("digits", "2")), TickReader()
    service.fail(Outcome.INVALID, message="x takes FP32")
    service.now += 0.1
    service.fail(Outcome.EXPIRED, version="2", message="too late")
    told = [made.take(service.snapshot(0.5)).models["digits"] for _ in range(5)]
    assert [figures.last_error is not UNSET for figures in told] == [True, True, True, False, False]
    assert told[0].last_error == {"time": 1000.1, "code": "expired", "message": "too late"}
    assert b"last_error" not in msgspec.json.encode(told[-1])


def test_a_tick_says_whether_anybody_was_served() -> None:
    service = FakeService()
    served, idle = ticks(service, 1, 0.001)[0], TickReader().take(service.snapshot())
    assert served.busy
    assert not idle.busy


def test_the_sequence_goes_on_in_an_epoch_shows_a_gap_and_begins_anew_in_the_next() -> None:
    made = TickReader()
    service = FakeService()
    assert [made.take(service.snapshot()).sequence for _ in range(3)] == [0, 1, 2]
    made.interrupted()
    again = FakeService()  # a stream's own numbers begin anew when it does
    assert made.take(again.snapshot()).sequence == 4
    tick = made.take(FakeService(epoch="epoch-2").snapshot())
    assert (tick.epoch, tick.sequence) == ("epoch-2", 0)


def test_what_was_before_a_gap_is_in_no_percentile_after_it() -> None:
    made = TickReader()
    service = FakeService()
    service.serve(0.5)
    made.take(service.snapshot())
    made.interrupted()
    assert made.take(service.snapshot()).models["digits"].p50_s is None


def test_the_detail_of_a_model_adds_its_versions() -> None:
    service = FakeService(("digits", "1"), ("digits", "2"))
    service.serve(0.001, 0.002)
    service.serve(0.001, version="2")
    tick = TickReader().take(service.snapshot())
    found = detail(tick.entries["digits"])
    assert found["versions"] == ["1", "2"]
    assert found["latency"]["request"]["count"] == 3
    assert found["latency"]["request"]["sum_s"] == pytest.approx(0.004)
    assert sorted(found["latency"]["compute"]["buckets"].values()) == [1, 2]
    assert found["batch_sizes"] == {"1": 3}
    assert found["release_reasons"] == {"idle": 3}
    assert found["batches"] == {"idle": {"1": 3}}
    assert found["requests"] == {"ok": 3}
    assert found["batch_rows"] == 1
    assert found["stages_s"]["compute"] == pytest.approx(0.004 / 3, rel=1e-3)
    assert found["stages_s"]["send"] is None  # none was answered


def test_a_service_of_an_older_version_that_tells_nothing_of_its_machine_will_do() -> None:
    snapshot = FakeService().snapshot()
    snapshot.pop("machine", None)
    assert TickReader().take(snapshot).machine == {}


def counted(*durations_s: float) -> Histogram:
    return Histogram.of(SERVICE, durations_s)


def test_recent_latency_covers_the_window_and_no_more() -> None:
    recent = RecentLatency(window_s=1.0)
    recent.add(0.5, counted(0.1))
    recent.add(0.5, counted(0.1, 0.2))
    assert recent.histogram() == counted(0.1, 0.1, 0.2)
    recent.add(0.5, counted(0.3))
    assert recent.histogram() == counted(0.1, 0.2, 0.3)
    recent.add(0.5, counted())
    assert recent.histogram() == counted(0.3)
    recent.add(0.5, counted())
    assert recent.histogram() == counted()


def test_a_tick_longer_than_the_window_still_counts() -> None:
    recent = RecentLatency(window_s=1.0)
    recent.add(0.25, counted(0.1))
    recent.add(30.0, counted(0.2, 0.2))
    assert recent.histogram() == counted(0.2, 0.2)
