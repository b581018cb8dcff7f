"""Orders the waiting requests of one shape by time of arrival and priority.

A request's queue key is the time at which it was accepted plus the delay of its priority; the smallest key goes first.
So a low priority waits behind requests that came up to the difference later, and never behind later ones: no request
starves. Among equal priorities the order is that of arrival.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import msgspec

from workbench.core.messages import InferRequest, InferResponse
from workbench.engine.admission import ShapeKey
from workbench.errors import Cancelled, DeadlineExceeded, WorkbenchError

NEVER = float("inf")


class Completion(Protocol):
    """Takes the outcome of a request: a future, or an object that avoids the event-loop iteration a future costs.

    These methods must not raise: they would keep other requests of the batch from their outcome.
    """

    def done(self) -> bool:
        """True where the caller has left. May be called from any thread."""
        ...

    def set_result(self, result: InferResponse, /) -> None: ...

    def set_exception(self, exception: WorkbenchError, /) -> None: ...


class PendingRequest(msgspec.Struct, eq=False):
    """An accepted request. Its promise is completed exactly once, on the event loop's thread."""

    request: InferRequest
    promise: Completion
    rows: int
    key: ShapeKey
    outputs: tuple[str, ...]
    accepted_at: float
    expires_at: float = NEVER
    """The earlier of its own deadline and the model's queue timeout."""
    priority_delay_s: float = 0.0
    """0 for the default priority, less for a higher one."""
    ended: bool = False
    """True once its promise is completed and it was counted. Belongs to the event loop's thread."""

    @property
    def queue_key(self) -> float:
        """Queue order: the smallest goes first."""
        return self.accepted_at + self.priority_delay_s

    def lost(self, now: float) -> WorkbenchError | None:
        """The reason not to run it any more. Called from a runner's thread; reading its flag is safe there."""
        request = self.request
        if self.promise.done() or (request.abandoned is not None and request.abandoned()):
            return Cancelled("the caller left before the request was run")
        if now >= self.expires_at:
            return DeadlineExceeded(
                f"Request timeout expired: it waited {now - self.accepted_at:.3f} s for a runner, past its timeout of "
                f"{self.expires_at - self.accepted_at:.3g} s; it was not run"
            )
        return None


class RequestQueue:
    """One shape's requests. Not safe for threads."""

    __slots__ = ("_levels", "_queue", "key", "rows")

    def __init__(self, key: ShapeKey) -> None:
        self.key = key
        self.rows = 0
        self._queue: deque[PendingRequest] = deque()
        """All requests, while they have one priority delay, as they mostly do."""
        self._levels: dict[float, deque[PendingRequest]] | None = None
        """Requests by priority delay, where they have several; no queue is empty."""

    def __bool__(self) -> bool:
        return bool(self._levels or self._queue)

    def add(self, ticket: PendingRequest) -> None:
        self.rows += ticket.rows
        queue = self._queue
        if self._levels is None:
            if not queue or queue[0].priority_delay_s == ticket.priority_delay_s:
                queue.append(ticket)
                return
            self._levels = {queue[0].priority_delay_s: queue}
        self._levels.setdefault(ticket.priority_delay_s, deque()).append(ticket)

    @property
    def first(self) -> PendingRequest:
        """The request with the smallest queue key."""
        return self._queue[0] if self._levels is None else min(self._levels.values(), key=_queue_key)[0]

    @property
    def since(self) -> float:
        """When the first request was accepted."""
        return self.first.accepted_at

    def tickets(self) -> list[PendingRequest]:
        """All requests, the higher priorities first."""
        return [ticket for queue in self._queues() for ticket in queue]

    def ahead(self, priority_delay_s: float) -> tuple[int, int]:
        """(requests, rows) before one with this delay that comes now. A lower bound: requests of a lower priority with
        a smaller key are not counted, nor more than one row of each request where priorities are mixed."""
        if self._levels is None:
            return (
                (len(self._queue), self.rows)
                if self and self._queue[0].priority_delay_s <= priority_delay_s
                else (0, 0)
            )
        count = sum(len(queue) for each, queue in self._levels.items() if each <= priority_delay_s)
        return count, count

    def take(
        self, rows: int, now: float
    ) -> tuple[list[PendingRequest], list[tuple[PendingRequest, WorkbenchError]], int]:
        """The next requests, up to `rows` rows but one at least; those dropped on the way; the rows taken."""
        tickets: list[PendingRequest] = []
        dropped = []
        taken = 0
        until: float | None = None
        queue = self._queue
        if self._levels is not None:
            queue, until = self._next_level()
        while queue:
            ticket = queue[0]
            if until is not None and ticket.queue_key > until:
                queue, until = self._next_level()
                continue
            if tickets and taken + ticket.rows > rows:
                break
            queue.popleft()
            self.rows -= ticket.rows
            error = ticket.lost(now)
            if error is None:
                tickets.append(ticket)
                taken += ticket.rows
            else:
                dropped.append((ticket, error))
            if not queue and self._levels is not None:
                del self._levels[ticket.priority_delay_s]
                queue, until = self._next_level()
        return tickets, dropped, taken

    def _next_level(self) -> tuple[deque[PendingRequest], float | None]:
        """The queue of the priority that is next, and up to which key; None where it is the only one."""
        levels = self._levels
        if levels is not None and len(levels) == 1:
            (self._queue,) = levels.values()
            self._levels = levels = None
        if levels is None:
            return self._queue, None
        first = min(levels.values(), key=_queue_key)
        return first, min(queue[0].queue_key for queue in levels.values() if queue is not first)

    def _queues(self) -> list[deque[PendingRequest]]:
        return [self._queue] if self._levels is None else [self._levels[each] for each in sorted(self._levels)]


def _queue_key(queue: deque[PendingRequest]) -> tuple[float, float]:
    return queue[0].queue_key, queue[0].priority_delay_s
