"""When copies may run, with a clock that is moved by hand."""

from __future__ import annotations

import pytest

from workbench.versions.copy_pace import (
    FAILED_REST_S,
    LONGEST_REST_S,
    MOST_COPIES,
    QUIET_RUNS,
    QUIET_S,
    SHARE,
    CopyPace,
)


def spent(pace: CopyPace, run_s: float, seconds: float) -> tuple[float, int]:
    """(the part of the time that copies take, how many ran) where each copy of a run takes `run_s`, and calls come all
    the time."""
    now, busy, copies = 0.0, 0.0, 0
    while now < seconds:
        pace.called(now)
        while wait_s := pace.wait_s(now):
            now += min(wait_s, QUIET_S / 2)
            pace.called(now)
        took = run_s * pace.copies
        now, busy, copies = now + took, busy + took, copies + pace.copies
        pace.ran(pace.copies, took, now)
    return busy / now, copies


def test_copies_take_their_share_of_the_time_and_no_more() -> None:
    pace = CopyPace()
    pace.answered(1e-3)
    part, _ = spent(pace, 1e-3, 10)
    assert abs(part - SHARE) < 0.01
    assert pace.copies == 1, "a run of copies is no longer than one of the callers"


def test_a_slower_shadow_gets_less_of_the_time_not_more() -> None:
    pace = CopyPace()
    pace.answered(1e-3)
    part, _ = spent(pace, 0.1, 100)
    assert part < SHARE / 4


def test_short_runs_are_put_together_up_to_a_callers_run() -> None:
    pace = CopyPace()
    pace.answered(10e-3)
    spent(pace, 1e-5, 1)
    assert pace.copies == MOST_COPIES
    for expected in (MOST_COPIES, MOST_COPIES // 4):  # the second time it is no chance any more
        pace.ran(MOST_COPIES, 40e-3, 1.0)
        assert pace.copies == expected


def test_one_long_run_is_followed_by_its_share_of_rest_and_two_by_more() -> None:
    pace = CopyPace()
    pace.answered(1e-3)
    pace.called(0.0)
    rests = []
    for _ in range(2):
        pace.ran(1, 0.1, 0.0)
        pace.called(1e9)  # calls come all the time
        rests.append(pace.wait_s(0.0))
    assert rests == [pytest.approx(0.1 * (1 / SHARE - 1)), LONGEST_REST_S]


def test_where_no_call_comes_copies_do_not_rest() -> None:
    pace = CopyPace()
    pace.answered(1e-3)
    pace.called(0.0)
    for _ in range(2):
        pace.ran(1, 0.1, 0.0)
    assert pace.wait_s(0.0) == pytest.approx(QUIET_RUNS * 0.1)
    assert pace.wait_s(0.31) == 0
    pace.called(0.31)
    assert pace.wait_s(0.31) > 0.2


def test_failures_rest_for_longer_and_longer_and_one_success_ends_that() -> None:
    pace = CopyPace()
    pace.called(1e9)
    waits = []
    for _ in range(12):
        pace.ran(1, 1e-3, 0.0, failed=True)
        waits.append(pace.wait_s(0.0))
    assert waits[:3] == [FAILED_REST_S, 2 * FAILED_REST_S, 4 * FAILED_REST_S]
    assert waits[-1] == LONGEST_REST_S
    pace.ran(1, 1e-4, 0.0)
    assert pace.wait_s(0.0) < FAILED_REST_S
