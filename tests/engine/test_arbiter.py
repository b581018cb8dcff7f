"""The fair queue in tables and stories, told the time."""

from __future__ import annotations

import pytest

from workbench.engine.arbiter import GRANTED, HOLD_S, Arbiter, FairQueue, Flow


class FakeWaker:
    def __init__(self) -> None:
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


class Story:
    """Flows on one device; each run is of the length that it is told at its end."""

    def __init__(self, cores: int, *flows: Flow) -> None:
        self.queue = FairQueue(cores)
        self.wakers = {flow: FakeWaker() for flow in flows}
        for flow in flows:
            self.queue.add(flow)

    def ask(self, flow: Flow, now: float) -> bool:
        if self.queue.ask(flow, self.wakers[flow], now) > GRANTED:
            return False
        self.queue.begin(flow, now, None)
        return True

    def leave(self, flow: Flow, began: float, now: float) -> None:
        self.queue.leave(flow, began, now - began, now, None)

    def turns(self, run_s: dict[Flow, float], until_s: float, now: float = 0.0) -> list[Flow]:
        """Whose runs follow each other on one core, where all always have work, and a run takes as long as said."""
        turns = []
        while now < until_s:
            (flow,) = [flow for flow in run_s if self.ask(flow, now)]
            began, now = now, now + run_s[flow]
            self.queue.leave(flow, began, run_s[flow], now, self.wakers[flow])
            turns.append(flow)
        return turns


def test_a_model_that_is_alone_is_never_held_back() -> None:
    flow = Flow(width=2)
    story = Story(2, flow, Flow())
    assert all(story.ask(flow, now) for now in (0.0, 0.001, 0.002))


def test_where_two_compete_the_cores_bound_what_runs_and_one_that_leaves_calls_the_next() -> None:
    busy, quiet = Flow(width=2), Flow(width=2)
    story = Story(2, busy, quiet)
    assert story.ask(busy, 0.0)
    assert not story.ask(quiet, 0.001)
    assert story.wakers[quiet].wakes == 0
    story.leave(busy, 0.0, 0.010)
    assert story.wakers[quiet].wakes == 1
    assert not story.ask(busy, 0.010)  # it has had its turn
    assert story.ask(quiet, 0.010)


def test_a_wide_run_starts_where_any_core_is_free() -> None:
    narrow, wide = Flow(width=1), Flow(width=2)
    story = Story(2, narrow, wide)
    assert story.ask(narrow, 0.0)
    assert story.ask(wide, 0.0)
    assert not story.ask(narrow, 0.0)


def test_a_run_that_takes_long_keeps_nobody_out_for_longer_than_its_hold() -> None:
    stuck, other = Flow(width=2), Flow(width=2)
    story = Story(2, stuck, other)
    assert story.ask(stuck, 0.0)
    wait_s = story.queue.ask(other, story.wakers[other], 0.01)
    assert wait_s == pytest.approx(HOLD_S - 0.01)
    assert story.ask(other, 0.01 + wait_s + 1e-9)


def test_who_has_nothing_to_run_any_more_lets_the_next_in() -> None:
    first, second, third = Flow(), Flow(), Flow()
    story = Story(1, first, second, third)
    assert story.ask(first, 0.0)
    assert not story.ask(second, 0.0)
    assert not story.ask(third, 0.0)
    story.leave(first, 0.0, 0.01)
    assert (story.wakers[second].wakes, story.wakers[third].wakes) == (1, 0)
    story.queue.withdraw(second, 0.01)
    assert story.wakers[third].wakes == 1
    assert story.ask(third, 0.01)


def test_a_model_that_is_unloaded_frees_what_it_held() -> None:
    going, other = Flow(width=2), Flow(width=2)
    story = Story(2, going, other)
    assert story.ask(going, 0.0)
    assert not story.ask(other, 0.0)
    story.queue.remove(going, 0.01)
    assert story.wakers[other].wakes == 1
    assert story.ask(other, 0.01)
    story.leave(other, 0.01, 0.02)


def test_time_is_shared_equally_however_long_the_runs_are() -> None:
    long, short = Flow(), Flow()
    turns = Story(1, long, short).turns({long: 0.050, short: 0.001}, 10.0)
    assert turns.count(long) * 0.050 == pytest.approx(turns.count(short) * 0.001, abs=0.051)


def test_time_is_shared_as_the_settings_say() -> None:
    one, three = Flow(), Flow(share=3.0)
    turns = Story(1, one, three).turns({one: 0.010, three: 0.010}, 20.0)
    assert turns.count(three) / turns.count(one) == pytest.approx(3.0, rel=0.01)


def test_who_was_quiet_has_saved_up_nothing() -> None:
    busy, quiet = Flow(), Flow()
    story = Story(1, busy, quiet)
    story.turns({busy: 0.01}, 10.0)
    turns = story.turns({quiet: 0.01, busy: 0.01}, 10.4, now=10.0)
    assert turns[0] is quiet
    assert abs(turns.count(quiet) - turns.count(busy)) <= 2


def test_runs_on_the_event_loop_count_but_are_not_held_against_it_for_ever() -> None:
    inline, other = Flow(), Flow()
    story = Story(1, other, inline)
    story.queue.charge(inline, 3600.0)
    turns = story.turns({other: 0.01, inline: 0.01}, 1.0)
    first = turns.index(inline)
    assert 0.01 * first == pytest.approx(HOLD_S, abs=0.02)
    assert turns[first:].count(inline) == pytest.approx(len(turns[first:]) / 2, abs=2)


def test_who_comes_late_because_it_must_wake_does_not_come_last() -> None:
    """A model with two runners gets both cores before one that has had more."""
    one, two = Flow(width=2), Flow()
    story = Story(2, one, two)
    assert story.ask(one, 0.0)
    assert not story.ask(two, 0.0)
    story.queue.leave(one, 0.0, 0.01, 0.01, story.wakers[one])
    second = FakeWaker()
    assert story.queue.ask(two, story.wakers[two], 0.01) == GRANTED
    story.queue.begin(two, 0.01, second)
    assert story.wakers[one].wakes == 0
    assert not story.ask(one, 0.01)
    assert story.queue.ask(two, second, 0.01) == GRANTED


def test_places_on_an_arbiter_are_given_back() -> None:
    arbiter = Arbiter(1)
    one, two = arbiter.place(1, 1.0), arbiter.place(1, 1.0)
    waker = FakeWaker()
    assert one.ask(waker, 0.0) == GRANTED
    assert two.ask(waker, 0.0) > GRANTED
    one.close(0.01)
    one.close(0.01)
    assert waker.wakes == 1
    assert two.ask(waker, 0.01) == GRANTED
    one.leave(0.0, 0.02, 0.02, None)  # its last run comes back when it has long been forgotten
