"""A way to a model's sessions for copies of calls: beside the model's queue, its runners and its figures.

It has one runner, so one run of copies is under way at most. The run begins where no other model's run waits for the
device, and keeps none out (`Flow.yields`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from workbench.core.messages import ReleaseReason
from workbench.core.ports import Session
from workbench.core.run_marks import ModelKey, RunMark, RunMarks
from workbench.core.threads import in_thread
from workbench.engine.admission import ShapeKey
from workbench.engine.arbiter import SchedulerHandle
from workbench.engine.batch_policy import BatchPlan, BatchPolicy, Waiting
from workbench.engine.batcher import Batcher, QueuePolicy
from workbench.engine.costs import CostTable
from workbench.engine.executor import Done, Executor
from workbench.engine.request_queue import PendingRequest

CLOSE_TIMEOUT_S = 5.0
"""Seconds that a run under way has to end before its sessions are left to it."""

_QUEUE = QueuePolicy(1 << 20)


class CopyLane:
    """Belongs to the event loop's thread."""

    def __init__(
        self,
        name: str,
        sessions: Sequence[Session],
        place: SchedulerHandle,
        mark: RunMark,
        clock: Callable[[], float],
        deliver: Callable[[Done], None],
    ) -> None:
        """`deliver` is called on the runner's thread, for each batch that was run."""
        self.mark = mark
        self._place = place
        self._clock = clock
        self._deliver = deliver
        self._left = 0
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._batcher = Batcher(_AllAtOnce(), _QUEUE, clock)
        self._executor = Executor(f"{name}-copies", sessions, self._batcher, self._delivered, clock, mark)

    def configure(self, policy: BatchPolicy, cores: int, share: float) -> None:
        """`policy` is the model's own, for what a batch is padded to. The runner begins with the first call."""
        self._place.set(cores, share)
        self._batcher.configure(_AllAtOnce(policy), _QUEUE, self._place, 1)
        self._executor.resize(1)

    def submit(self, tickets: Sequence[PendingRequest]) -> None:
        """Run them as one batch; those of one shape, as many rows as the model takes."""
        with self._lock:
            self._left += len(tickets)
            self._idle.clear()
        for ticket in tickets:
            self._batcher.submit(ticket)
        self._batcher.wake()

    def longest_run_s(self) -> float:
        """For how long a run has been inside the runtime; 0: none is."""
        return max((self._clock() - began for began, _ in self._executor.inside()), default=0.0)

    def interrupt(self, limit_s: float, reason: str) -> bool:
        """As `Executor.interrupt`."""
        return self._executor.interrupt(limit_s, reason)

    @property
    def busy(self) -> bool:
        """True while a batch is under way."""
        return not self._idle.is_set()

    def leave(self) -> None:
        """Run nothing more; what is under way ends by itself."""
        self._ended(len(self._batcher.abandon()))
        self._executor.resize(0)
        self._place.close(self._clock())

    async def wait(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """After `leave`, until nothing is under way; where it still is after that time, it keeps its session."""
        if self.busy:
            await in_thread(lambda: self._idle.wait(timeout_s))

    def _delivered(self, done: Done) -> None:
        try:
            self._deliver(done)
        finally:
            self._ended(len(done.tickets) + len(done.dropped))

    def _ended(self, count: int) -> None:
        with self._lock:
            self._left -= count
            if not self._left:
                self._idle.set()


class CopyLanes:
    """The lanes of one model: the one that is open, and those that were left with a run under way. Belongs to the
    event loop's thread."""

    def __init__(self, name: str, marks: RunMarks, clock: Callable[[], float]) -> None:
        self._name = name
        self._marks = marks
        self._clock = clock
        self._open: CopyLane | None = None
        self._left: list[CopyLane] = []

    def open(
        self, key: ModelKey, sessions: Sequence[Session], place: SchedulerHandle, deliver: Callable[[Done], None]
    ) -> CopyLane:
        """Open until `leave`; there is one at a time. `configure` is still due."""
        assert self._open is None
        self._open = CopyLane(self._name, sessions, place, self._marks.take(key), self._clock, deliver)
        return self._open

    def configure(self, policy: BatchPolicy, cores: int, share: float) -> None:
        """As `CopyLane.configure`, of the one that is open."""
        if self._open is not None:
            self._open.configure(policy, cores, share)

    def leave(self) -> None:
        """Run no copy any more; one under way ends by itself."""
        if self._open is not None:
            self._open.leave()
            self._left.append(self._open)
            self._open = None

    async def wait(self) -> None:
        """After `leave`, until nothing is under way, or `busy` tells of a run that does not end."""
        for lane in self._all():
            await lane.wait()

    @property
    def busy(self) -> bool:
        """True while a run may need the sessions."""
        return bool(self._all())

    def longest_run_s(self) -> float:
        """As `CopyLane.longest_run_s`, of all."""
        return max((lane.longest_run_s() for lane in self._all()), default=0.0)

    def interrupt(self, limit_s: float, reason: str) -> bool:
        """As `Executor.interrupt`, of all."""
        told = [lane.interrupt(limit_s, reason) for lane in self._all()]
        return any(told)

    def _all(self) -> list[CopyLane]:
        self._left = [each for each in self._left if not self._gone(each)]
        return [*self._left, *([self._open] if self._open is not None else [])]

    def _gone(self, lane: CopyLane) -> bool:
        if lane.busy:
            return False
        self._marks.give_back(lane.mark)
        return True


class _AllAtOnce:
    """Takes all that waits: what is submitted was chosen to be one batch."""

    def __init__(self, policy: BatchPolicy | None = None) -> None:
        self._policy = policy
        self.costs = policy.costs if policy is not None else CostTable()
        self.sizes: Sequence[int] = policy.sizes if policy is not None else ()

    def plan(self, waiting: Waiting, now: float, free: int) -> BatchPlan:
        return BatchPlan(waiting.rows, 0.0, ReleaseReason.IDLE)

    def best_size(self, key: ShapeKey) -> int:
        return 1

    def padded(self, rows: int) -> int:
        return self._policy.padded(rows) if self._policy is not None else rows

    def learned(self, key: ShapeKey) -> None: ...
