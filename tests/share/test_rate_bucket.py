from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.share.rate_bucket import RateBucket


def test_a_second_s_worth_at_once_and_then_one_each_interval() -> None:
    bucket = RateBucket(4.0, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0.0] * 4
    assert bucket.take(100.0) == pytest.approx(0.25)
    assert bucket.take(100.2) == pytest.approx(0.05)
    assert bucket.take(100.25) == 0.0
    assert bucket.take(100.25) > 0
    assert [bucket.take(200.0) for _ in range(5)].count(0.0) == 4, "silence saves up one second's worth, and no more"


def test_less_than_one_a_second() -> None:
    bucket = RateBucket(0.1, 0.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(1.0) == pytest.approx(9.0)
    assert bucket.take(10.0) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = RateBucket(1.0, 1000.0)
    assert bucket.take(1000.0) == 0.0
    assert bucket.take(0.0) == pytest.approx(1.0)
    assert bucket.take(1000.5) == pytest.approx(0.5)
    assert bucket.take(1001.0) == 0.0


def test_many_at_once_are_taken_together_or_not_at_all() -> None:
    bucket = RateBucket(8.0, 0.0)
    assert [bucket.take(0.0, 3) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.125)]
    assert bucket.take(0.0, 2) == 0.0
    assert bucket.take(0.375, 3) == 0.0


def test_more_than_a_full_bucket_holds_are_lent_by_a_full_one() -> None:
    bucket = RateBucket(2.0, 0.0)
    assert bucket.take(0.0, 10) == 0.0
    assert bucket.take(0.0) == pytest.approx(4.5)
    assert bucket.take(4.5) == 0.0
    assert bucket.take(4.5, 10) == pytest.approx(1.0)


def test_a_bucket_may_hold_more_than_a_second_s_worth() -> None:
    bucket = RateBucket(1.0, 0.0, least=3)
    assert [bucket.take(0.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(1.0)]


@given(st.floats(0.01, 1000), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), max_size=200))
def test_never_more_rows_than_the_rate_a_burst_and_the_last_request(
    rate: float, calls: list[tuple[float, int]]
) -> None:
    bucket, now, taken, largest = RateBucket(rate, 0.0), 0.0, 0, 0
    for pause, rows in calls:
        now += pause
        largest = max(largest, rows)
        taken += rows if bucket.take(now, rows) == 0.0 else 0
    assert taken <= max(bucket.burst, largest) + now * rate + 1e-3


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 3), max_size=200))
def test_never_more_than_the_rate_and_a_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = RateBucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now) == 0.0
    assert taken <= bucket.burst + now * rate + 1e-3


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 3), max_size=50))
def test_who_waits_as_long_as_is_said_is_let_in(rate: float, pauses: list[float]) -> None:
    bucket, now = RateBucket(rate, 0.0), 0.0
    for pause in pauses:
        now += pause
        while wait_s := bucket.take(now):
            now += wait_s + 1e-9
