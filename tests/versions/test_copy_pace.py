"""When copies may run, with a clock that is moved by hand."""

from __future__ import annotations

from workbench.versions.copy_pace import FAILED_REST_S, LONGEST_REST_S, MOST_COPIES, SHARE, CopyPace


def spent(pace: CopyPace, run_s: float, seconds: float) -> tuple[float, int]:
    """(the part of the time that copies take, how many ran) where each copy of a run takes `run_s`."""
    now, busy, copies = 0.0, 0.0, 0
    while now < seconds:
        now += pace.wait_s(now)
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
    assert part < SHARE / 20


def test_short_runs_are_put_together_up_to_a_callers_run() -> None:
    pace = CopyPace()
    pace.answered(10e-3)
    spent(pace, 1e-5, 1)
    assert pace.copies == MOST_COPIES
    pace.ran(MOST_COPIES, 40e-3, 1.0)
    assert pace.copies == MOST_COPIES // 4


def test_failures_rest_for_longer_and_longer_and_one_success_ends_that() -> None:
    pace = CopyPace()
    waits = []
    for _ in range(12):
        pace.ran(1, 1e-3, 0.0, failed=True)
        waits.append(pace.wait_s(0.0))
    assert waits[:3] == [FAILED_REST_S, 2 * FAILED_REST_S, 4 * FAILED_REST_S]
    assert waits[-1] == LONGEST_REST_S
    pace.ran(1, 1e-4, 0.0)
    assert pace.wait_s(0.0) < FAILED_REST_S
