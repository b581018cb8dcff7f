"""Runs equal requests that come at once only once: the first is run, the others get its answer. Single flight.

A flight is the completion of the request that is run, and of all that joined it. It goes on while any caller waits.
An error goes to all; but what only the first caller's own timeout, or its leaving, has ended is asked again for the
others, once. All methods but `Flight.left` belong to the event loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from workbench.core.messages import CacheUse, InferRequest, InferResponse, Timings
from workbench.core.ports import Outcome
from workbench.engine.outcomes import outcome_of
from workbench.engine.request_queue import Completion
from workbench.errors import Cancelled, DeadlineExceeded, WorkbenchError

FlightKey = tuple[bytes, int]
"""A request's key and priority: a request joins no run of a lower priority than its own."""

log = logging.getLogger("workbench.engine")


class FlightOwner(Protocol):
    """What flights need of the cache that they are of."""

    clock: Callable[[], float]

    def run(self, request: InferRequest, promise: Completion) -> None:
        """Have the model answer it. Counts its end. Raises what `Deployment.submit` does, which counts that too."""
        ...

    def keep(self, flight: Flight, response: InferResponse) -> None:
        """Take the answer that the model gave."""
        ...

    def count(self, outcome: Outcome) -> None:
        """Count the end of a request that the model did not run."""
        ...


@dataclass(slots=True, eq=False)
class Waiter:
    request: InferRequest
    promise: Completion
    since: float
    again: bool = False
    """Its run was asked for a second time."""

    def left(self) -> bool:
        abandoned = self.request.abandoned
        return self.promise.done() or (abandoned is not None and abandoned())


class Flights:
    """The flights of one model that are under way."""

    def __init__(self, owner: FlightOwner) -> None:
        self._owner = owner
        self._under_way: dict[FlightKey, Flight] = {}
        self._looked_for: dict[Flight, None] = {}
        """Those that are not run yet, since their answer may be found elsewhere."""

    def __len__(self) -> int:
        return len(self._under_way)

    def join(self, key: bytes, request: InferRequest, promise: Completion, now: float) -> bool:
        """Have the request answered by an equal one that is under way; False: there is none."""
        flight = self._under_way.get((key, request.priority))
        if flight is None:
            return False
        flight.waiting.append(Waiter(request, promise, now))
        return True

    def start(self, key: bytes, request: InferRequest, promise: Completion, now: float) -> None:
        """Run it; others may join from now on. Raises what the model's `submit` raises, and then there is no flight."""
        self._start(key, [Waiter(request, promise, now)])

    def look(self, key: bytes, request: InferRequest, promise: Completion, now: float) -> Flight:
        """As `start`, but it is run only when `found` says that there is no answer."""
        flight = self._begin(key, [Waiter(request, promise, now)])
        self._looked_for[flight] = None
        return flight

    def found(self, flight: Flight, response: InferResponse | None) -> None:
        """A flight that was looked for has this answer; None: it is to be run."""
        if flight not in self._looked_for:
            return  # it is run already
        del self._looked_for[flight]
        if response is not None:
            self._over(flight)
            self._count(self._hand_out(flight, response), None)
        elif flight.left():
            self._over(flight)
            self._count([_tell(each, Cancelled("the caller left")) for each in flight.waiting], None)
        else:
            self._run(flight)

    def run_all(self) -> None:
        """Wait for no answer from elsewhere any more."""
        for flight in list(self._looked_for):
            del self._looked_for[flight]
            self._run(flight)

    def _run(self, flight: Flight) -> None:
        try:
            self._owner.run(flight.request(), flight)
        except WorkbenchError as error:
            self.failed(flight, error)

    def _begin(self, key: bytes, waiting: list[Waiter]) -> Flight:
        flight = Flight(self, (key, waiting[0].request.priority), waiting)
        self._under_way[flight.key] = flight
        return flight

    def _start(self, key: bytes, waiting: list[Waiter]) -> None:
        flight = self._begin(key, waiting)
        try:
            self._owner.run(flight.request(), flight)
        except WorkbenchError:
            self._over(flight)
            raise

    def _over(self, flight: Flight) -> None:
        if self._under_way.get(flight.key) is flight:
            del self._under_way[flight.key]

    def answered(self, flight: Flight, response: InferResponse) -> None:
        self._over(flight)
        self._owner.keep(flight, response)
        if len(flight.waiting) == 1:  # counted by the model, whether its caller has left or not
            _tell(flight.waiting[0], response)
        else:
            self._count(self._hand_out(flight, response), Outcome.OK)

    def _hand_out(self, flight: Flight, response: InferResponse) -> list[Outcome]:
        timings, now = response.timings, self._owner.clock()
        formed_at = now - timings.batched_s - timings.ran_s - timings.split_s
        first, *joined = flight.waiting
        ends = [_tell(first, response)]
        for each in joined:
            deadline = each.request.deadline
            if deadline is not None and deadline <= formed_at:
                error = DeadlineExceeded("Request timeout expired while it waited for the run of an equal request")
                ends.append(_tell(each, error))
            else:
                ends.append(_tell(each, _joined(response, each, now)))
        return ends

    def failed(self, flight: Flight, error: WorkbenchError) -> None:
        self._over(flight)
        now = self._owner.clock()
        again = (
            [each for each in flight.waiting[1:] if _is_asked_again(each, now)] if _is_own(flight, error, now) else []
        )
        ends = [_tell(each, error) for each in flight.waiting if each not in again]
        self._count(ends, outcome_of(error))
        if not again:
            return
        for each in again:
            each.again = True
        try:
            self._start(flight.key[0], again)
        except WorkbenchError as refused:
            self._count([_tell(each, refused) for each in again], outcome_of(refused))

    def _count(self, ends: list[Outcome], counted: Outcome | None) -> None:
        """Count how the requests of a flight ended, of which the model itself has counted one as `counted`, if any."""
        if counted in ends:
            ends.remove(counted)
        elif counted is not None:
            ends.pop()
        for each in ends:
            self._owner.count(each)


class Flight:
    """Implements request_queue.Completion for a request that may have several callers."""

    __slots__ = ("_flights", "key", "waiting")

    def __init__(self, flights: Flights, key: FlightKey, waiting: list[Waiter]) -> None:
        self.key = key
        self.waiting = waiting
        """The first one's request is run."""
        self._flights = flights

    def done(self) -> bool:
        """Never: also where all have left the flight must hear of its end. `left` is asked whether to run it."""
        return False

    def request(self) -> InferRequest:
        """The request that is run, which is abandoned only when all callers have left."""
        return msgspec.structs.replace(self.waiting[0].request, abandoned=self.left)

    def left(self) -> bool:
        """True where no caller waits any more. From any thread."""
        return all(each.left() for each in tuple(self.waiting))

    def set_result(self, result: InferResponse, /) -> None:
        self._flights.answered(self, result)

    def set_exception(self, exception: WorkbenchError, /) -> None:
        self._flights.failed(self, exception)


def _joined(response: InferResponse, waiter: Waiter, now: float) -> InferResponse:
    timings = Timings(now - waiter.since, rows=response.timings.rows, cache=CacheUse.JOINED)
    return InferResponse(response.model, response.version, response.outputs, waiter.request.id, timings, response.epoch)


def _is_own(flight: Flight, error: WorkbenchError, now: float) -> bool:
    """Whether the flight ended for a reason of its first caller's only."""
    deadline = flight.waiting[0].request.deadline
    return isinstance(error, Cancelled) or (
        isinstance(error, DeadlineExceeded) and deadline is not None and deadline <= now
    )


def _is_asked_again(waiter: Waiter, now: float) -> bool:
    deadline = waiter.request.deadline
    return not waiter.again and (deadline is None or deadline > now) and not waiter.left()


def _tell(waiter: Waiter, end: InferResponse | WorkbenchError) -> Outcome:
    promise = waiter.promise
    if promise.done():
        return Outcome.CANCELLED
    try:
        if isinstance(end, WorkbenchError):
            promise.set_exception(end)
        else:
            promise.set_result(end)
    except Exception:  # a transport's fault; the others get their answers all the same
        log.exception("a request's answer could not be handed over")
    return outcome_of(end) if isinstance(end, WorkbenchError) else Outcome.OK
