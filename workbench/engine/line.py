"""Requests that wait: those of one shape, in the order of their turns.

A request of level L, accepted at t, has its turn at t + (L - 1) * step; who has the earliest turn goes first. So one
of a lower level waits behind those of the highest that came up to (L - 1) * step later, and behind none that came
after: nobody starves, whatever the others send. Within a level the order is that of arrival.
"""

from __future__ import annotations

from asyncio import Future
from collections import deque
from dataclasses import dataclass

from workbench.core.messages import InferRequest, InferResponse
from workbench.engine.admission import ShapeKey
from workbench.errors import Cancelled, DeadlineExceeded, WorkbenchError

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Ticket:
    """An accepted request on its way. Its future ends exactly once, on the event loop's thread."""

    request: InferRequest
    future: Future[InferResponse]
    rows: int
    key: ShapeKey
    outputs: tuple[str, ...]
    accepted_at: float
    expires_at: float = NEVER
    """When it is of no use any more: its own deadline, or what the model's settings let it wait."""
    level: int = 1
    turn: float = 0.0
    ended: bool = False
    """Its future was resolved, and it was counted. Belongs to the event loop's thread."""

    def lost(self, now: float) -> WorkbenchError | None:
        """Why it need not be run any more. Asked from a runner's thread; reading a future's flag is safe there."""
        request = self.request
        if self.future.done() or (request.abandoned is not None and request.abandoned()):
            return Cancelled("the caller left before the request was run")
        if now >= self.expires_at:
            return DeadlineExceeded(
                f"the request waited {now - self.accepted_at:.3f} s for a runner, past its timeout of "
                f"{self.expires_at - self.accepted_at:.3g} s; it was not run"
            )
        return None


class Line:
    """One shape's requests. Not safe for threads."""

    __slots__ = ("levels", "rows")

    def __init__(self) -> None:
        self.levels: dict[int, deque[Ticket]] = {}
        """By level, in the order of arrival; none is empty."""
        self.rows = 0

    def add(self, ticket: Ticket) -> None:
        queue = self.levels.get(ticket.level)
        if queue is None:
            queue = self.levels[ticket.level] = deque()
        queue.append(ticket)
        self.rows += ticket.rows

    @property
    def first(self) -> Ticket:
        """Whose turn it is."""
        return self._next()[0]

    def tickets(self) -> list[Ticket]:
        """All, level by level."""
        return [ticket for level in sorted(self.levels) for ticket in self.levels[level]]

    def ahead(self, level: int) -> tuple[int, int]:
        """(requests, rows) that go before one of this level that comes now, or fewer: those of lower levels whose turn
        is earlier are not counted, nor more than one row of each request where levels are mixed."""
        if len(self.levels) == 1:
            ((only, queue),) = self.levels.items()
            return (len(queue), self.rows) if only <= level else (0, 0)
        count = sum(len(queue) for each, queue in self.levels.items() if each <= level)
        return count, count

    def take(self, rows: int, now: float) -> tuple[list[Ticket], list[tuple[Ticket, WorkbenchError]], int]:
        """Those next in turn, up to `rows` rows but one at least; those dropped on the way; the rows taken."""
        taken = 0
        tickets: list[Ticket] = []
        dropped = []
        while self.levels and taken < rows:
            queue = self._next()
            until = NEVER if len(self.levels) == 1 else self._second(queue)
            while queue and queue[0].turn <= until and (not tickets or taken + queue[0].rows <= rows):
                ticket = queue.popleft()
                self.rows -= ticket.rows
                error = ticket.lost(now)
                if error is None:
                    tickets.append(ticket)
                    taken += ticket.rows
                else:
                    dropped.append((ticket, error))
            if not queue:
                del self.levels[next(level for level, each in self.levels.items() if each is queue)]
            elif queue[0].turn <= until:
                break  # the next in turn does not fit, and nobody overtakes it
        return tickets, dropped, taken

    def _next(self) -> deque[Ticket]:
        queues = self.levels.values()
        return next(iter(queues)) if len(queues) == 1 else min(queues, key=_turn)

    def _second(self, first: deque[Ticket]) -> float:
        return min(_turn(queue)[0] for queue in self.levels.values() if queue is not first)


def _turn(queue: deque[Ticket]) -> tuple[float, int]:
    return queue[0].turn, queue[0].level
