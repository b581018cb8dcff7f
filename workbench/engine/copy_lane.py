"""A way to a model's sessions for copies of calls: beside the model's queue, its runners and its figures.

It has one runner, so one run of copies is under way at most. The run begins where no other model's run waits for the
device, and keeps none out (`Flow.yields`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from workbench.core.messages import ReleaseReason
from workbench.core.ports import Session
from workbench.core.run_marks import RunMark
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
