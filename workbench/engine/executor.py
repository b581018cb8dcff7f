"""The threads that run batches: take one, join, run, split, hand the results back to the event loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import msgspec

from workbench.core.messages import ReleaseReason
from workbench.core.ports import Interruptible, Session
from workbench.core.run_marks import RunMark
from workbench.core.tensor import Array
from workbench.engine.batch_arrays import NotRows, join, split
from workbench.engine.batcher import Batch, Batcher, WaitFor
from workbench.engine.empty_requests import NO_RUN, empty_answer, have_no_rows
from workbench.engine.request_queue import PendingRequest
from workbench.engine.row_trial import differences
from workbench.errors import DeadlineExceeded, ExecutionError, InvalidInput, WorkbenchError

log = logging.getLogger("workbench.engine")


class Done(msgspec.Struct):
    """One batch, run: for each ticket its outputs or its error, and where the time went (clock readings)."""

    tickets: list[PendingRequest]
    answers: Sequence[dict[str, Array] | WorkbenchError]
    reason: ReleaseReason
    rows: int
    run_rows: int
    """With the padding."""
    formed_at: float
    joined_at: float
    ran_at: float
    dropped: Sequence[tuple[PendingRequest, WorkbenchError]] = ()
    not_rows: str = ""
    """Why its outputs could not be split, where they could not."""

    @property
    def interrupted(self) -> bool:
        """It took so long that it was told to end."""
        return isinstance(self.answers[0], DeadlineExceeded)

    @property
    def failed(self) -> bool:
        """Its one answer is an error."""
        return isinstance(self.answers[0], WorkbenchError)


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
        mark: RunMark,
    ) -> None:
        self._name = name
        self._mark = mark.thread
        self._note = mark.note
        self._caller = ""
        """The share that the mark names; empty: none."""
        self._sessions = sessions
        self._batcher = batcher
        self._deliver = deliver
        self._clock = clock
        self._runners: list[_Runner] = []
        self._inside: dict[int, tuple[float, list[PendingRequest]]] = {}
        """By thread, since when it is inside the runtime, and who waits for it there."""
        self._lock = threading.Lock()
        """Held to leave `_inside`, to tell runs to end, and to count `to_check` down."""
        self._interrupted: dict[tuple[int, float], str] = {}
        """(thread, since when) -> why, of runs that were told to end."""
        self.to_check = 0
        """So many of the next batches of several requests have their members run alone too, and compared."""

    def resize(self, count: int) -> None:
        """Have `count` runners; those too many leave when their present batch is done."""
        while len(self._runners) < count:
            index = len(self._runners)
            runner = _Runner(self._sessions[index % len(self._sessions)])
            self._runners.append(runner)
            threading.Thread(target=self.serve, args=(runner,), name=f"infer-{self._name}-{index}", daemon=True).start()
        for runner in self._runners[count:]:
            runner.leaving = True
        del self._runners[count:]
        self._batcher.wake_all()

    def inside(self) -> list[tuple[float, list[PendingRequest]]]:
        """The runs under way: when each began, and who waits for it, with those whose own run comes after it."""
        return list(self._inside.values())

    def interrupt(self, limit_s: float, reason: str) -> bool:
        """Tell the runtime to end each run that has been inside it for longer. Its callers get DeadlineExceeded with
        the reason, all of a batch, since whose fault it is would take as long again to find. True where there is a run
        that was not told before."""
        now = self._clock()
        with self._lock:  # no run ends meanwhile, or the one that its thread begins next would be told instead
            overdue = [(thread, began) for thread, (began, _) in list(self._inside.items()) if now - began > limit_s]
            new = [each for each in overdue if each not in self._interrupted]
            self._interrupted = dict.fromkeys(overdue, reason)
            for thread, _ in new:
                for session in self._sessions:
                    if isinstance(session, Interruptible):
                        session.interrupt(thread)
        return bool(new)

    def run(self, session: Session, batch: Batch) -> Iterator[Done]:
        """What was dropped, at once; the batch; and where it failed its members again one by one, so that one bad
        input harms nobody. Where outputs could not be split, a Done without tickets says so first."""
        if batch.dropped:
            at = batch.formed_at
            yield Done([], [], batch.reason, 0, 0, at, at, at, batch.dropped)
        if not (left := batch.tickets):
            return
        try:
            if left[0].key is NO_RUN:
                yield self._without_run(session, batch)
                return
            done = self._run(session, batch, left)
            if (len(left) > 1 and done.failed and not done.interrupted) or done.not_rows:
                if done.not_rows:
                    at = batch.formed_at
                    yield Done([], [], batch.reason, 0, 0, at, at, at, not_rows=done.not_rows)
                for each in self._batcher.singly(batch, padded=not done.not_rows):
                    yield self._run(session, each, left)
                    left = left[1:]
            elif self.to_check > 0 and len(left) > 1 and not done.interrupted and self._takes_check():
                yield from self._checked(session, batch, done)
            else:
                yield done
        except Exception as error:  # ours, or no memory; each request has to end all the same
            model, at = left[0].request.model, self._clock()
            log.exception("a batch of model %r failed outside its run", model)
            answers = [ExecutionError(f"answering for model {model!r} failed: {type(error).__name__}")] * len(left)
            rows = sum(ticket.rows for ticket in left)
            yield Done(left, answers, batch.reason, rows, rows, batch.formed_at, at, at)

    def _takes_check(self) -> bool:
        with self._lock:  # another runner may have taken the last one
            taken = self.to_check > 0
            self.to_check -= taken
        return taken

    def _checked(self, session: Session, batch: Batch, done: Done) -> Iterator[Done]:
        """A batch whose members are run alone too. Where their answers differ, these are given, and why comes first.
        Where one takes so long that it is told to end, nothing is compared."""
        alone = []
        for each in self._batcher.singly(batch, padded=False):
            alone.append(self._run(session, each, batch.tickets))
            if alone[-1].interrupted:
                yield done
                return
        pairs = [(shared, each.answers[0]) for shared, each in zip(done.answers, alone, strict=True)]
        if found := differences([(a, b) for a, b in pairs if isinstance(a, dict) and isinstance(b, dict)]):
            at = batch.formed_at
            yield Done([], [], batch.reason, 0, 0, at, at, at, not_rows=found)
            yield from alone
        else:
            yield done

    def _note_caller(self, caller: str, tickets: list[PendingRequest]) -> None:
        """Note whose run begins: `caller`'s where all of its requests are. Subtleness ahead: other runs may be inside
        under the same mark, and one that begins while a share's name stands there comes here too. So the name is set
        before runs are counted, and is empty where the runs inside are not all one caller's."""
        for ticket in tickets:
            if ticket.request.caller != caller:
                caller = ""
                break
        with self._lock:
            before, self._caller = self._caller, caller
            if len(self._inside) > 1 and caller != before:
                self._caller = ""
            if self._caller != before:
                self._note(self._caller)

    def _without_run(self, session: Session, batch: Batch) -> Done:
        outputs = session.signature.outputs
        answers = [
            dict(zip(ticket.outputs, empty_answer(outputs, ticket.outputs) or (), strict=True))
            for ticket in batch.tickets
        ]
        at = self._clock()
        return Done(batch.tickets, answers, batch.reason, batch.rows, batch.rows, batch.formed_at, at, at)

    def _run(self, session: Session, batch: Batch, waiting: list[PendingRequest]) -> Done:
        """`waiting`: those who wait for this run, its own or those whose turn comes after."""
        tickets = batch.tickets
        # Requests without rows are alike, so one run, without padding, answers all of them.
        empty = batch.run_rows > 1 and tickets[0].key[-1:] == NO_RUN
        lone = empty or (len(tickets) == 1 and batch.rows == batch.run_rows)
        names = tickets[0].outputs
        if len(tickets) > 1 and any(ticket.outputs != names for ticket in tickets):
            names = tuple(dict.fromkeys(name for ticket in tickets for name in ticket.outputs))
        padding = batch.run_rows - batch.rows
        joined_at = self._clock()
        answers: Sequence[dict[str, Array] | WorkbenchError]
        try:
            inputs = tickets[0].request.inputs
            if not lone:
                inputs = join([ticket.request.inputs for ticket in tickets], inputs, padding)
                joined_at = self._clock()
            thread = threading.get_ident()
            self._inside[thread] = (joined_at, waiting)
            if (caller := tickets[0].request.caller) or self._caller:
                self._note_caller(caller, tickets)
            self._mark[0] = thread
            try:
                outputs = session.run(inputs, names)
            finally:
                with self._lock:
                    del self._inside[thread]
                    if not self._inside:  # else the mark stays another one's
                        self._mark[0] = 0
            ran_at = self._clock()
            if lone:
                answers = (dict(zip(names, outputs, strict=True)),) * len(tickets)
            else:
                answers = split(outputs, [ticket.rows for ticket in tickets], names, padding)
        except NotRows as error:
            answers, at = (ExecutionError(str(error)),), batch.formed_at
            return Done(
                tickets, answers, batch.reason, batch.rows, batch.run_rows, at, joined_at, ran_at, (), str(error)
            )
        except Exception as raised:
            ran_at = self._clock()
            told_to_end = self._interrupted.get((threading.get_ident(), joined_at))
            if told_to_end is not None:  # all of them, or the members would be run again one by one
                answers = (DeadlineExceeded(told_to_end),) * len(tickets)
            else:
                made = _empty_instead(raised, session, tickets[0], names) if lone else None
                answers = (_error_of(raised, tickets[0]),) if made is None else (made,) * len(tickets)
        return Done(tickets, answers, batch.reason, batch.rows, batch.run_rows, batch.formed_at, joined_at, ran_at)

    def serve(self, runner: _Runner) -> None:
        """The life of a runner's thread: a batch at a time, until it is to leave or nothing comes any more."""
        while self._serve_next(runner):
            pass

    def _serve_next(self, runner: _Runner) -> bool:
        """False: there is nothing more. A call for each batch, so that the tensors of one are not held until the next
        one comes, which may be hours."""
        found = self._batcher.next(runner, runner.leaving)
        if found is None:
            return False
        if isinstance(found, WaitFor):
            runner.sleep(found.wait_s)
            return True
        spent_s = 0.0
        try:
            for done in self.run(runner.session, found):
                spent_s += done.ran_at - done.joined_at
                self._deliver(done)
        except Exception:  # the answer could not be handed over; the runner goes on
            log.exception("a batch of model %r could not be delivered", self._name)
        finally:
            self._batcher.ran(runner, found, spent_s)
        return True


def _error_of(raised: Exception, ticket: PendingRequest) -> WorkbenchError:
    """The error that the caller gets. Any but ours is a runtime that breaks its promise; the service goes on."""
    if isinstance(raised, WorkbenchError):
        return raised
    return ExecutionError(f"running model {ticket.request.model!r} failed: {type(raised).__name__}")


def _empty_instead(
    raised: Exception, session: Session, ticket: PendingRequest, names: Sequence[str]
) -> dict[str, Array] | None:
    """The answer of 0 rows to a request of 0 rows that the model refused; None where the error is the answer."""
    signature = session.signature
    if not isinstance(raised, InvalidInput) or not have_no_rows(signature, ticket.request.inputs):
        return None
    made = empty_answer(signature.outputs, names)
    return None if made is None else dict(zip(names, made, strict=True))


class _Runner:
    """One thread's Waker, and the session that it runs."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.leaving = False
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        self._wakes.put(None)

    def sleep(self, wait_s: float | None) -> None:
        with suppress(Empty):
            self._wakes.get(timeout=wait_s)
