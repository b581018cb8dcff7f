"""Shares a device between models: start-time fair queueing by measured compute time.

Each model has a place in the queue for its device. Time is counted in core-seconds, divided by the model's share, and
the model that has had least goes next; one that was quiet starts where the others are now, so it saves up nothing and
owes nothing. Between two models that always have work, what they were given differs by no more than one run of each,
and one of each place that their runs have at once.

A device has room for as many runs as its cores; a run takes those that its threads may use. Nothing stands idle for
it: a run starts as soon as any core is free, however wide it is, and a model that is alone is never held back.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from workbench.core.cores import usable_cores

HOLD_S = 0.1
"""Seconds for which a run keeps others out. A longer one, or one that never ends, runs beside them, and the operating
system divides the cores."""

CREDIT_S = 0.1
"""Shared core-seconds that a model can be ahead of the others, or behind, beyond what its runs under way explain."""

GPU_RUNS = 2
"""Runs on one GPU at a time: while one computes, another's rows are copied in or its answers out."""

GRANTED = 0.0


class Waker(Protocol):
    """Wakes a sleeping runner, which then asks again. Waking it once too often does no harm."""

    def wake(self) -> None: ...


class Scheduler(Protocol):
    """Decides when a model's runner may start its next run."""

    def ask(self, waker: Waker, now: float) -> float:
        """GRANTED: call `begin`, and `leave` later. Else the seconds to wait: `waker` is woken when a run may be
        granted; ask again then, or after that time, or `withdraw`."""
        ...

    def begin(self, now: float, again: Waker | None) -> None:
        """What was granted begins. With `again` another runner of this model is on its way to `ask`, and has its place
        among those who wait already: who comes late because it had to wake must not come last."""
        ...

    def withdraw(self, now: float) -> None:
        """There is nothing to run any more."""
        ...

    def leave(self, began: float, spent_s: float, now: float, again: Waker | None) -> None:
        """The run that was granted at `began` is over; `spent_s` of it was compute. `again` as for `begin`, mostly the
        same runner."""
        ...


class UnlimitedScheduler:
    """For a model that shares nothing."""

    def ask(self, waker: Waker, now: float) -> float:
        return GRANTED

    def begin(self, now: float, again: Waker | None) -> None: ...

    def withdraw(self, now: float) -> None: ...

    def leave(self, began: float, spent_s: float, now: float, again: Waker | None) -> None: ...


@dataclass(slots=True, eq=False)
class Flow:
    """One model's runs on one device."""

    width: int = 1
    """Cores that one run takes."""
    share: float = 1.0
    yields: bool = False
    """Its runs begin only where no other flow waits and a core is free, and keep no other flow out."""
    waker: Waker | None = None
    """There while it waits."""
    asked_tag: float = 0.0
    finish_tag: float = 0.0
    expected_s: float = 0.0
    """Seconds of its last run; the next is charged as much until it is measured."""
    runs: list[tuple[float, float]] = field(default_factory=list)
    """(began, charged) of those under way."""

    @property
    def start_tag(self) -> float:
        return max(self.asked_tag, self.finish_tag)

    def charge(self, seconds: float) -> None:
        self.finish_tag += seconds * self.width / self.share


class FairQueue:
    """The decisions alone: told the time, holding no lock."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._flows: list[Flow] = []
        self._virtual = 0.0
        """Virtual time: the start tag of the flow granted last, in shared core-seconds."""

    def add(self, flow: Flow) -> None:
        self._flows.append(flow)

    def remove(self, flow: Flow, now: float) -> None:
        if flow in self._flows:
            self._flows.remove(flow)
            self._wake_next(now)

    def ask(self, flow: Flow, waker: Waker, now: float) -> float:
        self._wait(flow, waker)
        if self._next() is not flow or not self._room(flow, now):
            return self._look_again_s(now)
        flow.waker = None
        if not flow.yields:
            self._virtual = flow.start_tag
        flow.finish_tag = flow.start_tag
        flow.charge(flow.expected_s)
        flow.runs.append((now, flow.expected_s))
        return GRANTED

    def begin(self, flow: Flow, now: float, again: Waker | None) -> None:
        if again is not None:
            self._wait(flow, again)
        self._wake_next(now, again)

    def withdraw(self, flow: Flow, now: float) -> None:
        flow.waker = None
        self._wake_next(now)

    def leave(self, flow: Flow, began: float, spent_s: float, now: float, again: Waker | None) -> None:
        run = next((each for each in flow.runs if each[0] == began), None)
        if run is not None:
            flow.runs.remove(run)
            flow.charge(spent_s - run[1])
            flow.expected_s = spent_s
        if again is not None and flow.waker is None:
            self._wait(flow, again)
        self._wake_next(now, again)

    def charge(self, flow: Flow, spent_s: float) -> None:
        """`flow` has run on one core without asking. Its debt is bounded, or it would wait for hours if it asked."""
        paid = max(self._virtual, flow.finish_tag) + spent_s / flow.share
        flow.finish_tag = min(paid, max(self._virtual + CREDIT_S, flow.finish_tag))

    def _wait(self, flow: Flow, waker: Waker) -> None:
        if flow.waker is None:
            # One that runs has not been idle: it is still owed what the others had since, within bounds.
            flow.asked_tag = self._virtual - (CREDIT_S if flow.runs else 0.0)
        flow.waker = waker

    def _wake_next(self, now: float, coming: Waker | None = None) -> None:
        flow = self._next()
        if flow is not None and flow.waker is not None and flow.waker is not coming and self._room(flow, now):
            flow.waker.wake()

    def _next(self) -> Flow | None:
        waiting = (flow for flow in self._flows if flow.waker is not None)
        return min(waiting, key=lambda flow: (flow.yields, flow.start_tag), default=None)

    def _room(self, flow: Flow, now: float) -> bool:
        seen = (each for each in self._flows if flow.yields or not each.yields)
        busy = {each: sum(now - began < HOLD_S for began, _ in each.runs) for each in seen}
        if sum(count * each.width for each, count in busy.items()) < self._cores:
            return True
        return all(each is flow or (each.waker is None and not runs) for each, runs in busy.items())

    def _look_again_s(self, now: float) -> float:
        held = [began + HOLD_S - now for flow in self._flows for began, _ in flow.runs if now - began < HOLD_S]
        return max(min(held, default=HOLD_S), 1e-3)


class Arbiter:
    """One device's queue, for runners on many threads."""

    def __init__(self, cores: int) -> None:
        self._lock = threading.Lock()
        self._queue = FairQueue(cores)

    def place(self, width: int, share: float, yields: bool = False) -> SchedulerHandle:
        """A place for one model; `close` gives it back. One that `yields` runs only while no other wants to."""
        flow = Flow(width, share, yields)
        with self._lock:
            self._queue.add(flow)
        return SchedulerHandle(self._queue, self._lock, flow)


class Arbiters:
    """Holds one arbiter for each device, made at its first use."""

    def __init__(self) -> None:
        self._by_device: dict[str, Arbiter] = {}

    def of(self, device: str) -> Arbiter:
        """The arbiter of "cpu" or "cuda:0"."""
        if device not in self._by_device:
            self._by_device[device] = Arbiter(usable_cores() if device == "cpu" else GPU_RUNS)
        return self._by_device[device]


class SchedulerHandle:
    """One model's Scheduler on a shared device."""

    def __init__(self, queue: FairQueue, lock: threading.Lock, flow: Flow) -> None:
        self._queue = queue
        self._lock = lock
        self._flow = flow

    def ask(self, waker: Waker, now: float) -> float:
        with self._lock:
            return self._queue.ask(self._flow, waker, now)

    def begin(self, now: float, again: Waker | None) -> None:
        with self._lock:
            self._queue.begin(self._flow, now, again)

    def withdraw(self, now: float) -> None:
        with self._lock:
            self._queue.withdraw(self._flow, now)

    def leave(self, began: float, spent_s: float, now: float, again: Waker | None) -> None:
        with self._lock:
            self._queue.leave(self._flow, began, spent_s, now, again)

    def charge(self, spent_s: float) -> None:
        """It has run on the event loop, where nobody waits."""
        with self._lock:
            self._queue.charge(self._flow, spent_s)

    def set(self, width: int, share: float) -> None:
        """From its next run on."""
        with self._lock:
            self._flow.width, self._flow.share = width, share

    def close(self, now: float) -> None:
        """It asks no more, and no other waits for what it still runs. May be called again."""
        with self._lock:
            self._queue.remove(self._flow, now)
