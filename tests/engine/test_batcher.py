"""The batcher in stories: a hand-moved clock, and `take` called as a runner would."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import Future
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from tests.engine.fakes import Clock, rows
from workbench.core.messages import InferRequest, InferResponse, ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.batcher import Batch, Batcher, Ticket
from workbench.engine.policy import AlonePolicy, BatchPolicy, WindowPolicy
from workbench.errors import Cancelled, DeadlineExceeded, QueueFull, Unavailable


class Story:
    def __init__(
        self, policy: BatchPolicy, max_queue_size: int = 100, clock: Callable[[], float] | None = None
    ) -> None:
        self.hand = Clock()
        self.clock = clock or self.hand
        self.batcher = Batcher(policy, max_queue_size, self.clock)
        self.loop = asyncio.new_event_loop()

    def submit(self, count: int = 1, key: ShapeKey = ((2,),), **request: object) -> Ticket:
        future: Future[InferResponse] = self.loop.create_future()
        asked = InferRequest("m", {"x": rows(*[0.0] * count)}, **request)  # type: ignore[arg-type]
        ticket = Ticket(asked, future, count, key, ("y",), self.clock())
        self.batcher.submit(ticket)
        return ticket

    def take(self) -> Batch:
        batch = self.batcher.take(SimpleQueue(), lambda: False)
        assert batch is not None
        return batch


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    made = Story(WindowPolicy(4))
    request.addfinalizer(made.loop.close)
    return made


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
    story.loop.close()


def test_the_cancelled_the_abandoned_and_the_expired_are_dropped_when_the_batch_is_formed(story: Story) -> None:
    cancelled = story.submit()
    gone = story.submit(abandoned=lambda: True)
    late = story.submit(deadline=story.clock() + 1)
    served = [story.submit(deadline=story.clock() + 3, abandoned=lambda: False) for _ in range(4)]
    cancelled.future.cancel()
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
    story.loop.close()


def test_closing_refuses_what_comes_and_gives_out_what_waits_without_delay() -> None:
    story = Story(WindowPolicy(4, max_queue_delay_s=9.0))
    ticket = story.submit()
    story.batcher.close()
    with pytest.raises(Unavailable, match="being unloaded"):
        story.submit()
    batch = story.take()
    assert batch.tickets == [ticket]
    assert batch.reason is ReleaseReason.DRAIN
    assert story.batcher.take(SimpleQueue(), lambda: False) is None
    story.loop.close()


def test_abandoning_hands_back_what_waits(story: Story) -> None:
    tickets = [story.submit() for _ in range(3)]
    assert story.batcher.abandon() == tickets
    assert story.batcher.take(SimpleQueue(), lambda: False) is None


def test_an_idle_runner_sleeps_until_it_is_woken(story: Story) -> None:
    taken: list[Batch | None] = []
    runner = threading.Thread(target=lambda: taken.append(story.batcher.take(SimpleQueue(), lambda: False)))
    runner.start()
    ticket = story.submit()
    while runner.is_alive():  # a wake before the runner is asleep finds nobody, and then the runner sees the ticket
        story.batcher.wake()
        runner.join(0.01)
    assert [batch.tickets for batch in taken if batch] == [[ticket]]


def test_a_delay_ends_by_itself() -> None:
    story = Story(WindowPolicy(4, max_queue_delay_s=0.02), clock=time.monotonic)
    ticket = story.submit()
    batch = story.take()
    assert batch.tickets == [ticket]
    assert batch.reason is ReleaseReason.DELAY
    assert batch.formed_at - ticket.accepted_at >= 0.02
    story.loop.close()


def test_a_runner_told_to_leave_takes_nothing_more(story: Story) -> None:
    story.submit()
    assert story.batcher.take(SimpleQueue(), lambda: True) is None
    assert story.batcher.depth == 1
