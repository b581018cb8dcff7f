from __future__ import annotations

from workbench.loadtest.analysis.stop_condition import StopCondition
from workbench.loadtest.patterns import Stairs
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.records import OUTCOMES, Records

TARGET = Target("m", "http://127.0.0.1:8080")


def breaking(slo: str = "") -> StopCondition:
    """Stairs of 10, 20, 30/s, a second each, after a second of warm-up."""
    return StopCondition(Plan(TARGET, Stairs(10, 10, 1.0), duration_s=3.0, warm_up_s=1.0, slo=slo))


def stair(number: int, latency_s: float = 0.01, outcome: str = "ok") -> Records:
    count = 10 * (number + 1)
    due = [1.0 + number + k / count for k in range(count)]
    return Records.of(
        [(at, at, at + latency_s, at + latency_s, OUTCOMES.index(outcome), number, 1, 1, 1) for at in due]
    )


def test_a_stair_is_judged_a_moment_after_its_end() -> None:
    watch = breaking("p99<20ms")
    watch.take(stair(0, latency_s=0.03))
    assert watch.broke(2.0) == ""
    assert watch.broke(2.5) == "at 10 requests/s p99<20ms does not hold: 30ms, so the stairs ended there"


def test_stairs_that_hold_go_on() -> None:
    watch = breaking("p99<20ms")
    for number in range(3):
        watch.take(stair(number))
        assert watch.broke(2.6 + number) == ""


def test_without_bounds_errors_break_it() -> None:
    watch = breaking()
    watch.take(stair(0))
    watch.take(stair(1, outcome="rejected"))
    assert watch.broke(4.0) == "at 20 requests/s errors<1% does not hold: 100%, so the stairs ended there"


def test_a_queue_that_grows_breaks_it() -> None:
    watch = breaking()
    watch.take(stair(0))
    watch.take(stair(1)[:9])
    assert watch.broke(4.0) == (
        "at 20 requests/s only 9 a second were answered in time, and a queue grew, so the stairs ended there"
    )


def test_nothing_answered_breaks_it() -> None:
    assert "at 10 requests/s" in breaking().broke(9.0)
