"""A window over the last minutes adds up what happened in it, whichever spans it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core.messages import ReleaseReason
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Counters
from workbench.telemetry.rolling_windows import LONGEST_S, SPANS, ModelVersion, RollingWindows, WindowTotals, encode

KEY = ("digits", "1")


class House:
    """Totals that grow, and a clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.figures: dict[ModelVersion, Counters] = {KEY: Counters()}
        self.recent = RollingWindows(lambda: self.now)

    def second(self, requests: int, took_s: float = 0.010, key: ModelVersion = KEY, failed: int = 0) -> None:
        """One second, in which so many requests were run, in one batch, and others failed."""
        total = self.figures.setdefault(key, Counters())
        outcomes = [Outcome.OK] * requests + [Outcome.FAILED] * failed
        total.add_requests(outcomes, np.tile([took_s / 2, 0.0, took_s / 2, 0.0], (requests, 1)))
        if requests:
            total.add_batches([(requests, ReleaseReason.IDLE, took_s / 2)])
        self.now += 1.0
        self.recent.note(self.figures)

    def over(self, window_s: float) -> tuple[float, WindowTotals]:
        took_s, found = self.recent.over(window_s, self.figures)
        return took_s, found.get(KEY, WindowTotals())


def test_a_window_has_what_happened_in_it_and_nothing_before() -> None:
    house = House()
    for requests in range(1, 41):
        house.second(requests)
    took_s, amounts = house.over(10)
    assert took_s == 10
    assert amounts.outcomes == {Outcome.OK: sum(range(31, 41))}
    assert (amounts.rows, amounts.batches, amounts.request.count) == (355, 10, 355)
    assert amounts.busy_s == pytest.approx(0.05)


def test_what_has_not_ended_a_span_yet_counts_at_once() -> None:
    house = House()
    house.second(5)
    house.figures[KEY].add_requests([Outcome.OK] * 3, np.full((3, 4), 0.001))
    house.now += 0.3
    took_s, amounts = house.over(60)
    assert took_s == pytest.approx(1.3)
    assert amounts.outcomes[Outcome.OK] == 8


def test_percentiles_are_those_of_the_window() -> None:
    house = House()
    for _ in range(50):
        house.second(10, 0.500)
    for _ in range(10):
        house.second(10, 0.010)
    assert house.over(10)[1].request.quantile(0.99) == pytest.approx(0.010, rel=0.03)
    assert house.over(60)[1].request.quantile(0.50) == pytest.approx(0.500, rel=0.03)


@pytest.mark.parametrize("window_s", [61, 100, 300, 899])
def test_a_long_window_reaches_back_by_spans_of_ten_seconds(window_s: int) -> None:
    house = House()
    for _ in range(1200):
        house.second(2)
    took_s, amounts = house.over(window_s)
    assert window_s <= took_s < window_s + SPANS[-1][0]
    assert amounts.outcomes[Outcome.OK] == 2 * took_s


def test_the_longest_window_can_be_had() -> None:
    house = House()
    for _ in range(1200):
        house.second(1)
    assert house.over(LONGEST_S)[0] == LONGEST_S


def test_a_service_that_has_just_begun_says_how_long_it_has_counted() -> None:
    house = House()
    for _ in range(3):
        house.second(1)
    assert house.over(60)[0] == 3


def test_a_loop_that_stood_still_makes_one_long_span() -> None:
    house = House()
    house.second(1)
    house.now += 20
    house.second(1)
    took_s, amounts = house.over(5)
    assert took_s == 21
    assert amounts.outcomes[Outcome.OK] == 1


def test_totals_that_begin_anew_are_not_taken_for_the_old_ones() -> None:
    house = House()
    house.second(100)
    del house.figures[KEY]
    house.recent.forget([KEY])
    house.second(7)
    assert house.over(1)[1].outcomes[Outcome.OK] == 7
    assert house.over(60)[1].outcomes[Outcome.OK] == 107


def test_quiet_spans_hold_nothing() -> None:
    house = House()
    for _ in range(120):
        house.second(0)
    assert house.recent.over(900, house.figures)[1] == {}


def test_an_entry_tells_of_versions_that_are_there_and_of_those_gone_that_had_requests() -> None:
    house = House()
    house.second(20, key=("digits", "10"))
    house.second(4, failed=1)
    statuses = [
        ModelStatus("digits", "10", ModelState.READY, device="cpu", routed=True, queued=2),
        ModelStatus("idle", "1", ModelState.LOADING),
    ]
    window_s, amounts = house.recent.over(60, house.figures)
    old, new, idle = encode(window_s, amounts, statuses)
    assert (old["version"], old["state"], old["requests"]) == ("1", "Gone", {"ok": 4, "failed": 1})
    assert (new["version"], new["routed"], new["queued"], new["requests_per_s"]) == ("10", True, 2, 10.0)
    assert (new["batch_rows"], new["rows_per_s"]) == (20.0, 10.0)
    assert new["queue_s"] == pytest.approx(0.005)
    assert new["p50_s"] == pytest.approx(0.010, rel=0.03)
    assert new["latency"]["count"] == 20
    assert (idle["state"], idle["requests"], idle["p99_s"], idle["batch_rows"]) == ("Loading", {}, None, None)
