"""Pending requests of one model version, in lines by shape, and the runners that take batches from them.

The event loop's thread submits; each runner's own thread takes. What waits in a line is the staged batch: it grows
until a runner may run it, so nothing freezes a batch that could still be larger.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from workbench.core.messages import ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.arbiter import GRANTED, Scheduler, UnlimitedScheduler, Waker
from workbench.engine.batch_policy import BatchPlan, BatchPolicy
from workbench.engine.request_queue import NEVER, PendingRequest, RequestQueue
from workbench.errors import DeadlineExceeded, QueueFull, Unavailable, WorkbenchError


@dataclass(slots=True)
class Batch:
    """What a runner runs at once, and what was dropped while it was formed."""

    tickets: list[PendingRequest]
    reason: ReleaseReason
    formed_at: float
    dropped: list[tuple[PendingRequest, WorkbenchError]] = field(default_factory=list)
    rows: int = 0
    run_rows: int = 0
    """With the padding."""


class WaitFor(NamedTuple):
    """There is nothing to run for a runner: its bell will ring, and in `wait_s` seconds (None: not for that) it is to
    look again anyway."""

    wait_s: float | None


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How many requests may wait, for how long, and in what order."""

    max_queue_size: int
    timeout_s: float = 0.0
    """0: as long as they like."""
    priority_levels: int = 1
    default_priority: int = 1
    priority_step_s: float = 0.0

    def handicap_s(self, priority: int) -> float:
        """Of a request that asked for `priority`: 1 is the highest, 0 and what is over the levels is the default, as
        Triton has it."""
        levels = priority - self.default_priority if 0 < priority <= self.priority_levels else 0
        return levels * self.priority_step_s

    def expires_at(self, accepted_at: float, deadline: float | None) -> float:
        """When a request is of no use any more: by its own word, or sooner by the settings'."""
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
        """Those where somebody waits. The last of them stays when it is empty: mostly the next request is its."""
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
        if request.priority:
            ticket.handicap_s = queue.handicap_s(request.priority)
        if limited := request.deadline is not None or queue.timeout_s > 0:
            ticket.expires_at = queue.expires_at(ticket.accepted_at, request.deadline)
        with self._lock:
            if self._closed:
                raise Unavailable(f"model {request.model!r} is being unloaded; try again")
            if self._depth >= queue.max_queue_size:
                raise QueueFull(
                    f"{self._depth} requests wait for model {request.model!r}, as many as max_queue_size "
                    "allows; try again later, or send fewer at once"
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
                self._idle.pop().ring()

    def poll(self) -> Batch | None:
        """The next batch, if one is due now, past the gate."""
        with self._lock:
            now = self._clock()
            found = self._due(now, 1)
            return None if isinstance(found, WaitFor) else self._form(found, now)

    def next(self, bell: Waker, leaving: bool = False) -> Batch | WaitFor | None:
        """What the runner with this bell is to do: run a batch and then say `ran`; pause; or, None, end: where it is
        `leaving`, or all is closed and empty."""
        with self._lock:
            now = self._clock()
            if bell in self._idle:  # it woke by itself, or was rung twice
                self._idle.remove(bell)
            found = WaitFor(None) if leaving else self._due(now, self._runners - self._running)
            if isinstance(found, WaitFor):
                if self._asking is bell:
                    self._asking = None
                    self._gate.withdraw(now)
                if leaving and self._depth and self._idle:  # the ring that it was given is for somebody
                    self._idle.pop().ring()
                if leaving or (self._closed and not self._depth):
                    return None
                self._idle.append(bell)
                return found
            wait_s = self._gate.ask(self._asking or bell, now)
            if wait_s > GRANTED:
                if self._asking in (None, bell):
                    self._asking = bell
                    return WaitFor(wait_s)
                self._idle.append(bell)
                return WaitFor(None)
            if self._asking not in (None, bell):
                self._idle.append(self._asking)
            self._asking = None
            batch = self._form(found, now)
            self._running += 1
            if self._depth and self._idle:
                self._asking = self._idle.pop()
                self._asking.ring()
            self._gate.begin(now, self._asking)
            return batch

    def ran(self, bell: Waker, batch: Batch, spent_s: float) -> None:
        """A batch that `next` gave out is done with, whatever came of it; `spent_s` of it was compute. The runner is
        to ask for the `next` at once."""
        with self._lock:
            self._running -= 1
            again = bell if self._depth and self._asking is None else None
            self._asking = self._asking or again
            self._gate.leave(batch.formed_at, spent_s, self._clock(), again)

    def singly(self, batch: Batch) -> Iterator[Batch]:
        """Its members, each in a batch of its own."""
        for ticket in batch.tickets:
            run_rows = self._policy.padded(ticket.rows)
            yield Batch([ticket], ReleaseReason.ALONE, batch.formed_at, [], ticket.rows, run_rows)

    def close(self) -> None:
        """Refuse what comes; what waits is still taken, at once. Wakes every idle runner."""
        with self._lock:
            self._closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Have every runner that waits look, as after a change of how many there should be."""
        with self._lock:
            for bell in self._idle:
                bell.ring()
            if self._asking is not None:
                self._asking.ring()

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
        """The line that is next, and what to take of it. The earliest turn goes first: a shape that few send is not
        starved by one that many send."""
        lines = self._lines
        if not self._depth:
            return WaitFor(None)
        if len(lines) == 1:
            (line,) = lines.values()
            plan = self._plan(line, now, free) if self._closed else self._policy.plan(line, now, free)
            return (line, plan) if plan.rows else WaitFor(plan.wait_s)
        waits = []
        for line in _in_turn(lines):
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
            count, rows = line.ahead(ticket.handicap_s)
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


def _in_turn(lines: dict[ShapeKey, RequestQueue]) -> Iterator[RequestQueue]:
    """Sorted only where the first is not taken, which needs a queue delay."""
    yield min(lines.values(), key=_turn)
    yield from sorted(lines.values(), key=_turn)[1:]


def _turn(line: RequestQueue) -> float:
    return line.first.turn


def _among_shapes(reason: ReleaseReason) -> ReleaseReason:
    return ReleaseReason.SHAPE if reason is ReleaseReason.IDLE else reason
