"""Queues the pending requests of one model version by shape, and forms the batches that runners take.

The event loop's thread submits; each runner's own thread takes. What waits in a line is the staged batch: it grows
until a runner may run it, so nothing freezes a batch that could still be larger.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from workbench.core.messages import GUEST_PRIORITY, ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.arbiter import GRANTED, Scheduler, UnlimitedScheduler, Waker
from workbench.engine.batch_policy import BatchPlan, BatchPolicy
from workbench.engine.request_queue import NEVER, PendingRequest, RequestQueue
from workbench.errors import DeadlineExceeded, QueueFull, Unavailable, WorkbenchError

GUEST_DELAY_S = 1.0
"""Seconds that a share's request is put back: it waits behind those of the owner that came this much later. Longer than
what a share may send at once takes to run, mostly; not for ever, so that no share starves."""


class Batch(msgspec.Struct):
    """The requests of one run, and those dropped while it was formed."""

    tickets: list[PendingRequest]
    reason: ReleaseReason
    formed_at: float
    dropped: list[tuple[PendingRequest, WorkbenchError]] = []
    rows: int = 0
    run_rows: int = 0
    """With the padding."""


class WaitFor(NamedTuple):
    """There is nothing to run for a runner: it will be woken, and in `wait_s` seconds (None: no time is set) it must
    look again anyway."""

    wait_s: float | None


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """Limits how many requests may wait and for how long, and orders them by priority."""

    max_queue_size: int
    timeout_s: float = 0.0
    """0: as long as they like."""
    priority_levels: int = 1
    default_priority: int = 1
    priority_step_s: float = 0.0
    guest_delay_s: float = field(init=False)
    """By which a share's request is put back in the queue: it comes after all levels."""
    max_guests: int = field(init=False)
    """Requests that may wait before one of a share is refused: the other half of the queue is the owner's."""

    def __post_init__(self) -> None:
        below = max(0, self.priority_levels - self.default_priority)
        object.__setattr__(self, "guest_delay_s", below * self.priority_step_s + GUEST_DELAY_S)
        object.__setattr__(self, "max_guests", -(-self.max_queue_size // 2))

    def priority_delay_s(self, priority: int) -> float:
        """Seconds that a request of this `priority` is put back in the queue, negative where it is put forward.

        1 is the highest; 0 and anything over the levels means the default, as in Triton. Shares come after all levels.
        """
        if priority == GUEST_PRIORITY:
            return self.guest_delay_s
        levels = priority - self.default_priority if 0 < priority <= self.priority_levels else 0
        return levels * self.priority_step_s

    def expires_at(self, accepted_at: float, deadline: float | None) -> float:
        """The earlier of a request's own deadline and the settings' timeout."""
        limit = accepted_at + self.timeout_s if self.timeout_s else NEVER
        return limit if deadline is None else min(limit, deadline)


class Batcher:
    """`submit`, `wake` and `poll` belong to one thread, `next` and `ran` to the runners', everything else to any."""

    def __init__(self, policy: BatchPolicy, queue: QueuePolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._queue = queue
        self._clock = clock
        self._gate: Scheduler = UnlimitedScheduler()
        self._runners = 1
        self._lock = threading.Lock()
        self._lines: dict[ShapeKey, RequestQueue] = {}
        """The non-empty queues. The last one stays when it is empty, since the next request mostly has its shape."""
        self._depth = 0
        self._running = 0
        self._idle: list[Waker] = []
        self._asking: Waker | None = None
        """The runner that waits at the gate for all of them: one is enough, since what it takes is decided then."""
        self._closed = False

    @property
    def depth(self) -> int:
        """Requests that wait for a runner."""
        return self._depth

    def configure(self, policy: BatchPolicy, queue: QueuePolicy, gate: Scheduler, runners: int) -> None:
        """Takes effect with the next batch and the next request; what waits stays."""
        with self._lock:
            self._policy = policy
            self._queue = queue
            self._gate = gate
            self._runners = runners
        self.wake()

    def submit(self, ticket: PendingRequest) -> None:
        """Accept it, or raise QueueFull, DeadlineExceeded or Unavailable, in which case nothing was kept.

        Wakes nobody: call `wake` once for all that came in together, so that they can share a batch.
        """
        queue = self._queue
        request = ticket.request
        if request.priority == GUEST_PRIORITY:
            ticket.priority_delay_s = queue.guest_delay_s
            if self._depth >= queue.max_guests:
                raise QueueFull(full_of_guests(self._depth, request.model))
        elif request.priority:
            ticket.priority_delay_s = queue.priority_delay_s(request.priority)
        if limited := request.deadline is not None or queue.timeout_s > 0:
            ticket.expires_at = queue.expires_at(ticket.accepted_at, request.deadline)
        with self._lock:
            if self._closed:
                raise Unavailable(f"model {request.model!r} is being unloaded; try again")
            if self._depth >= queue.max_queue_size:
                raise QueueFull(
                    f"Exceeds maximum queue size: {self._depth} requests wait for model {request.model!r}, as many as "
                    "max_queue_size allows; try again later, or send fewer at once"
                )
            if limited:
                self._refuse_late(ticket)
            line = self._lines.get(ticket.key)
            if line is None:
                line = self._new_line(ticket.key)
            line.add(ticket)
            self._depth += 1

    def wake(self) -> None:
        """Have an idle runner look. While one waits at the gate the batch grows, and it will wake the others."""
        with self._lock:
            if self._idle and self._asking is None:
                self._idle.pop().wake()

    def poll(self) -> Batch | None:
        """The next batch, if one is due now, past the gate."""
        with self._lock:
            now = self._clock()
            found = self._due(now, 1)
            return None if isinstance(found, WaitFor) else self._form(found, now)

    def next(self, waker: Waker, leaving: bool = False) -> Batch | WaitFor | None:
        """The next step of the runner with this waker: run a batch and then call `ran`, wait, or end (None: it is
        `leaving`, or the queue is closed and empty)."""
        with self._lock:
            now = self._clock()
            if waker in self._idle:  # it woke by itself, or was woken twice
                self._idle.remove(waker)
            found = WaitFor(None) if leaving else self._due(now, self._runners - self._running)
            if isinstance(found, WaitFor):
                if self._asking is waker:
                    self._asking = None
                    self._gate.withdraw(now)
                if leaving and self._depth and self._idle:  # it was woken for a request that another must run
                    self._idle.pop().wake()
                if leaving or (self._closed and not self._depth):
                    return None
                self._idle.append(waker)
                return found
            wait_s = self._gate.ask(self._asking or waker, now)
            if wait_s > GRANTED:
                if self._asking in (None, waker):
                    self._asking = waker
                    return WaitFor(wait_s)
                self._idle.append(waker)
                return WaitFor(None)
            if self._asking not in (None, waker):
                self._idle.append(self._asking)
            self._asking = None
            batch = self._form(found, now)
            self._running += 1
            if self._depth and self._idle:
                self._asking = self._idle.pop()
                self._asking.wake()
            self._gate.begin(now, self._asking)
            return batch

    def ran(self, waker: Waker, batch: Batch, spent_s: float) -> None:
        """A batch that `next` gave out is done with, whatever came of it; `spent_s` of it was compute. The runner is
        to ask for the `next` at once."""
        with self._lock:
            self._running -= 1
            again = waker if self._depth and self._asking is None else None
            self._asking = self._asking or again
            self._gate.leave(batch.formed_at, spent_s, self._clock(), again)

    def singly(self, batch: Batch, padded: bool = True) -> Iterator[Batch]:
        """Its members, each in a batch of its own; with padding where the settings ask for it, unless `padded` is
        False."""
        for ticket in batch.tickets:
            run_rows = self._policy.padded(ticket.rows) if padded else ticket.rows
            yield Batch([ticket], ReleaseReason.ALONE, batch.formed_at, [], ticket.rows, run_rows)

    def close(self) -> None:
        """Refuse what comes; what waits is still taken, at once. Wakes every idle runner."""
        with self._lock:
            self._closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Have every runner that waits look, as after a change of how many there should be."""
        with self._lock:
            for waker in self._idle:
                waker.wake()
            if self._asking is not None:
                self._asking.wake()

    def abandon(self) -> list[PendingRequest]:
        """Close, and hand back what still waits, to be ended by the caller with an error."""
        with self._lock:
            self._closed = True
            left = [ticket for line in self._lines.values() for ticket in line.tickets()]
            self._lines.clear()
            self._depth = 0
        self.wake_all()
        return left

    # Below, with the lock held

    def _due(self, now: float, free: int) -> tuple[RequestQueue, BatchPlan] | WaitFor:
        """The next line, and how much to take of it. The smallest queue key goes first, so that a rare shape is not
        starved by a frequent one."""
        lines = self._lines
        if not self._depth:
            return WaitFor(None)
        if len(lines) == 1:
            (line,) = lines.values()
            plan = self._plan(line, now, free) if self._closed else self._policy.plan(line, now, free)
            return (line, plan) if plan.rows else WaitFor(plan.wait_s)
        waits = []
        for line in _in_order(lines):
            plan = self._plan(line, now, free)
            if plan.rows:
                return line, plan._replace(reason=_among_shapes(plan.reason))
            waits.append(plan.wait_s)
        return WaitFor(min(waits))

    def _plan(self, line: RequestQueue, now: float, free: int) -> BatchPlan:
        plan = self._policy.plan(line, now, free)
        if self._closed:
            return BatchPlan(plan.rows or line.rows, 0.0, ReleaseReason.DRAIN)
        return plan

    def _form(self, found: tuple[RequestQueue, BatchPlan], now: float) -> Batch:
        line, plan = found
        tickets, dropped, rows = line.take(plan.rows, now)
        self._depth -= len(tickets) + len(dropped)
        if not line.rows and len(self._lines) > 1:
            del self._lines[line.key]
        policy = self._policy
        return Batch(tickets, plan.reason, now, dropped, rows, policy.padded(rows) if policy.sizes else rows)

    def _new_line(self, key: ShapeKey) -> RequestQueue:
        if not self._depth:
            self._lines.clear()
        line = self._lines[key] = RequestQueue(key)
        return line

    def _refuse_late(self, ticket: PendingRequest) -> None:
        """DeadlineExceeded where it would be late even if all goes as quickly as it ever went."""
        costs = self._policy.costs
        ahead = ahead_rows = 0
        work_s = 0.0
        for key, line in self._lines.items():
            count, rows = line.ahead(ticket.priority_delay_s)
            if rows and (curve := costs.curve(key)) is not None:
                ahead += count
                ahead_rows += rows
                work_s += rows * curve.least_row_s()
        curve = costs.curve(ticket.key)
        # What the settings limit is the wait alone.
        own = curve is not None and ticket.expires_at == ticket.request.deadline
        own_s = curve.least_s(ticket.rows) if own and curve is not None else 0.0
        wait_s = work_s / self._runners
        if ticket.accepted_at + wait_s + own_s <= ticket.expires_at:
            return
        asked_s = ticket.expires_at - ticket.accepted_at
        before = f", after {ahead} requests with {ahead_rows} rows that wait before it: {wait_s * 1e3:.3g} ms"
        raise DeadlineExceeded(
            f"a timeout of {asked_s * 1e3:.3g} ms cannot be met: the run itself takes {own_s * 1e3:.3g} ms at the least"
            f"{before if ahead else ''}; it was not run. Allow more time{', or send fewer at once' if ahead else ''}"
        )


def full_of_guests(waiting: int, model: str) -> str:
    """Why a request of a share is refused where the owner's would be taken."""
    return (
        f"{waiting} requests wait for model {model!r}, and those of shares may fill half of its queue; try again "
        "later, or send fewer at once"
    )


def _in_order(lines: dict[ShapeKey, RequestQueue]) -> Iterator[RequestQueue]:
    """Lines by queue key; sorted only where the first is not taken, which needs a queue delay."""
    yield min(lines.values(), key=_queue_key)
    yield from sorted(lines.values(), key=_queue_key)[1:]


def _queue_key(line: RequestQueue) -> float:
    return line.first.queue_key


def _among_shapes(reason: ReleaseReason) -> ReleaseReason:
    return ReleaseReason.SHAPE if reason is ReleaseReason.IDLE else reason
