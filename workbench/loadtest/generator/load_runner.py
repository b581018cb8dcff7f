"""Runs a load test: sends requests when a pacer says that they are due, and records how each ends.

An open loop never waits for an answer. When every connection is busy it opens another, up to the plan's bound; beyond
that, requests wait here, and their latency includes the wait since it counts from when they were due.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from workbench.errors import WorkbenchError
from workbench.loadtest.generator.http_connection import Connection
from workbench.loadtest.generator.pacer import Pacer, pacer_of, phase_of
from workbench.loadtest.generator.precise_timer import PreciseTimer, precise_timer
from workbench.loadtest.patterns import Users
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.records import CANCELLED, OK, OUTCOMES, ROW
from workbench.rendezvous.token_file import read_token

BURST = 32
"""A late generator sends this many requests in a row before it reads answers."""

AFTER_BREAK_S = 0.1
"""A user whose connection was refused or broke waits at least this long, so as not to hammer a dead server."""

_CONNECTION: Final = OUTCOMES.index("connection")
_TIMEOUT: Final = OUTCOMES.index("timeout")

_pack = struct.Struct("<ddddbhiii").pack
assert struct.calcsize("<ddddbhiii") == ROW.itemsize
_monotonic = time.monotonic
_nan = math.nan


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes of one request, prepared before the run."""

    data: bytes
    rows: int


class ConnectionOpener(Protocol):
    """Opens connections."""

    async def open(self, owner: LoadRunner) -> Connection:
        """Raises OSError where no connection can be opened."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class RenewableToken:
    """The token that requests carry. Once it is refused, the one in its file is taken."""

    token: str | None = None
    file: str = ""
    """Empty: none is known."""

    def renewed(self, refused: str | None) -> bool:
        """Whether there is another token than `refused` now."""
        if self.token == refused and self.file:
            with suppress(WorkbenchError):
                self.token = read_token(Path(self.file))
        return self.token != refused


def authorization(token: str) -> str:
    return f"Bearer {token}"


class OpenArrivals:
    """The requests of an open loop, due by a pacer's schedule."""

    closed = False
    """Whether an answer triggers the next request."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self.count = 0
        """Requests that were due so far."""
        self.finished = False
        """Whether no request will come any more, except through answers that are still awaited."""
        self.next_s: float | None = 0.0
        """When to call `take` again after it returned None; None: not before `answered`."""

    def take(self, now_s: float) -> float | None:
        """The due time of the next request, if it is due by `now_s`; else None."""
        wait_s = self._pacer.pace(now_s, self.count)
        if wait_s is None:
            self.finished, self.next_s = True, None
            return None
        due_s = now_s + wait_s
        if wait_s > 0:
            self.next_s = due_s
            return None
        self.count += 1
        return due_s

    def answered(self, now_s: float, broken: bool) -> None:
        pass


class UserArrivals:
    """The requests of users, each due `think_s` after the answer to the one before, until `end_s`."""

    closed = True

    def __init__(self, users: Users, end_s: float) -> None:
        self._think_s = users.think_s
        self._end_s = end_s
        self._due = [0.0] * users.count
        self.count = 0
        self.next_s: float | None = 0.0

    @property
    def finished(self) -> bool:
        return not self._due

    def take(self, now_s: float) -> float | None:
        due = self._due
        if not due or due[0] > now_s:
            self.next_s = due[0] if due else None
            return None
        self.count += 1
        return heapq.heappop(due)

    def answered(self, now_s: float, broken: bool) -> None:
        due_s = now_s + self._think_s
        if due_s < self._end_s:
            heapq.heappush(self._due, max(due_s, now_s + AFTER_BREAK_S) if broken else due_s)


Arrivals: TypeAlias = OpenArrivals | UserArrivals


def arrivals_of(plan: Plan) -> Arrivals:
    if isinstance(plan.pattern, Users):
        return UserArrivals(plan.pattern, plan.warm_up_s + plan.duration_s)
    return OpenArrivals(pacer_of(plan))


class LoadRunner:
    """Runs a plan once. `rows` collects finished requests as packed ROWs, for the caller to take."""

    def __init__(
        self,
        plan: Plan,
        requests: Sequence[Request],
        opener: ConnectionOpener,
        said: Callable[[str, str], None],
        token: RenewableToken | None = None,
    ) -> None:
        """`said` is called with the outcome and message of the first request of each outcome other than ok."""
        self._token = token or RenewableToken()
        self._plan = plan
        self._data = [request.data for request in requests]
        self._sizes = [(len(request.data), request.rows) for request in requests]
        self._opener = opener
        self._said = said
        self._told: set[int] = set()
        self._phase_of = phase_of(plan)
        self._arrivals = arrivals_of(plan)
        self._most = plan.pattern.count if isinstance(plan.pattern, Users) else plan.connections
        self._open_connections: set[Connection] = set()
        self._free: list[Connection] = []
        self._waiting: deque[float] = deque()
        """Due times of requests that wait for a free connection, in order."""
        self._opening: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._turn = 0
        self._stopping = False
        self._done = asyncio.Event()
        self._timer: PreciseTimer | None = None
        self.began = _monotonic()
        self.rows = bytearray()
        self.lags_s: list[float] = []
        """How late requests were sent although a connection was free; the caller takes them like `rows`."""
        self.ended_count = self.error_count = 0
        self.held_back = 0
        self.held_back_max_s = 0.0
        self.connections = self.connect_errors = self.reconnects = 0

    @property
    def due_count(self) -> int:
        return self._arrivals.count

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def elapsed_s(self) -> float:
        return _monotonic() - self.began

    async def run(self, began: Callable[[], None]) -> None:
        """Run until the last request has ended, or until `stop`. `began` is called at time 0, with connections open.

        Requests in flight when it is stopped or cancelled are recorded as cancelled.
        """
        loop = asyncio.get_running_loop()
        at_first = self._most if self._arrivals.closed else 1
        await asyncio.gather(*(self._open() for _ in range(at_first)))
        self._timer = precise_timer(loop, self._tick)
        sweep_s = min(max(self._plan.timeout_s / 20, 0.001), 0.05)
        self.began = _monotonic()
        try:
            began()
            self._timer.set(self.began)
            while not self._done.is_set():
                try:
                    async with asyncio.timeout(sweep_s):
                        await self._done.wait()
                except TimeoutError:
                    self._sweep()
        finally:
            self._timer.close()
            self._give_up()
            for task in self._opening:
                task.cancel()
            await asyncio.gather(*self._opening, return_exceptions=True)
            for connection in list(self._open_connections):
                connection.abort()
            await self._opener.close()

    def stop(self) -> None:
        """End now."""
        self._stopping = True
        self._done.set()

    # Sending

    def _tick(self) -> None:
        if self._stopping:
            return
        arrivals = self._arrivals
        for _ in range(BURST):
            now_s = _monotonic() - self.began
            due_s = arrivals.take(now_s)
            if due_s is None:
                break
            if self._free:
                self._send(self._free.pop(), due_s)
            else:
                self._waiting.append(due_s)
                self.held_back += len(self._open_connections) + len(self._opening) >= self._most
                self._open_more()
        else:
            assert self._timer is not None
            self._timer.set(0.0)  # more may be due, but first read what came back
            return
        if arrivals.next_s is not None:
            assert self._timer is not None
            self._timer.set(self.began + arrivals.next_s)
        elif arrivals.finished:
            self._finish_if_all_ended()

    def _send(self, connection: Connection, due_s: float) -> None:
        variant = self._turn
        self._turn = variant + 1 if variant + 1 < len(self._data) else 0
        connection.due_s = due_s
        connection.variant = variant
        self._in_flight += 1
        connection.send(self._data[variant], self._token.token)
        connection.sent_s = sent_s = _monotonic() - self.began
        self.lags_s.append(sent_s - due_s)

    def _send_waiting(self, connection: Connection) -> None:
        due_s = self._waiting.popleft()
        self._send(connection, due_s)
        wait_s = self.lags_s.pop()  # no lag of the generator: there was no free connection
        if wait_s > self.held_back_max_s:
            self.held_back_max_s = wait_s

    # Results

    def refused(self, connection: Connection, token: str | None) -> bool:
        if not self._token.renewed(token) or not connection.usable or self._stopping:
            return False
        if token is not None and self._token.token is not None:
            before, now = (authorization(each).encode() for each in (token, self._token.token))
            self._data = [data.replace(before, now, 1) for data in self._data]
        connection.send(self._data[connection.variant], self._token.token)
        return True

    def ended(self, connection: Connection, now_s: float, outcome: int, said: str) -> None:
        self._in_flight -= 1
        self._note(connection, now_s, outcome, said)
        if connection.usable:
            if self._waiting and not self._stopping:
                self._send_waiting(connection)
            else:
                self._free.append(connection)
        self._answered(now_s, outcome == _CONNECTION)

    def lost(self, connection: Connection) -> None:
        self._open_connections.discard(connection)
        self.reconnects += 1
        if not connection.busy and connection in self._free:
            self._free.remove(connection)
        self._open_more()

    def _answered(self, now_s: float, broken: bool) -> None:
        if self._stopping:
            return
        arrivals = self._arrivals
        if arrivals.closed:
            arrivals.answered(now_s, broken)
            self._tick()
        elif arrivals.finished:
            self._finish_if_all_ended()

    def _note(self, connection: Connection, now_s: float, outcome: int, said: str) -> None:
        size, rows = self._sizes[connection.variant]
        phase = self._phase_of(connection.due_s)
        times = connection.due_s, connection.sent_s, connection.first_byte_s, now_s
        self.rows += _pack(*times, outcome, phase, size, min(connection.received, 0x7FFFFFFF), rows)
        self.ended_count += 1
        if outcome != OK:
            self._failed(outcome, said)

    def _note_unsent(self, due_s: float, now_s: float, outcome: int, said: str) -> None:
        self.rows += _pack(due_s, _nan, _nan, now_s, outcome, self._phase_of(due_s), 0, 0, 0)
        self.ended_count += 1
        self._failed(outcome, said)

    def _failed(self, outcome: int, said: str) -> None:
        self.error_count += 1
        if outcome not in self._told:
            self._told.add(outcome)
            self._said(OUTCOMES[outcome], said)

    def _sweep(self) -> None:
        """Time out requests, sent or not, that were due too long ago."""
        now_s = _monotonic() - self.began
        limit_s = now_s - self._plan.timeout_s
        said = f"no answer within {self._plan.timeout_s:g} s"
        for connection in [
            connection for connection in self._open_connections if connection.busy and connection.due_s < limit_s
        ]:
            connection.abort()
            connection.busy = False
            self.lost(connection)
            self.ended(connection, now_s, _TIMEOUT, said)
        while self._waiting and self._waiting[0] < limit_s:
            self._note_unsent(self._waiting.popleft(), now_s, _TIMEOUT, said)
            self._answered(now_s, False)
        self._open_more()
        if self._arrivals.finished:
            self._finish_if_all_ended()

    def _finish_if_all_ended(self) -> None:
        if not self._in_flight and not self._waiting:
            self._done.set()

    def _give_up(self) -> None:
        """Record all unfinished requests as cancelled."""
        self._stopping = True
        now_s = _monotonic() - self.began
        for connection in self._open_connections:
            if connection.busy:
                connection.busy = False
                connection.abort()
                self._note(connection, now_s, CANCELLED, "the run was stopped")
        while self._waiting:
            self._note_unsent(self._waiting.popleft(), now_s, CANCELLED, "the run was stopped")
        self._in_flight = 0

    # Connections

    def _open_more(self) -> None:
        """Open a connection for each waiting request, up to the bound."""
        wanted = min(
            len(self._waiting) - len(self._opening), self._most - len(self._open_connections) - len(self._opening)
        )
        for _ in range(wanted if not self._stopping else 0):
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        try:
            connection = await self._opener.open(self)
        except OSError as error:
            self.connect_errors += 1
            if self._waiting:
                now_s = _monotonic() - self.began
                self._note_unsent(self._waiting.popleft(), now_s, _CONNECTION, f"no connection: {_words(error)}")
                self._answered(now_s, True)
            return
        if not connection.usable:
            return
        self._open_connections.add(connection)
        self.connections = max(self.connections, len(self._open_connections))
        if self._waiting and not self._stopping:
            self._send_waiting(connection)
        else:
            self._free.append(connection)


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return (error.strerror or str(error) or type(error).__name__).lower()
