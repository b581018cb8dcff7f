"""The batcher in stories: a hand-moved clock, and `take` called as a runner would."""

from __future__ import annotations

import asyncio
import threading
from asyncio import Future
from collections.abc import Callable, Iterator
from typing import ClassVar, cast

import pytest

from tests.engine.fakes import rows
from tests.helpers.clock import Clock
from workbench.core.messages import GUEST_PRIORITY, InferRequest, InferResponse, ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.arbiter import GRANTED, Arbiter, UnlimitedScheduler
from workbench.engine.batch_policy import AlonePolicy, BatchPolicy, WindowPolicy
from workbench.engine.batcher import Batch, Batcher, QueuePolicy, WaitFor
from workbench.engine.costs import CostTable
from workbench.engine.request_queue import PendingRequest
from workbench.errors import Cancelled, DeadlineExceeded, QueueFull, Unavailable


class Runner:
    """A waker that counts how often it is woken, and that can be slept on."""

    def __init__(self) -> None:
        self.wakes = 0
        self.rung = threading.Event()

    def wake(self) -> None:
        self.wakes += 1
        self.rung.set()


class Story:
    loops: ClassVar[list[asyncio.AbstractEventLoop]] = []

    def __init__(
        self,
        policy: BatchPolicy,
        max_queue_size: int = 100,
        clock: Callable[[], float] | None = None,
        **queue: float,
    ) -> None:
        self.hand = Clock()
        self.clock = clock or self.hand
        self.batcher = Batcher(policy, QueuePolicy(max_queue_size, **queue), self.clock)  # type: ignore[arg-type]
        self.loop = asyncio.new_event_loop()
        self.loops.append(self.loop)

    def submit(self, count: int = 1, key: ShapeKey = ((2,),), **request: object) -> PendingRequest:
        future: Future[InferResponse] = self.loop.create_future()
        asked = InferRequest("m", {"x": rows(*[0.0] * count)}, **request)  # type: ignore[arg-type]
        ticket = PendingRequest(asked, future, count, key, ("y",), self.clock())
        self.batcher.submit(ticket)
        return ticket

    def take(self) -> Batch:
        runner = Runner()
        batch = self.batcher.next(runner)
        assert isinstance(batch, Batch)
        self.batcher.ran(runner, batch, 0.0)
        assert self.batcher.next(runner, leaving=True) is None
        return batch


@pytest.fixture(autouse=True)
def _loops_are_closed() -> Iterator[None]:
    yield
    while Story.loops:
        Story.loops.pop().close()


@pytest.fixture
def story() -> Story:
    return Story(WindowPolicy(4))


def test_what_gathered_while_runners_were_busy_goes_together(story: Story) -> None:
    tickets = [story.submit() for _ in range(3)]
    batch = story.take()
    assert batch.tickets == tickets
    assert batch.reason is ReleaseReason.IDLE
    assert story.batcher.depth == 0


def test_a_batch_is_never_larger_than_the_policy_says_and_keeps_the_order(story: Story) -> None:
    tickets = [story.submit(rows) for rows in (1, 2, 2, 1, 3)]
    taken = [story.take() for _ in range(3)]
    assert [batch.tickets for batch in taken] == [tickets[:2], tickets[2:4], tickets[4:]]
    assert [batch.reason for batch in taken] == [ReleaseReason.FULL, ReleaseReason.FULL, ReleaseReason.IDLE]


def test_a_request_larger_than_the_best_size_travels_alone(story: Story) -> None:
    large, small = story.submit(6), story.submit(1)
    assert story.take().tickets == [large]
    assert story.take().tickets == [small]


def test_shapes_do_not_mix_and_the_oldest_goes_first(story: Story) -> None:
    first = story.submit(key=((3,),))
    story.hand.now += 1
    others = [story.submit() for _ in range(2)]
    story.hand.now += 1
    again = story.submit(key=((3,),))
    batch = story.take()
    assert batch.tickets == [first, again]
    assert batch.reason is ReleaseReason.SHAPE
    assert story.take().tickets == others


def test_one_more_than_the_queue_holds_is_refused_and_leaves_no_trace() -> None:
    story = Story(WindowPolicy(4), max_queue_size=2)
    story.submit()
    story.submit()
    with pytest.raises(QueueFull, match="2 requests wait for model 'm'"):
        story.submit()
    assert story.batcher.depth == 2
    story.take()
    story.submit()


def test_the_cancelled_the_abandoned_and_the_expired_are_dropped_when_the_batch_is_formed(story: Story) -> None:
    cancelled = story.submit()
    gone = story.submit(abandoned=lambda: True)
    late = story.submit(deadline=story.clock() + 1)
    served = [story.submit(deadline=story.clock() + 3, abandoned=lambda: False) for _ in range(4)]
    cast("Future[InferResponse]", cancelled.promise).cancel()
    story.hand.now += 2
    batch = story.take()
    assert batch.tickets == served
    assert [(ticket, type(error)) for ticket, error in batch.dropped] == [
        (cancelled, Cancelled),
        (gone, Cancelled),
        (late, DeadlineExceeded),
    ]


def test_a_batch_whose_members_are_all_gone_still_tells_of_them(story: Story) -> None:
    story.submit(abandoned=lambda: True)
    batch = story.take()
    assert not batch.tickets
    assert len(batch.dropped) == 1


def test_an_unbatched_model_takes_one_by_one() -> None:
    story = Story(AlonePolicy())
    tickets = [story.submit() for _ in range(2)]
    assert [story.take().tickets for _ in range(2)] == [[tickets[0]], [tickets[1]]]


def test_closing_refuses_what_comes_and_gives_out_what_waits_without_delay() -> None:
    story = Story(WindowPolicy(4, max_queue_delay_s=9.0))
    ticket = story.submit()
    story.batcher.close()
    with pytest.raises(Unavailable, match="being unloaded"):
        story.submit()
    batch = story.take()
    assert batch.tickets == [ticket]
    assert batch.reason is ReleaseReason.DRAIN
    assert story.batcher.next(Runner()) is None


def test_abandoning_hands_back_what_waits(story: Story) -> None:
    tickets = [story.submit() for _ in range(3)]
    assert story.batcher.abandon() == tickets
    assert story.batcher.next(Runner()) is None


def test_an_idle_runner_is_woken_once_and_finds_what_came(story: Story) -> None:
    runner = Runner()
    assert story.batcher.next(runner) == WaitFor(None)
    ticket = story.submit()
    story.batcher.wake()
    story.batcher.wake()
    assert runner.wakes == 1
    batch = story.batcher.next(runner)
    assert isinstance(batch, Batch) and batch.tickets == [ticket]


def test_a_runner_that_wakes_by_itself_is_not_idle_twice(story: Story) -> None:
    runner = Runner()
    story.batcher.next(runner)
    story.batcher.next(runner)
    story.submit()
    story.batcher.wake()
    story.batcher.wake()
    assert runner.wakes == 1


def test_what_one_runner_leaves_wakes_the_next(story: Story) -> None:
    runners = [Runner(), Runner()]
    for runner in runners:
        story.batcher.next(runner)
    for _ in range(9):
        story.submit()
    story.batcher.wake()
    first = next(runner for runner in runners if runner.wakes)
    second = next(runner for runner in runners if not runner.wakes)
    assert isinstance(story.batcher.next(first), Batch)
    assert second.wakes == 1


def test_a_delay_says_for_how_long_nothing_is_due() -> None:
    story = Story(WindowPolicy(4, max_queue_delay_s=0.25))
    ticket = story.submit()
    story.hand.now += 0.0625
    assert story.batcher.next(Runner()) == WaitFor(0.1875)
    story.hand.now += 0.1875
    batch = story.take()
    assert batch.tickets == [ticket]
    assert batch.reason is ReleaseReason.DELAY


def test_a_shape_that_waits_out_a_delay_does_not_hold_up_a_full_batch_of_another() -> None:
    story = Story(WindowPolicy(2, max_queue_delay_s=1.0))
    lone = story.submit(key=((3,),))
    story.hand.now += 0.5
    others = [story.submit() for _ in range(2)]
    assert story.take().tickets == others
    assert story.batcher.next(Runner()) == WaitFor(0.5)
    story.hand.now += 0.5
    assert story.take().tickets == [lone]


def test_a_runner_told_to_leave_takes_nothing_more_and_passes_its_ring_on(story: Story) -> None:
    leaver, stayer = Runner(), Runner()
    story.batcher.next(stayer)
    story.batcher.next(leaver)
    story.submit()
    story.batcher.wake()
    assert (leaver.wakes, stayer.wakes) == (1, 0)
    assert story.batcher.next(leaver, leaving=True) is None
    assert stayer.wakes == 1
    assert story.batcher.depth == 1


# Priorities


PRIORITIES = {"priority_levels": 3, "default_priority": 2, "priority_step_s": 1.0}


def test_a_higher_priority_goes_first_and_within_one_the_order_is_kept() -> None:
    story = Story(WindowPolicy(2), **PRIORITIES)
    asked = (3, 1, 0, 2, 9, 1)  # 0 and 9 are the default, 2
    low, high, default, middle, beyond, high2 = (story.submit(priority=priority) for priority in asked)
    taken = [story.take().tickets for _ in range(3)]
    assert taken == [[high, high2], [default, middle], [beyond, low]]


def test_a_lower_priority_waits_behind_what_comes_within_its_step_and_no_longer() -> None:
    story = Story(WindowPolicy(1), **PRIORITIES)
    low = story.submit(priority=3)
    story.hand.now += 1.9
    before = story.submit(priority=1)
    story.hand.now += 0.2
    after = story.submit(priority=1)
    assert [story.take().tickets for _ in range(3)] == [[before], [low], [after]]


def test_nobody_overtakes_one_that_does_not_fit_any_more() -> None:
    story = Story(WindowPolicy(4), **PRIORITIES)
    first, large, low = story.submit(2), story.submit(3), story.submit(1, priority=3)
    assert [story.take().tickets for _ in range(2)] == [[first], [large, low]]


def test_a_shape_goes_by_its_most_urgent_request() -> None:
    story = Story(WindowPolicy(4), **PRIORITIES)
    common = story.submit()
    story.hand.now += 0.5
    urgent = story.submit(key=((3,),), priority=1)
    assert story.take().tickets == [urgent]
    assert story.take().tickets == [common]


def test_a_share_waits_behind_all_levels_of_the_owner_but_not_for_ever() -> None:
    story = Story(WindowPolicy(1), **PRIORITIES)
    shares = [story.submit(priority=GUEST_PRIORITY) for _ in range(3)]
    story.hand.now += 0.9
    owner = [story.submit(priority=priority) for priority in (0, 3)]
    assert [story.take().tickets for _ in range(3)] == [[owner[0]], [owner[1]], [shares[0]]]
    story.hand.now += 1.2
    late = story.submit()
    assert [story.take().tickets for _ in range(3)] == [[shares[1]], [shares[2]], [late]]


def test_shares_fill_half_of_a_queue_and_the_other_half_is_the_owner_s() -> None:
    story = Story(WindowPolicy(1), max_queue_size=3)
    for _ in range(2):
        story.submit(priority=GUEST_PRIORITY)
    with pytest.raises(QueueFull, match="2 requests wait for model 'm', and those of shares may fill half"):
        story.submit(priority=GUEST_PRIORITY)
    story.submit()
    with pytest.raises(QueueFull, match="as many as max_queue_size allows"):
        story.submit()


# Deadlines


RUN_S = CostTable({1: 0.010, 8: 0.020}, ((2,),))


def test_what_cannot_meet_its_deadline_is_refused_at_once_with_the_numbers() -> None:
    story = Story(WindowPolicy(8, costs=RUN_S))
    with pytest.raises(DeadlineExceeded, match="9 ms cannot be met: the run itself takes 10 ms at the least"):
        story.submit(deadline=story.clock() + 0.009)
    story.submit(deadline=story.clock() + 0.011)
    for _ in range(39):
        story.submit()
    # 40 rows wait; five runs of 8 take 100 ms, and a run of its own 10 ms more
    with pytest.raises(DeadlineExceeded, match=r"40 requests with 40 rows that wait before it: 100 ms.*fewer"):
        story.submit(deadline=story.clock() + 0.109)
    story.submit(deadline=story.clock() + 0.111)
    assert story.batcher.depth == 41


def test_only_those_that_go_before_it_count_against_a_deadline() -> None:
    story = Story(WindowPolicy(8, costs=RUN_S), **PRIORITIES)
    for _ in range(40):
        story.submit()
    assert story.submit(priority=1, deadline=story.clock() + 0.011).priority_delay_s == -1.0


def test_several_runners_work_off_a_queue_together() -> None:
    policy = WindowPolicy(8, costs=RUN_S)
    story = Story(policy)
    story.batcher.configure(policy, QueuePolicy(100), UnlimitedScheduler(), runners=2)
    for _ in range(40):
        story.submit()
    story.submit(deadline=story.clock() + 0.061)


def test_nothing_is_refused_for_what_was_never_measured() -> None:
    story = Story(WindowPolicy(8))
    for _ in range(50):
        story.submit(deadline=story.clock() + 1e-6)


def test_settings_limit_the_wait_and_a_request_may_ask_for_less_but_not_for_more() -> None:
    story = Story(WindowPolicy(8, costs=RUN_S), timeout_s=0.005)  # shorter than a run: it limits the wait alone
    long, short = story.submit(deadline=story.clock() + 99), story.submit()
    story.hand.now += 0.006
    dropped = story.take().dropped
    assert [ticket for ticket, _ in dropped] == [long, short]
    assert "past its timeout of 0.005 s" in str(dropped[0][1])


# Sizes


def test_a_batch_is_padded_to_the_next_size_that_may_run() -> None:
    story = Story(WindowPolicy(8, sizes=(1, 4)))
    for count in (1, 2, 3):
        story.submit(count)
    batch = story.take()
    assert (batch.rows, batch.run_rows) == (6, 8)
    story.submit(1)
    lone = story.take()
    assert (lone.rows, lone.run_rows) == (1, 1)
    assert [(each.rows, each.run_rows) for each in story.batcher.singly(batch)] == [(1, 1), (2, 4), (3, 4)]


# A device that is shared


class Shared(Story):
    """Two models on one core; this one's requests, and another's run that is in the way."""

    def __init__(self) -> None:
        policy = WindowPolicy(4, costs=CostTable({1: 0.010, 4: 0.010}, ((2,),)))
        super().__init__(policy)
        arbiter = Arbiter(1)
        self.place, self.other = arbiter.place(1, 1.0), arbiter.place(1, 1.0)
        self.batcher.configure(policy, QueuePolicy(100), self.place, runners=2)
        assert self.other.ask(Runner(), self.hand.now) == GRANTED
        self.began = self.hand.now

    def other_ends(self, again: Runner | None = None) -> None:
        self.other.leave(self.began, 0.01, self.hand.now, again)


def test_a_batch_grows_while_its_runner_waits_for_the_device() -> None:
    story, runner, second = Shared(), Runner(), Runner()
    tickets = [story.submit()]
    waits = story.batcher.next(runner)
    assert isinstance(waits, WaitFor) and waits.wait_s is not None
    tickets.append(story.submit())
    assert story.batcher.next(second) == WaitFor(None)  # one at the gate is enough
    story.other_ends()
    assert (runner.wakes, second.wakes) == (1, 0)
    batch = story.batcher.next(runner)
    assert isinstance(batch, Batch) and batch.tickets == tickets


def test_a_runner_that_comes_back_may_take_the_place_of_one_that_waits() -> None:
    story, waits, comes = Shared(), Runner(), Runner()
    story.submit()
    story.batcher.next(waits)
    story.other_ends()
    assert isinstance(story.batcher.next(comes), Batch)
    assert story.batcher.next(waits) == WaitFor(None)
    story.submit()
    story.batcher.wake()
    assert waits.wakes == 2  # the gate's, and this one


@pytest.mark.parametrize("how", ["abandoned", "polled", "leaving"])
def test_a_runner_with_nothing_left_to_run_gives_up_its_place(how: str) -> None:
    story, runner, third = Shared(), Runner(), Runner()
    story.submit()
    story.batcher.next(runner)
    if how == "abandoned":
        story.batcher.abandon()
    elif how == "polled":
        assert story.batcher.poll() is not None
    story.batcher.next(runner, leaving=how == "leaving")
    story.other_ends(again=third)
    assert story.other.ask(third, story.hand.now) == GRANTED


def test_the_device_is_given_back_even_where_the_model_has_more_to_run() -> None:
    story, runner, third = Shared(), Runner(), Runner()
    story.other_ends()
    tickets = [story.submit() for _ in range(9)]
    batch = story.batcher.next(runner)
    assert isinstance(batch, Batch) and batch.tickets == tickets[:4]
    assert story.other.ask(third, story.hand.now) > GRANTED
    story.hand.now += 0.01
    story.batcher.ran(runner, batch, 0.02)
    assert third.wakes == 1
    assert isinstance(story.batcher.next(runner), WaitFor)
    assert story.other.ask(third, story.hand.now) == GRANTED
