from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.loadtest.generator.load_runner import AFTER_BREAK_S, arrivals_of
from workbench.loadtest.generator.pacer import Pacer, pacer_of, phase_of
from workbench.loadtest.patterns import Constant, Pattern, Ramp, Replay, Sine, Stairs, Users
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.records import WARM_UP

TARGET = Target("digits", "http://127.0.0.1:8080")


def plan(pattern: Pattern, duration_s: float = 10.0, warm_up_s: float = 0.0, seed: int = 0) -> Plan:
    return Plan(TARGET, pattern, duration_s=duration_s, warm_up_s=warm_up_s, seed=seed)


def all_due(pacer: Pacer) -> list[float]:
    due = list[float]()
    while (wait_s := pacer.pace(0.0, len(due))) is not None:
        due.append(wait_s)
    return due


@pytest.mark.parametrize(
    ("rate_per_s", "elapsed_s", "sent", "wait_s"),
    [
        (1, 0, 0, 0),  # the first is due at once
        (1, 0, 1, 1),
        (1, 0.25, 1, 0.75),
        (1, 1, 1, 0),
        (1, 5, 2, -3),  # overdue, and by how much
        (100, 0.5, 50, 0),
        (100, 9.99, 999, 0),
        (100, 9.99, 1000, None),  # the next would be due at the end
        (0.01, 0, 0, 0),
        (0.01, 0, 1, None),
    ],
)
def test_a_constant_rate_is_evenly_spaced(rate_per_s: float, elapsed_s: float, sent: int, wait_s: float | None) -> None:
    found = pacer_of(plan(Constant(rate_per_s))).pace(elapsed_s, sent)
    assert found == (None if wait_s is None else pytest.approx(wait_s, abs=1e-9))


@pytest.mark.parametrize("rate_per_s", [0.1, 1, 3, 7, 1000, 12_345.6])
def test_a_rate_sends_as_many_as_it_says(rate_per_s: float) -> None:
    due = all_due(pacer_of(plan(Constant(rate_per_s))))
    assert len(due) == math.ceil(10 * rate_per_s - 1e-6)
    assert due[-1] < 10
    assert np.diff(due) == pytest.approx(1 / rate_per_s)


def test_a_ramp_sends_ever_faster_and_its_whole_area() -> None:
    due = np.array(all_due(pacer_of(plan(Ramp(10, 1000)))))
    assert len(due) == 5050
    for moment in (1.0, 5.0, 9.0):
        expected = 10 * moment + 990 * moment**2 / 20
        assert (due < moment).sum() == pytest.approx(expected, abs=1)


def test_a_ramp_may_go_down() -> None:
    due = np.array(all_due(pacer_of(plan(Ramp(100, 1)))))
    assert len(due) == 505 and (due < 5).sum() == 377
    assert (np.diff(due) > 0).all()


def test_stairs_rise_and_each_is_a_phase() -> None:
    stairs = plan(Stairs(50, 25, every_s=2.0), duration_s=5.0, warm_up_s=1.0)
    due, phase = all_due(pacer_of(stairs)), phase_of(stairs)
    counted = {number: [phase(each) for each in due].count(number) for number in (WARM_UP, 0, 1, 2, 3)}
    assert counted == {WARM_UP: 50, 0: 100, 1: 150, 2: 100, 3: 0}


def test_a_sine_swings_between_its_rates_and_begins_at_the_first() -> None:
    due = np.array(all_due(pacer_of(plan(Sine(50, 450, period_s=8.0), duration_s=20.0, warm_up_s=1.0)))) - 1.0
    assert (due < 0).sum() == 50  # the warm-up, at the lowest rate
    assert len(due) == 50 + 20 * 250 + round(8 / (2 * math.pi) * 200 * -math.sin(2 * math.pi * 20 / 8))
    for moment in (3.9, 11.9):
        assert (np.diff(due)[(due[1:] > moment) & (due[1:] < moment + 0.2)]).mean() == pytest.approx(1 / 450, rel=0.01)
    for moment in np.arange(1.0, 20.0):
        area = 250 * moment - 8 / (2 * math.pi) * 200 * math.sin(2 * math.pi * moment / 8)
        assert ((due >= 0) & (due < moment)).sum() == pytest.approx(area, abs=1.5)


def test_a_warm_up_comes_at_the_first_rate() -> None:
    ramp = plan(Ramp(100, 300), duration_s=1.0, warm_up_s=2.0)
    due, phase = all_due(pacer_of(ramp)), phase_of(ramp)
    assert [phase(each) for each in due].count(WARM_UP) == 200
    assert len(due) == 400


@pytest.mark.parametrize("pattern", [Constant(1000, poisson=True), Ramp(500, 1500, poisson=True)])
def test_poisson_arrivals_have_exponential_gaps_and_the_right_mean(pattern: Pattern) -> None:
    due = np.array(all_due(pacer_of(plan(pattern, seed=3))))
    assert len(due) == pytest.approx(10_000, rel=0.04)  # 4 standard deviations
    assert (np.diff(due) >= 0).all() and due[-1] < 10
    second = due[(due > 4.5) & (due < 5.5)]  # where a ramp is at its mean
    gaps = np.diff(second) * 1000
    assert gaps.mean() == pytest.approx(1, abs=0.13)
    assert gaps.std() == pytest.approx(1, abs=0.2)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    one, again, other = (all_due(pacer_of(plan(Constant(100, poisson=True), seed=seed))) for seed in (1, 1, 2))
    assert one == again != other


def test_a_replay_comes_when_it_was_recorded() -> None:
    times = (0.0, 0.5, 0.5, 3.0)
    assert all_due(pacer_of(plan(Replay(times)))) == [0.0, 0.5, 0.5, 3.0]
    assert all_due(pacer_of(plan(Replay(times, speed=2)))) == [0.0, 0.25, 0.25, 1.5]
    assert all_due(pacer_of(plan(Replay(times), duration_s=1.0))) == [0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("answered_s", "broken", "due_s"),
    [
        (1.0, False, 1.5),
        (9.4, False, 9.9),
        (9.6, False, None),
        (11.0, False, None),
        (1.0, True, 1.5),
    ],
)
def test_a_user_thinks_after_each_answer_and_stops_at_the_end(
    answered_s: float, broken: bool, due_s: float | None
) -> None:
    arrivals = arrivals_of(plan(Users(1, think_s=0.5)))
    assert arrivals.take(0.0) == 0.0
    arrivals.answered(answered_s, broken)
    assert arrivals.take(math.nextafter(due_s or 99.0, 0)) is None
    assert arrivals.take(99.0) == due_s
    assert arrivals.finished and arrivals.count == 1 + (due_s is not None)


def test_a_user_who_does_not_think_is_due_at_once_but_not_where_the_connection_broke() -> None:
    arrivals = arrivals_of(plan(Users(1)))
    assert arrivals.take(0.0) == 0.0
    arrivals.answered(3.0, False)
    assert arrivals.take(3.0) == 3.0
    arrivals.answered(4.0, True)
    assert arrivals.take(4.0) is None
    assert arrivals.next_s == 4.0 + AFTER_BREAK_S
