from __future__ import annotations

import random

from workbench.core.messages import ReleaseReason, Timings
from workbench.telemetry.request_record import RequestRecord
from workbench.telemetry.slow_request_log import KEPT, MOMENT_KEPT, MOMENT_S, WINDOW_S, SlowRequestLog, encode


def ended(at: float, took: float, name: str = "") -> RequestRecord:
    return RequestRecord("digits", "1", b"r-1", at - took, at - took, at - took, at, at, at, id=name)


def offer(slowest: SlowRequestLog, *exchanges: RequestRecord) -> None:
    for exchange in exchanges:
        slowest.offer(exchange)


def test_exactly_the_slowest_are_kept_the_slowest_first() -> None:
    slowest = SlowRequestLog()
    rng = random.Random(0)
    exchanges = [ended(100.0 + number / 100, rng.expovariate(10)) for number in range(5000)]
    for start in range(0, len(exchanges), 512):
        offer(slowest, *exchanges[start : start + 512])
    expected = sorted(exchanges, key=lambda exchange: -exchange.duration_s)[:KEPT]
    assert [exchange.id for exchange in slowest.of("digits", 160.0)] == [exchange.id for exchange in expected]
    assert [e.duration_s for e in slowest.of("digits", 160.0)] == [e.duration_s for e in expected]


def test_what_is_older_than_the_window_is_gone_and_makes_room() -> None:
    slowest = SlowRequestLog()
    offer(slowest, *(ended(10.0, 5.0, "old") for _ in range(KEPT // 2)))
    offer(slowest, ended(500.0, 0.001, "new"))
    assert {exchange.id for exchange in slowest.of("digits", 10.0 + WINDOW_S)} == {"old", "new"}
    assert [exchange.id for exchange in slowest.of("digits", 11.0 + WINDOW_S)] == ["new"]
    assert slowest.of("digits", 501.0 + WINDOW_S) == []


def test_what_is_kept_is_bounded_however_long_it_goes_on() -> None:
    slowest = SlowRequestLog()
    for minute in range(100):
        offer(slowest, *(ended(60.0 * minute + 1, number / 1000) for number in range(300)))
    minutes, moments = (len(list(slices.entries(0.0, 6000.0))) for slices in slowest._models["digits"])
    assert minutes <= KEPT * 16
    assert moments <= MOMENT_KEPT * (WINDOW_S / MOMENT_S + 1)
    assert len(slowest.of("digits", 60.0 * 99 + 2)) == KEPT


def test_the_slowest_of_a_moment_are_found_also_in_a_minute_that_had_worse() -> None:
    slowest = SlowRequestLog()
    offer(slowest, *(ended(100.0 + number / 100, 5.0, "worse") for number in range(10 * KEPT)))
    offer(slowest, *(ended(112.0 + number / 1000, number / 1000, f"moment {number}") for number in range(500)))
    found = slowest.of("digits", 130.0, since=112.0, until=113.0)
    assert [exchange.id for exchange in found] == [f"moment {499 - number}" for number in range(MOMENT_KEPT)]
    assert [exchange.id for exchange in slowest.of("digits", 130.0, since=112.0, until=113.0, limit=2)] == [
        "moment 499",
        "moment 498",
    ]
    assert {exchange.id for exchange in slowest.of("digits", 130.0)} == {"worse"}
    assert slowest.of("digits", 130.0, since=114.0) == []


def test_what_is_too_quick_for_its_minute_and_its_moment_is_refused_beforehand() -> None:
    slowest = SlowRequestLog()
    offer(slowest, *(ended(100.0, 5.0) for _ in range(KEPT)))
    assert slowest.least("digits", 100.0) == 5.0
    assert slowest.least("digits", 100.0 + MOMENT_S) == 0.0  # another moment, of the same minute
    assert slowest.offer(ended(100.0 + MOMENT_S, 1.0)) == 0.0


def test_what_is_over_is_kept_whole_and_small() -> None:
    slowest = SlowRequestLog()
    dice = random.Random(2)
    exchanges = []
    for number in range(KEPT):
        exchange = ended(60.0 + number / 2, dice.expovariate(10), f"request {number}")
        exchange.timings = Timings(*(dice.random() for _ in range(4)), 32, 20, ReleaseReason.FULL, 1, [1, 2] * 16)
        exchange.trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        exchanges.append(exchange)
    offer(slowest, *exchanges)
    before = slowest.of("digits", 130.0)
    assert slowest.least("digits", 130.0) == 0.0  # a new minute, and a new moment
    assert [encode(each, 0.0) for each in slowest.of("digits", 130.0)] == [encode(each, 0.0) for each in before]
    minutes, _ = slowest._models["digits"]
    assert sum(len(packed) for _, packed in minutes._packed) < 150 * KEPT


def test_equal_durations_are_no_trouble() -> None:
    slowest = SlowRequestLog()
    offer(slowest, *(ended(1.0, 0.5) for _ in range(3 * KEPT)))
    assert len(slowest.of("digits", 2.0)) == KEPT


def test_a_model_that_is_gone_is_forgotten() -> None:
    slowest = SlowRequestLog()
    offer(slowest, ended(1.0, 0.5))
    slowest.forget_all_but(["other"])
    assert slowest.of("digits", 1.0) == []


def test_one_is_told_with_everything_that_is_known() -> None:
    timings = Timings(0.1, 0.2, 0.3, 0.4, 7, 3, ReleaseReason.FULL, 2, [4, 2, 1])
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    exchange = RequestRecord("m", "3", b"r-9", 1.0, 1.5, 1.75, 2.75, 3.0, 3.5, 100, 200, timings, "", trace, "seven")
    assert encode(exchange, 1000.0) == {
        "time": 1003.5,
        "model": "m",
        "version": "3",
        "outcome": "ok",
        "message": "",
        "duration_s": 2.0,
        "stages_s": {
            "receive": 0.5,
            "decode": 0.25,
            "queue": 0.1,
            "batch": 0.2,
            "compute": 0.3,
            "split": 0.4,
            "encode": 0.25,
            "send": 0.5,
        },
        "rows": 2,
        "batch_size": 7,
        "batch_rows": [4, 2, 1],
        "release_reason": "full",
        "request_bytes": 100,
        "response_bytes": 200,
        "request_id": "r-9",
        "trace_id": "a" * 32,
        "id": "seven",
        "pipeline": [],
    }


def test_of_one_that_failed_only_what_it_came_to_is_told() -> None:
    exchange = RequestRecord(
        "m", "3", b"r-9", 1.0, 1.5, 1.75, sent_at=9.0, error="deadline_exceeded", message="too late"
    )
    told = encode(exchange, 0.0)
    assert (told["outcome"], told["message"], told["duration_s"]) == ("deadline_exceeded", "too late", 7.5)
    assert {stage for stage, seconds in told["stages_s"].items() if seconds is not None} == {"receive", "decode"}
    assert told["rows"] is told["batch_rows"] is told["release_reason"] is None


def test_one_that_never_arrived_whole_took_no_time_of_ours() -> None:
    assert RequestRecord("m", "3", b"r", 1.0, sent_at=9.0, error="cancelled").duration_s == 0.0
