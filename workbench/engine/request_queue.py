"""Requests that wait: those of one shape, in the order of their turns.

A request's turn is when it was accepted, plus a handicap that its priority gives it; who has the earliest turn goes
first. So one with a larger handicap waits behind those that came up to the difference later, and behind none that came
after: nobody starves, whatever the others send. Among those with the same handicap the order is that of arrival.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from workbench.core.messages import InferRequest, InferResponse
from workbench.engine.admission import ShapeKey
from workbench.errors import Cancelled, DeadlineExceeded, WorkbenchError

NEVER = float("inf")


class Completion(Protocol):
    """Where the end of a request goes: a future, or whoever does not want the event loop's turn that a future costs.

    None of these raises: others of the same batch come after it.
    """

    def done(self) -> bool:
        """True: nobody waits any more. From any thread."""
        ...

    def set_result(self, result: InferResponse, /) -> None: ...

    def set_exception(self, exception: WorkbenchError, /) -> None: ...


@dataclass(slots=True, eq=False)
class PendingRequest:
    """An accepted request on its way. Its promise is kept exactly once, on the event loop's thread."""

    request: InferRequest
    promise: Completion
    rows: int
    key: ShapeKey
    outputs: tuple[str, ...]
    accepted_at: float
    expires_at: float = NEVER
    """When it is of no use any more: its own deadline, or what the model's settings let it wait."""
    handicap_s: float = 0.0
    """0 is that of most; a higher priority has less."""
    ended: bool = False
    """Its promise was kept, and it was counted. Belongs to the event loop's thread."""

    @property
    def turn(self) -> float:
        """Who has the earliest goes first."""
        return self.accepted_at + self.handicap_s

    def lost(self, now: float) -> WorkbenchError | None:
        """Why it need not be run any more. Asked from a runner's thread; reading its flag is safe there."""
        request = self.request
        if self.promise.done() or (request.abandoned is not None and request.abandoned()):
            return Cancelled("the caller left before the request was run")
        if now >= self.expires_at:
            return DeadlineExceeded(
                f"the request waited {now - self.accepted_at:.3f} s for a runner, past its timeout of "
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
        """All of them, while they have one handicap, as mostly they do."""
        self._levels: dict[float, deque[PendingRequest]] | None = None
        """By handicap, where they have several; none is empty."""

    def __bool__(self) -> bool:
        return bool(self._levels or self._queue)

    def add(self, ticket: PendingRequest) -> None:
        self.rows += ticket.rows
        queue = self._queue
        if self._levels is None:
            if not queue or queue[0].handicap_s == ticket.handicap_s:
                queue.append(ticket)
                return
            self._levels = {queue[0].handicap_s: queue}
        self._levels.setdefault(ticket.handicap_s, deque()).append(ticket)

    @property
    def first(self) -> PendingRequest:
        """Whose turn it is."""
        return self._queue[0] if self._levels is None else min(self._levels.values(), key=_turn)[0]

    @property
    def since(self) -> float:
        """When the one was accepted whose turn it is."""
        return self.first.accepted_at

    def tickets(self) -> list[PendingRequest]:
        """All, the higher priorities first."""
        return [ticket for queue in self._queues() for ticket in queue]

    def ahead(self, handicap_s: float) -> tuple[int, int]:
        """(requests, rows) that go before one with this handicap that comes now, or fewer: those of a lower priority
        whose turn is earlier are not counted, nor more than one row of each request where priorities are mixed."""
        if self._levels is None:
            return (len(self._queue), self.rows) if self and self._queue[0].handicap_s <= handicap_s else (0, 0)
        count = sum(len(queue) for each, queue in self._levels.items() if each <= handicap_s)
        return count, count

    def take(
        self, rows: int, now: float
    ) -> tuple[list[PendingRequest], list[tuple[PendingRequest, WorkbenchError]], int]:
        """Those next in turn, up to `rows` rows but one at least; those dropped on the way; the rows taken."""
        tickets: list[PendingRequest] = []
        dropped = []
        taken = 0
        until: float | None = None
        queue = self._queue
        if self._levels is not None:
            queue, until = self._next_level()
        while queue:
            ticket = queue[0]
            if until is not None and ticket.turn > until:
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
                del self._levels[ticket.handicap_s]
                queue, until = self._next_level()
        return tickets, dropped, taken

    def _next_level(self) -> tuple[deque[PendingRequest], float | None]:
        """The handicap whose turn it is, and until when; None where it is the only one."""
        levels = self._levels
        if levels is not None and len(levels) == 1:
            (self._queue,) = levels.values()
            self._levels = levels = None
        if levels is None:
            return self._queue, None
        first = min(levels.values(), key=_turn)
        return first, min(queue[0].turn for queue in levels.values() if queue is not first)

    def _queues(self) -> list[deque[PendingRequest]]:
        return [self._queue] if self._levels is None else [self._levels[each] for each in sorted(self._levels)]


def _turn(queue: deque[PendingRequest]) -> tuple[float, float]:
    return queue[0].turn, queue[0].handicap_s
