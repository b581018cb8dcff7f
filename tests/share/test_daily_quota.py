from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.share.daily_quota import DAY_S, DailyQuota, DailyUse

NOON = 20_000 * DAY_S + DAY_S / 2
MIDNIGHT = NOON + DAY_S / 2


def test_so_many_requests_until_midnight_and_then_again() -> None:
    quota = DailyQuota(2, None, 0.0, NOON, None)
    assert [quota.take(1.0, NOON + 1) for _ in range(3)] == [0.0, 0.0, DAY_S / 2 - 1]
    assert quota.use(1.0, NOON + 1) == DailyUse(MIDNIGHT, 2, 0)
    assert [quota.take(DAY_S / 2, MIDNIGHT) for _ in range(3)] == [0.0, 0.0, DAY_S]
    assert quota.use(3 * DAY_S, MIDNIGHT + 2.5 * DAY_S) == DailyUse(MIDNIGHT + 3 * DAY_S)


def test_rows_are_counted_where_all_of_them_are_left() -> None:
    quota = DailyQuota(None, 10, 0.0, NOON, None)
    for rows, waits in ((8, False), (3, True), (2, False), (1, True)):
        assert quota.take(0.0, NOON) == 0.0
        assert bool(quota.take_rows(0.0, NOON, rows)) == waits
    assert quota.use(0.0, NOON) == DailyUse(MIDNIGHT, 2, 10), "what was refused is no request either"
    quota.give_back(10)
    assert quota.use(0.0, NOON) == DailyUse(MIDNIGHT, 1, 0)


def test_a_day_goes_on_after_a_restart_and_one_that_is_over_does_not() -> None:
    used = DailyUse(MIDNIGHT, 5, 50)
    assert DailyQuota(9, 90, 7.0, MIDNIGHT - 1, used).use(7.0, MIDNIGHT - 1) == used
    assert DailyQuota(9, 90, 7.0, MIDNIGHT, used).use(7.0, MIDNIGHT) == DailyUse(MIDNIGHT + DAY_S)
    back = NOON - 3 * DAY_S  # the clock was set back while the service did not run
    assert DailyQuota(9, 90, 7.0, back, used).use(7.0, back) == DailyUse(MIDNIGHT - 3 * DAY_S, 5, 50)


@given(st.lists(st.tuples(st.floats(0, DAY_S / 2, exclude_max=True), st.floats(0, 2 * NOON)), max_size=20))
def test_a_clock_that_is_set_does_not_change_when_the_day_ends(calls: list[tuple[float, float]]) -> None:
    quota = DailyQuota(1, 1, 0.0, NOON, None)
    assert quota.take(0.0, NOON) == quota.take_rows(0.0, NOON, 1) == 0.0
    for now, wall in calls:
        assert quota.take(now, wall) == DAY_S / 2 - now
    assert quota.take(DAY_S / 2, NOON) == 0.0
    assert 0 < quota.take(DAY_S / 2, NOON) <= DAY_S
