"""Sending what is due and noting what becomes of it: the loop between a pacer's decisions and the lanes' ends.

An open loop never waits for an answer. Where every lane is busy it opens another, up to the plan's bound; then requests
wait here, and since a request's latency counts from when it was due, their wait counts.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from workbench.loadtest.generator.http_connection import Connection
from workbench.loadtest.generator.pacer import Pacer, pacer_of, phase_of
from workbench.loadtest.generator.precise_timer import PreciseTimer, alarm
from workbench.loadtest.patterns import Users
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.records import CANCELLED, OK, OUTCOMES, ROW

BURST = 32
"""Requests that are sent at once when the generator is late, before it looks at what came back."""

AFTER_BREAK_S = 0.1
"""A user whose connection was refused or broke comes again no sooner: a dead server is not to be hammered."""

_CONNECTION: Final = OUTCOMES.index("connection")
_TIMEOUT: Final = OUTCOMES.index("timeout")

_pack = struct.Struct("<ddddbhiii").pack
assert struct.calcsize("<ddddbhiii") == ROW.itemsize
_monotonic = time.monotonic
_nan = math.nan


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, made ready before the run."""

    data: bytes
    rows: int


class ConnectionOpener(Protocol):
    """Makes lanes."""

    async def open(self, crew: LoadRunner) -> Connection:
        """Raises OSError where there is no connection to be had."""
        ...

    async def close(self) -> None: ...


class Arrivals(Protocol):
    """Who comes when."""

    @property
    def closed(self) -> bool:
        """True where an answer brings the next request."""
        ...

    @property
    def finished(self) -> bool:
        """True once nobody comes any more, but for those who wait for an answer."""
        ...

    @property
    def next_s(self) -> float | None:
        """After `take` gave None: when to ask again; None: not before `answered`."""
        ...

    @property
    def count(self) -> int:
        """How many came."""
        ...

    def take(self, now_s: float) -> float | None:
        """When the next request that is due by now was due; None: none is."""
        ...

    def answered(self, now_s: float, broken: bool) -> None: ...


class OpenArrivals:
    closed = False

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self.count = 0
        self.finished = False
        self.next_s: float | None = 0.0

    def take(self, now_s: float) -> float | None:
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
    closed = True

    def __init__(self, users: int, pacer: Pacer) -> None:
        self._pacer = pacer
        self._due = [0.0] * users
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
        wait_s = self._pacer.pace(now_s, 1)
        if wait_s is not None:
            heapq.heappush(self._due, now_s + (max(wait_s, AFTER_BREAK_S) if broken else wait_s))


def arrivals_of(plan: Plan) -> Arrivals:
    pacer = pacer_of(plan)
    return UserArrivals(plan.pattern.count, pacer) if isinstance(plan.pattern, Users) else OpenArrivals(pacer)


class LoadRunner:
    """One run of a plan. `rows` gathers finished requests as packed ROWs, for whoever takes them from there."""

    def __init__(
        self, plan: Plan, requests: Sequence[Request], opener: ConnectionOpener, said: Callable[[str, str], None]
    ) -> None:
        """`said` is called with the outcome and the words of a request that was not ok, the first time of each."""
        self._plan = plan
        self._data = [request.data for request in requests]
        self._sizes = [(len(request.data), request.rows) for request in requests]
        self._opener = opener
        self._said = said
        self._told: set[int] = set()
        self._phase_of = phase_of(plan)
        self._arrivals = arrivals_of(plan)
        self._most = plan.pattern.count if isinstance(plan.pattern, Users) else plan.connections
        self._lanes: set[Connection] = set()
        self._free: list[Connection] = []
        self._waiting: deque[float] = deque()
        """When those were due for which no lane was free, the first first."""
        self._opening: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._turn = 0
        self._stopping = False
        self._done = asyncio.Event()
        self._alarm: PreciseTimer | None = None
        self.began = _monotonic()
        self.rows = bytearray()
        self.lags_s: list[float] = []
        """How late those were sent for which a lane was free; taken from here as `rows` are."""
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
        """Until the last request ended, or `stop`. `began` is called at the run's 0, once lanes are there.

        Requests that are under way when it is stopped, or cancelled, are noted as such.
        """
        loop = asyncio.get_running_loop()
        at_first = self._most if self._arrivals.closed else 1
        await asyncio.gather(*(self._open() for _ in range(at_first)))
        self._alarm = alarm(loop, self._tick)
        sweep_s = min(max(self._plan.timeout_s / 20, 0.001), 0.05)
        self.began = _monotonic()
        try:
            began()
            self._alarm.set(self.began)
            while not self._done.is_set():
                try:
                    async with asyncio.timeout(sweep_s):
                        await self._done.wait()
                except TimeoutError:
                    self._sweep()
        finally:
            self._alarm.close()
            self._give_up()
            for task in self._opening:
                task.cancel()
            await asyncio.gather(*self._opening, return_exceptions=True)
            for lane in list(self._lanes):
                lane.abort()
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
                self.held_back += len(self._lanes) + len(self._opening) >= self._most
                self._open_more()
        else:
            assert self._alarm is not None
            self._alarm.set(0.0)  # there may be more, but first what came back is read
            return
        if arrivals.next_s is not None:
            assert self._alarm is not None
            self._alarm.set(self.began + arrivals.next_s)
        elif arrivals.finished:
            self._finish_if_all_ended()

    def _send(self, lane: Connection, due_s: float) -> None:
        variant = self._turn
        self._turn = variant + 1 if variant + 1 < len(self._data) else 0
        lane.due_s = due_s
        lane.variant = variant
        self._in_flight += 1
        lane.send(self._data[variant])
        lane.sent_s = sent_s = _monotonic() - self.began
        self.lags_s.append(sent_s - due_s)

    def _send_waiting(self, lane: Connection) -> None:
        due_s = self._waiting.popleft()
        self._send(lane, due_s)
        wait_s = self.lags_s.pop()  # it is no lag: there was no lane to send it on
        if wait_s > self.held_back_max_s:
            self.held_back_max_s = wait_s

    # What becomes of it

    def ended(self, lane: Connection, now_s: float, outcome: int, said: str) -> None:
        self._in_flight -= 1
        self._note(lane, now_s, outcome, said)
        if lane.usable:
            if self._waiting and not self._stopping:
                self._send_waiting(lane)
            else:
                self._free.append(lane)
        self._answered(now_s, outcome == _CONNECTION)

    def lost(self, lane: Connection) -> None:
        self._lanes.discard(lane)
        self.reconnects += 1
        if not lane.busy and lane in self._free:
            self._free.remove(lane)
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

    def _note(self, lane: Connection, now_s: float, outcome: int, said: str) -> None:
        size, rows = self._sizes[lane.variant]
        phase = self._phase_of(lane.due_s)
        times = lane.due_s, lane.sent_s, lane.first_byte_s, now_s
        self.rows += _pack(*times, outcome, phase, size, min(lane.received, 0x7FFFFFFF), rows)
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
        """Give up what has taken too long, counted from when it was due, sent or not."""
        now_s = _monotonic() - self.began
        limit_s = now_s - self._plan.timeout_s
        said = f"no answer within {self._plan.timeout_s:g} s"
        for lane in [lane for lane in self._lanes if lane.busy and lane.due_s < limit_s]:
            lane.abort()
            lane.busy = False
            self.lost(lane)
            self.ended(lane, now_s, _TIMEOUT, said)
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
        """Note as cancelled what has not ended."""
        self._stopping = True
        now_s = _monotonic() - self.began
        for lane in self._lanes:
            if lane.busy:
                lane.busy = False
                lane.abort()
                self._note(lane, now_s, CANCELLED, "the run was stopped")
        while self._waiting:
            self._note_unsent(self._waiting.popleft(), now_s, CANCELLED, "the run was stopped")
        self._in_flight = 0

    # Lanes

    def _open_more(self) -> None:
        """A lane for each who waits, as far as the bound allows."""
        wanted = min(len(self._waiting) - len(self._opening), self._most - len(self._lanes) - len(self._opening))
        for _ in range(wanted if not self._stopping else 0):
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        try:
            lane = await self._opener.open(self)
        except OSError as error:
            self.connect_errors += 1
            if self._waiting:
                now_s = _monotonic() - self.began
                self._note_unsent(self._waiting.popleft(), now_s, _CONNECTION, f"no connection: {_words(error)}")
                self._answered(now_s, True)
            return
        if not lane.usable:
            return
        self._lanes.add(lane)
        self.connections = max(self.connections, len(self._lanes))
        if self._waiting and not self._stopping:
            self._send_waiting(lane)
        else:
            self._free.append(lane)


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return (error.strerror or str(error) or type(error).__name__).lower()
