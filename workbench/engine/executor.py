"""The threads that run batches: take one, join, run, split, hand the results back to the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from workbench.core.messages import ReleaseReason
from workbench.core.ports import Session
from workbench.core.tensor import Array
from workbench.engine.batch import join, split
from workbench.engine.batcher import Batch, Batcher, Ticket
from workbench.errors import ExecutionError, WorkbenchError


@dataclass(slots=True)
class Done:
    """One batch, run: for each ticket its outputs or its error, and where the time went (clock readings)."""

    tickets: list[Ticket]
    answers: Sequence[dict[str, Array] | WorkbenchError]
    reason: ReleaseReason
    rows: int
    formed_at: float
    joined_at: float
    ran_at: float
    dropped: list[tuple[Ticket, WorkbenchError]] = field(default_factory=list)


class Executor:
    """Runner threads over one or several sessions. `deliver` is called on a runner's thread.

    Runners are daemon threads: one that is stuck inside the runtime cannot be ended and must not keep the process.
    """

    def __init__(
        self,
        name: str,
        sessions: Sequence[Session],
        batcher: Batcher,
        deliver: Callable[[Done], None],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._sessions = sessions
        self._batcher = batcher
        self._deliver = deliver
        self._clock = clock
        self._runners: list[_Runner] = []
        self._inside: dict[int, tuple[float, list[Ticket]]] = {}
        """By thread, what is inside the runtime and since when."""

    def resize(self, count: int) -> None:
        """Have `count` runners; those too many leave when their present batch is done."""
        while len(self._runners) < count:
            index = len(self._runners)
            runner = _Runner(self, self._sessions[index % len(self._sessions)])
            self._runners.append(runner)
            threading.Thread(target=runner.loop, name=f"infer-{self._name}-{index}", daemon=True).start()
        for runner in self._runners[count:]:
            runner.leaving = True
        del self._runners[count:]
        self._batcher.wake_all()

    def inside(self) -> list[tuple[float, list[Ticket]]]:
        """The runs under way: when each began, and whose they are."""
        return list(self._inside.values())

    def run(self, session: Session, batch: Batch) -> Iterator[Done]:
        """What was dropped, at once; the batch; and where it failed its members again one by one, so that one bad
        input harms nobody."""
        if batch.dropped:
            at = batch.formed_at
            yield Done([], [], batch.reason, 0, at, at, at, batch.dropped)
        if batch.tickets:
            yield from self._run(session, batch)

    def _run(self, session: Session, batch: Batch) -> Iterator[Done]:
        tickets = batch.tickets
        rows = [ticket.rows for ticket in tickets]
        names = tickets[0].outputs
        if any(ticket.outputs != names for ticket in tickets):
            names = tuple(dict.fromkeys(name for ticket in tickets for name in ticket.outputs))
        joined_at = ran_at = self._clock()
        answers: Sequence[dict[str, Array] | WorkbenchError]
        try:
            inputs = join([ticket.request.inputs for ticket in tickets], tickets[0].request.inputs)
            joined_at = self._clock()
            thread = threading.get_ident()
            self._inside[thread] = (joined_at, tickets)
            try:
                outputs = session.run(inputs, names)
            finally:
                del self._inside[thread]
            ran_at = self._clock()
            answers = [dict(zip(names, outputs, strict=True))] if len(tickets) == 1 else split(outputs, rows, names)
        except Exception as error:
            if len(tickets) > 1:
                yield from self._run_alone(session, batch)
                return
            # Any other error is a runtime that breaks its promise; the service goes on.
            failed = f"running model {tickets[0].request.model!r} failed: {type(error).__name__}"
            answers = [error if isinstance(error, WorkbenchError) else ExecutionError(failed)]
        ran_at = max(ran_at, joined_at)
        yield Done(tickets, answers, batch.reason, sum(rows), batch.formed_at, joined_at, ran_at)

    def _run_alone(self, session: Session, batch: Batch) -> Iterator[Done]:
        for ticket in batch.tickets:
            yield from self._run(session, Batch([ticket], ReleaseReason.ALONE, batch.formed_at))


class _Runner:
    """One thread: at most one batch at a time."""

    def __init__(self, executor: Executor, session: Session) -> None:
        self._executor = executor
        self._session = session
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.leaving = False

    def loop(self) -> None:
        executor = self._executor
        while True:
            batch = executor._batcher.take(self._bell, lambda: self.leaving)
            if batch is None:
                return
            for done in executor.run(self._session, batch):
                executor._deliver(done)
