"""Decides whose turn it is among sequences of requests. Pure: it is told the time and holds no clock.

The steps of a sequence run in the order in which they arrived, one at a time; the next one has its turn when the one
before has ended. `slots` sequences run at once; further ones wait in a backlog for one that ends or is dropped. Those
of guests (the callers of shares) have half of the slots, and where there is one slot only until another waits for it.
An idle sequence, of which no step waits or runs, is dropped after `max_idle_s`; at once where no step comes any more.

A step that did not succeed changes nothing: its sequence goes on from before it, and what waited behind it is refused,
since it was meant for what comes after. Where it was the first of its sequence there is no such sequence. What arrives
once the caller of such a step has left is not refused: it may be the same step again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from workbench.core.messages import SequenceStep
from workbench.core.sequence_config import SequenceFigures
from workbench.errors import InvalidInput

NEVER = float("inf")

SequenceId: TypeAlias = int | str | tuple[str, int | str]
"""SequenceStep.key"""

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Turn(Generic[Item]):
    """A step of a sequence, and what came with it."""

    step: SequenceStep
    item: Item
    expires_at: float = NEVER
    """When it is too late to run it."""
    failed: bool = False
    """It runs, and is known not to succeed: what waited behind it was refused."""


@dataclass(slots=True, eq=False)
class Sequence(Generic[Item]):
    """The steps of one id, from its START to its END."""

    id: SequenceId
    waiting: deque[Turn[Item]] = field(default_factory=deque)
    running: Turn[Item] | None = None
    open: bool = True
    """Further steps may come. False from the arrival of END on, until a START begins it anew."""
    slotted: bool = False
    guest: bool = False
    """It is of a share."""
    idle_since: float = 0.0
    state: Any = None
    """What the owner of the table keeps from one step to the next."""


@dataclass(slots=True)
class Change(Generic[Item]):
    """What follows from an event: the steps whose turn it is now, those whose callers left, those that waited too long,
    those that were refused because a step before them did not succeed, those whose sequence had to make room, and the
    sequences that are over."""

    turns: list[Turn[Item]] = field(default_factory=list)
    left: list[Item] = field(default_factory=list)
    expired: list[Item] = field(default_factory=list)
    refused: list[Item] = field(default_factory=list)
    displaced: list[Item] = field(default_factory=list)
    over: list[Sequence[Item]] = field(default_factory=list)


class SequenceTable(Generic[Item]):
    """The sequences of one model. Not safe for threads."""

    def __init__(self, slots: int, max_idle_s: float) -> None:
        self.slots = slots
        self.max_idle_s = max_idle_s
        self.held = 0
        """Steps that wait for their turn."""
        self._sequences: dict[SequenceId, Sequence[Item]] = {}
        self._backlog: dict[SequenceId, Sequence[Item]] = {}
        """Without a slot, in order of arrival."""
        self._guest_backlog: dict[SequenceId, Sequence[Item]] = {}
        self._guests = 0
        """Of guests, with a slot."""
        self._idle: dict[SequenceId, Sequence[Item]] = {}
        """Longest idle first."""
        self._expires_at = NEVER
        """No step that waits expires earlier."""
        self._draining = False
        """No step comes any more."""
        self._started = self._ended = self._dropped = self._restarted = self._failed = 0

    def check(self, step: SequenceStep | None, model: str) -> SequenceStep:
        """`step`, when it may come now. InvalidInput, in Triton's words, where it may not."""
        if step is None or not step.id:
            raise InvalidInput(
                f"inference request to model '{model}' must specify a non-zero or non-empty correlation ID "
                "(sequence_id): it keeps state for each sequence of requests"
            )
        known = self._sequences.get(step.key)
        if not step.start and (known is None or not known.open):
            raise InvalidInput(
                f"inference request for sequence {step.id} to model '{model}' must specify the START flag on the "
                "first request of the sequence (sequence_start): it was not started, or has ended, or was dropped "
                f"after {self.max_idle_s:g} s without a request, or the model was loaded anew"
            )
        return step

    def leave(self, id: SequenceId, left: Callable[[Item], bool], now: float) -> Change[Item] | None:
        """Before a step arrives: those ahead of it whose callers have `left` have failed, and refuse what came since
        but not what comes now. Looks at the step that runs and at the last that wait; None: nobody has."""
        sequence = self._sequences.get(id)
        if sequence is None:
            return None
        running, waiting = sequence.running, sequence.waiting
        given_up = running is not None and not running.failed and left(running.item)
        if not given_up and not (waiting and left(waiting[-1].item)):
            return None
        change: Change[Item] = Change()
        while waiting and left(waiting[-1].item):
            turn = waiting.pop()
            self.held -= 1
            self._failed += 1
            sequence.open = not turn.step.start
            change.left.append(turn.item)
        if running is not None and given_up:
            running.failed = True
            self._fail(sequence, running.step, change)
        self._settle(sequence, now, change)
        return change

    def arrive(
        self, step: SequenceStep, item: Item, now: float, expires_at: float = NEVER, *, guest: bool = False
    ) -> Change[Item]:
        """Take a step that passed `check` at this time."""
        change: Change[Item] = Change()
        sequence = self._sequences.get(step.key)
        if sequence is None:
            sequence = self._sequences[step.key] = Sequence(step.key, guest=guest)
            self._backlog_of(sequence)[step.key] = sequence
        elif step.start and sequence.open:
            self._restarted += 1
        self._started += step.start
        self._idle.pop(step.key, None)
        sequence.open = not step.end
        sequence.waiting.append(Turn(step, item, expires_at))
        self.held += 1
        self._expires_at = min(self._expires_at, expires_at)
        self._fill(change)
        self._next(sequence, change)
        return change

    def sequence(self, id: SequenceId) -> Sequence[Item]:
        """The one whose step runs."""
        return self._sequences[id]

    def finish(self, id: SequenceId, succeeded: bool, now: float) -> Change[Item]:
        """The running step of a sequence is done with."""
        change: Change[Item] = Change()
        sequence = self._sequences[id]
        turn = sequence.running
        assert turn is not None
        sequence.running = None
        if not succeeded:
            if not turn.failed:
                self._fail(sequence, turn.step, change)
        elif turn.step.end:
            self._ended += 1
        self._settle(sequence, now, change, freed=turn.step.end and succeeded)
        return change

    def sweep(self, now: float) -> Change[Item]:
        """Drop what has been idle, or has waited, too long."""
        change: Change[Item] = Change()
        for sequence in self._idle_until(now):
            self._dropped += 1
            self._remove(sequence, change)
        if now >= self._expires_at:
            for sequence in [each for each in self._sequences.values() if each.waiting]:
                self._expire(sequence, now, change)
            self._expires_at = min(
                (turn.expires_at for each in self._sequences.values() for turn in each.waiting), default=NEVER
            )
        self._fill(change)
        return change

    def drain(self) -> Change[Item]:
        """No step comes any more, so what is idle now or later is over: those that wait have its slot."""
        self._draining = True
        change: Change[Item] = Change()
        for sequence in self._idle_until(NEVER):
            self._remove(sequence, change)
        self._fill(change)
        return change

    @property
    def due_at(self) -> float:
        """When to `sweep` next."""
        first = next(iter(self._idle.values()), None)
        return min(self._expires_at, NEVER if first is None else first.idle_since + self.max_idle_s)

    def clear(self) -> list[Item]:
        """Forget every sequence; what waited for its turn."""
        left = [turn.item for sequence in self._sequences.values() for turn in sequence.waiting]
        for sequences in (self._sequences, self._backlog, self._guest_backlog, self._idle):
            sequences.clear()
        self.held = self._guests = 0
        self._expires_at = NEVER
        return left

    def figures(self, state_bytes: int) -> SequenceFigures:
        """How many there are and were."""
        return SequenceFigures(
            active=self._active,
            backlog=len(self._sequences) - self._active,
            held=self.held,
            state_bytes=state_bytes,
            started=self._started,
            ended=self._ended,
            dropped=self._dropped,
            restarted=self._restarted,
            failed=self._failed,
        )

    def _next(self, sequence: Sequence[Item], change: Change[Item]) -> None:
        """Give the first of its waiting steps its turn, where it may have it."""
        if sequence.slotted and sequence.running is None and sequence.waiting:
            sequence.running = sequence.waiting.popleft()
            self.held -= 1
            change.turns.append(sequence.running)

    def _settle(self, sequence: Sequence[Item], now: float, change: Change[Item], *, freed: bool = False) -> None:
        """After a step of it is gone: its next turn, or its end, or it is idle."""
        if sequence.running is not None:
            return
        if not sequence.waiting and (self._draining or not sequence.open):
            self._remove(sequence, change)
        elif sequence.guest and sequence.slotted and self._is_room_owed:
            self._displace(sequence, change)
        elif not sequence.waiting:
            sequence.idle_since = now
            self._idle[sequence.id] = sequence
        elif freed and self._backlog_of(sequence) and sequence.slotted:  # begun anew, and others came before
            self._free(sequence)
            self._backlog_of(sequence)[sequence.id] = sequence
        self._fill(change)
        self._next(sequence, change)

    def _fail(self, sequence: Sequence[Item], step: SequenceStep, change: Change[Item]) -> None:
        """A step did not succeed: refuse those behind it, up to one that begins anew."""
        self._failed += 1
        while sequence.waiting and not sequence.waiting[0].step.start:
            change.refused.append(sequence.waiting.popleft().item)
            self.held -= 1
        if not sequence.waiting:
            sequence.open = not step.start  # an END that did not run has not ended it

    def _expire(self, sequence: Sequence[Item], now: float, change: Change[Item]) -> None:
        late = next((turn for turn in sequence.waiting if turn.expires_at <= now), None)
        while late is not None:
            before: deque[Turn[Item]] = deque()
            while sequence.waiting[0] is not late:
                before.append(sequence.waiting.popleft())
            sequence.waiting.popleft()
            self.held -= 1
            change.expired.append(late.item)
            self._fail(sequence, late.step, change)
            sequence.waiting = before + sequence.waiting
            late = next((turn for turn in sequence.waiting if turn.expires_at <= now), None)
        self._settle(sequence, now, change)

    def _idle_until(self, now: float) -> Iterator[Sequence[Item]]:
        while self._idle and (first := next(iter(self._idle.values()))).idle_since + self.max_idle_s <= now:
            del self._idle[first.id]
            yield first

    @property
    def _active(self) -> int:
        return len(self._sequences) - len(self._backlog) - len(self._guest_backlog)

    @property
    def _is_room_owed(self) -> bool:
        """Guests have more than their half of the slots, and another waits for one."""
        return self._guests > self.slots // 2 and bool(self._backlog) and self._active >= self.slots

    def _backlog_of(self, sequence: Sequence[Item]) -> dict[SequenceId, Sequence[Item]]:
        return self._guest_backlog if sequence.guest else self._backlog

    def _remove(self, sequence: Sequence[Item], change: Change[Item]) -> None:
        del self._sequences[sequence.id]
        self._backlog_of(sequence).pop(sequence.id, None)
        self._free(sequence)
        change.over.append(sequence)

    def _free(self, sequence: Sequence[Item]) -> None:
        self._guests -= sequence.guest and sequence.slotted
        sequence.slotted = False

    def _displace(self, sequence: Sequence[Item], change: Change[Item]) -> None:
        """Drop a sequence whose slot another one has more right to."""
        change.displaced += [turn.item for turn in sequence.waiting]
        self.held -= len(sequence.waiting)
        sequence.waiting.clear()
        self._idle.pop(sequence.id, None)
        self._dropped += 1
        self._remove(sequence, change)

    def _fill(self, change: Change[Item]) -> None:
        """Give the free slots to the first of the backlogs."""
        if self._is_room_owed and (idle := next((each for each in self._idle.values() if each.guest), None)):
            self._displace(idle, change)
        while self._active < self.slots:
            # A guest has to wait for the half of the slots that is its own, and then has it before others.
            guests = self._guest_backlog and self._guests < max(self.slots // 2, 1)
            backlog = self._guest_backlog if guests and (self.slots > 1 or not self._backlog) else self._backlog
            if not backlog:
                return
            sequence = backlog.pop(next(iter(backlog)))
            sequence.slotted = True
            self._guests += sequence.guest
            self._next(sequence, change)
