"""Pending requests of one model version, in shape groups, and the runners that take batches from them.

The event loop's thread submits; each runner's own thread takes. What waits in a group is the staged batch: it grows
until a runner takes it, so nothing freezes a batch that could still be larger.
"""

from __future__ import annotations

import threading
from asyncio import Future
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from workbench.core.messages import InferRequest, InferResponse, ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.policy import BatchPolicy
from workbench.errors import Cancelled, DeadlineExceeded, QueueFull, Unavailable, WorkbenchError


@dataclass(slots=True, eq=False)
class Ticket:
    """An accepted request on its way. Its future ends exactly once, on the event loop's thread."""

    request: InferRequest
    future: Future[InferResponse]
    rows: int
    key: ShapeKey
    outputs: tuple[str, ...]
    accepted_at: float
    ended: bool = False
    """Its future was resolved, and it was counted. Belongs to the event loop's thread."""

    def lost(self, now: float) -> WorkbenchError | None:
        """Why it need not be run any more. Asked from a runner's thread; reading a future's flag is safe there."""
        request = self.request
        if self.future.done() or (request.abandoned is not None and request.abandoned()):
            return Cancelled("the caller left before the request was run")
        if request.deadline is not None and now >= request.deadline:
            return DeadlineExceeded(
                f"the request waited {now - self.accepted_at:.3f} s for a runner, past its timeout; it was not run"
            )
        return None


@dataclass(slots=True)
class Batch:
    """What a runner runs at once, and what was dropped while it was formed."""

    tickets: list[Ticket]
    reason: ReleaseReason
    formed_at: float
    dropped: list[tuple[Ticket, WorkbenchError]] = field(default_factory=list)


class _Group:
    """Requests of one shape, oldest first."""

    __slots__ = ("rows", "tickets")

    def __init__(self) -> None:
        self.tickets: deque[Ticket] = deque()
        self.rows = 0


class Batcher:
    """`submit`, `wake` and `poll` belong to one thread, `take` to the runners', everything else to any."""

    def __init__(self, policy: BatchPolicy, max_queue_size: int, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._max_queue_size = max_queue_size
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[ShapeKey, _Group] = {}
        self._depth = 0
        self._idle: list[SimpleQueue[None]] = []
        self._closed = False

    @property
    def depth(self) -> int:
        """Requests that wait for a runner."""
        return self._depth

    def configure(self, policy: BatchPolicy, max_queue_size: int) -> None:
        """Takes effect with the next batch and the next request; what waits stays."""
        with self._lock:
            self._policy = policy
            self._max_queue_size = max_queue_size
        self.wake()

    def submit(self, ticket: Ticket) -> None:
        """Accept it, or raise QueueFull or Unavailable, in which case nothing was kept.

        Wakes nobody: call `wake` once for all that came in together, so that they can share a batch.
        """
        with self._lock:
            if self._closed:
                raise Unavailable(f"model {ticket.request.model!r} is being unloaded; try again")
            if self._depth >= self._max_queue_size:
                raise QueueFull(
                    f"{self._depth} requests wait for model {ticket.request.model!r}, as many as max_queue_size "
                    "allows; try again later, or send fewer at once"
                )
            group = self._groups.get(ticket.key)
            if group is None:
                group = self._groups[ticket.key] = _Group()
            group.tickets.append(ticket)
            group.rows += ticket.rows
            self._depth += 1

    def wake(self) -> None:
        """Have an idle runner look."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(None)

    def poll(self) -> Batch | None:
        """The next batch, if one is due now."""
        with self._lock:
            return self._form()[0]

    def take(self, bell: SimpleQueue[None], leaving: Callable[[], bool]) -> Batch | None:
        """The next batch; blocks on `bell` while there is none. None once `leaving`, or closed and empty.

        `bell` is the calling runner's own, and is rung at most once for each time that it waits here.
        """
        while True:
            with self._lock:
                batch, wait_s = (None, None) if leaving() else self._form()
                if batch is not None:
                    if self._depth and self._idle:
                        self._idle.pop().put(None)
                    return batch
                if leaving() or (self._closed and not self._depth):
                    return None
                self._idle.append(bell)
            try:
                bell.get(timeout=wait_s)
            except Empty:
                with self._lock:
                    if bell in self._idle:
                        self._idle.remove(bell)
                    else:
                        bell.get()  # rung between the time-out and the lock: take that ring away

    def _form(self) -> tuple[Batch | None, float | None]:
        """A batch, or for how long there will be none unless more comes (None: for ever). Holds the lock."""
        now = self._clock()
        soonest: float | None = None
        # Oldest head first: a shape that few send is not starved by one that many send.
        groups = self._groups.items()
        if len(self._groups) > 1:
            groups = sorted(groups, key=lambda item: item[1].tickets[0].accepted_at)  # type: ignore[assignment]
        for key, group in groups:
            plan = self._policy.plan(group.rows, now - group.tickets[0].accepted_at)
            if plan.rows == 0 and not self._closed:
                soonest = plan.wait_s if soonest is None else min(soonest, plan.wait_s)
                continue
            reason = plan.reason
            if self._closed:
                reason = ReleaseReason.DRAIN
            elif reason is ReleaseReason.IDLE and len(self._groups) > 1:
                reason = ReleaseReason.SHAPE
            return self._pop(key, group, plan.rows or group.rows, Batch([], reason, now)), None
        return None, soonest

    def _pop(self, key: ShapeKey, group: _Group, rows: int, batch: Batch) -> Batch:
        taken = 0
        while group.tickets and (not batch.tickets or taken + group.tickets[0].rows <= rows):
            ticket = group.tickets.popleft()
            group.rows -= ticket.rows
            self._depth -= 1
            error = ticket.lost(batch.formed_at)
            if error is None:
                batch.tickets.append(ticket)
                taken += ticket.rows
            else:
                batch.dropped.append((ticket, error))
        if not group.tickets:
            del self._groups[key]
        return batch

    def close(self) -> None:
        """Refuse what comes; what waits is still taken, at once. Wakes every idle runner."""
        with self._lock:
            self._closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Have every idle runner look, as after a change of how many there should be."""
        with self._lock:
            while self._idle:
                self._idle.pop().put(None)

    def abandon(self) -> list[Ticket]:
        """Close, and hand back what still waits, to be ended by the caller with an error."""
        with self._lock:
            self._closed = True
            left = [ticket for group in self._groups.values() for ticket in group.tickets]
            self._groups.clear()
            self._depth = 0
        self.wake_all()
        return left
