"""Gives the batcher the steps of sequences when it is their turn, with their state. Only stateful models have one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from workbench.config import MIB, ModelConfig
from workbench.core.messages import GUEST_PRIORITY, SequenceStep
from workbench.core.sequence_config import SequenceFigures
from workbench.core.tensor import Array
from workbench.core.triton_config import TritonConfig
from workbench.engine.admission import ALONE
from workbench.engine.batcher import Batcher, QueuePolicy, full_of_guests
from workbench.engine.empty_requests import NO_RUN
from workbench.engine.executor import Done
from workbench.engine.implicit_state import ImplicitState, state_bytes
from workbench.engine.request_queue import NEVER, PendingRequest
from workbench.engine.sequences import Change, SequenceTable, Turn
from workbench.errors import Cancelled, Conflict, DeadlineExceeded, InvalidInput, QueueFull, Unavailable, WorkbenchError

SWEEP_EVERY_S = 1e-3
"""Sequences are looked after no more often than this."""


class SequenceScheduler:
    """The sequences of one deployment. All methods belong to the event loop's thread."""

    def __init__(
        self,
        model: str,
        said: TritonConfig,
        states: ImplicitState,
        batcher: Batcher,
        clock: Callable[[], float],
        end: Callable[[PendingRequest, WorkbenchError], None],
        wake: Callable[[], None],
    ) -> None:
        """`said` has `sequences`. `end` ends an accepted request with an error, `wake` has the batcher look at what was
        given to it."""
        assert said.sequences is not None
        self._model = model
        self._config = said.sequences
        self._rows = said.batched
        self._states = states
        self._seen = tuple(spec.name for spec in states.seen.outputs)
        self._batcher = batcher
        self._clock = clock
        self._end = end
        self._wake = wake
        self._table: SequenceTable[PendingRequest] = SequenceTable(1, said.sequences.max_idle_s)
        self._queue = QueuePolicy(1)
        self._batched = False
        self._bytes = self._max_bytes = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    def configure(self, config: ModelConfig, queue: QueuePolicy, *, batched: bool) -> None:
        """Take settings. `batched`: steps of several sequences may share a run."""
        self._table.slots = self._config.slots(config.max_batch_size if self._rows else 1, config.instances)
        self._queue = queue
        self._max_bytes = config.max_state_mib * MIB
        self._batched = batched
        if not self._closed:
            self._look()

    def accept(self, ticket: PendingRequest) -> None:
        """Take a step, and give the batcher those whose turn it is; the caller is to wake it. Raises as Batcher.submit
        does, and InvalidInput, and then it was not accepted, and others that have their turn by it are looked after."""
        now = ticket.accepted_at
        request, queue = ticket.request, self._queue
        if now >= self._table.due_at:
            self._look()
        if request.sequence is not None and (change := self._table.leave(request.sequence.key, _left, now)) is not None:
            self._follow(change)
        step = self._table.check(request.sequence, self._model)
        if ticket.key is NO_RUN:
            raise InvalidInput(
                f"a request without rows is no step of a sequence of model {self._model!r}; send one row"
            )
        self._states.check(step, request.inputs, self._model)
        waiting, guest = self._batcher.depth + self._table.held, request.priority == GUEST_PRIORITY
        if guest and waiting >= queue.max_guests:
            raise QueueFull(full_of_guests(waiting, self._model))
        if waiting >= queue.max_queue_size:
            raise QueueFull(
                f"{waiting} requests wait for model {self._model!r}, as many as max_queue_size allows; try again "
                "later, or send fewer at once"
            )
        ticket.expires_at = queue.expires_at(now, request.deadline)
        change = self._table.arrive(step, ticket, now, ticket.expires_at, guest=guest)
        error = self._apply(change, arriving=ticket)
        self._arm()
        if error is not None:
            if self._batcher.depth:  # its sequence is over with it, and another has its slot
                self._wake()
            raise error

    def take(self, done: Done) -> list[tuple[SequenceStep, bool]]:
        """Take the states out of a batch's answers; its steps, and whether each succeeded."""
        steps = []
        answers = list(done.answers)
        for index, (ticket, answer) in enumerate(zip(done.tickets, done.answers, strict=True)):
            ticket.outputs = ticket.request.outputs or self._seen
            if ticket.ended or self._closed:
                continue
            step = _step_of(ticket)
            # A caller that left may send the step again: it cannot know whether it was run.
            succeeded = not isinstance(answer, WorkbenchError) and not ticket.promise.done()
            if succeeded and not isinstance(answer, WorkbenchError):
                try:
                    self._keep(step, answer)
                except WorkbenchError as error:
                    answers[index], succeeded = error, False
            steps.append((step, succeeded))
        steps += [(_step_of(ticket), False) for ticket, _ in done.dropped if not (ticket.ended or self._closed)]
        done.answers = answers
        return steps

    def go_on(self, steps: list[tuple[SequenceStep, bool]]) -> None:
        """After the answers were sent: the steps behind these have their turn."""
        if self._closed:
            return
        now = self._clock()
        for step, succeeded in steps:
            self._apply(self._table.finish(step.key, succeeded, now))
        self._arm()
        if self._batcher.depth:
            self._wake()

    def drain(self) -> None:
        """No step comes any more: sequences that are idle, or become it, leave their slots to those that wait."""
        self._follow(self._table.drain())

    def abandon(self) -> list[PendingRequest]:
        """Forget all sequences; the requests that waited for their turn, to be ended by the caller."""
        self._closed = True
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._table.clear()

    def figures(self) -> SequenceFigures:
        return self._table.figures(self._bytes)

    def __str__(self) -> str:
        return f"sequences: {self._config.strategy}, {self._table.slots} at once"

    def _apply(self, change: Change[PendingRequest], arriving: PendingRequest | None = None) -> WorkbenchError | None:
        """Do what follows from a change. The error of `arriving`, where it could not be given to the batcher."""
        failure: WorkbenchError | None = None
        changes = deque([change])
        while changes:
            change = changes.popleft()
            for sequence in change.over:
                self._bytes -= state_bytes(sequence.state)
            for ticket in change.left:
                self._end(ticket, Cancelled("the caller left before the request was run"))
            for ticket in change.expired:
                waited_s = self._clock() - ticket.accepted_at
                self._end(
                    ticket,
                    DeadlineExceeded(
                        f"timeout of the corresponding sequence has been expired: the request waited {waited_s:.3f} s "
                        "for its turn in it; it was not run"
                    ),
                )
            for ticket in change.refused:
                self._end(ticket, Conflict(self._behind(ticket)))
            for ticket in change.displaced:
                self._end(ticket, Conflict(self._displaced(ticket)))
            for turn in change.turns:
                error = self._start(turn)
                if error is None:
                    continue
                if turn.item is arriving:
                    failure = error
                else:
                    self._end(turn.item, error)
                changes.append(self._table.finish(turn.step.key, False, self._clock()))
        return failure

    def _start(self, turn: Turn[PendingRequest]) -> WorkbenchError | None:
        """Give the batcher a step; the error where it does not take it."""
        ticket, step = turn.item, turn.step
        state = None if step.start else self._table.sequence(step.key).state
        try:
            inputs = self._states.inputs(ticket.request.inputs, step, state)
            ticket.request = msgspec.structs.replace(ticket.request, inputs=inputs)
            ticket.outputs = tuple(dict.fromkeys((*ticket.outputs, *self._states.outputs)))
            if self._batched:
                ticket.key = tuple(inputs[spec.name].shape[1:] for spec in self._states.tried.inputs)
            else:
                ticket.key = ALONE
            self._batcher.submit(ticket)
        except WorkbenchError as error:
            return error
        return None

    def _keep(self, step: SequenceStep, answer: Mapping[str, Array]) -> None:
        """Remember the state after a step. Raises ExecutionError, and Unavailable where there is no room for it."""
        sequence = self._table.sequence(step.key)
        state = None if step.end else self._states.taken(answer)
        total = self._bytes - state_bytes(sequence.state) + state_bytes(state)
        if total > self._max_bytes and total > self._bytes:
            raise Unavailable(
                f"the states of all sequences of model {self._model!r} would take {total} bytes, and max_state_mib "
                f"allows {self._max_bytes}: end sequences that are over, or raise it; the step changed nothing"
            )
        sequence.state = state
        self._bytes = total

    def _behind(self, ticket: PendingRequest) -> str:
        return (
            f"a request before this one in sequence {_step_of(ticket).id} to model '{self._model}' did not succeed, so "
            "this one was not run: send that one again, and then this, or begin anew with START"
        )

    def _displaced(self, ticket: PendingRequest) -> str:
        return (
            f"sequence {_step_of(ticket).id} to model '{self._model}' was ended for one of the model's owner, since "
            "only one runs at once: begin anew with START"
        )

    def _arm(self) -> None:
        due_at = self._table.due_at
        if due_at >= self._timer_at or self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due_at
        delay_s = max(due_at - self._clock(), SWEEP_EVERY_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _sweep(self) -> None:
        self._timer, self._timer_at = None, NEVER
        self._look()

    def _look(self) -> None:
        """Drop what has been idle or waited too long, and have those run that gain by it."""
        self._follow(self._table.sweep(self._clock()))

    def _follow(self, change: Change[PendingRequest]) -> None:
        """Do what follows from a change that no run and no arrival has brought."""
        self._apply(change)
        self._arm()
        if change.turns:
            self._wake()


def _left(ticket: PendingRequest) -> bool:
    return ticket.promise.done()


def _step_of(ticket: PendingRequest) -> SequenceStep:
    step = ticket.request.sequence
    assert step is not None
    return step
