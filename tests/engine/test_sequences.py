"""Whose turn it is among sequences, on a clock that the test moves. An item is the name of a step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.messages import SequenceStep
from workbench.engine.sequences import NEVER, Change, SequenceTable
from workbench.errors import InvalidInput

GUEST = 100


@dataclass
class Table:
    """A table with its clock, and what came of it."""

    slots: int = 2
    idle_s: float = 10.0
    now: float = 100.0
    ran: list[str] = field(default_factory=list)
    """The steps that had their turn, in order."""
    refused: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    displaced: list[str] = field(default_factory=list)
    over: list[int | str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table: SequenceTable[str] = SequenceTable(self.slots, self.idle_s)

    def come(self, name: str, *, expires_at: float = NEVER) -> None:
        """A step called by its id and number: "7.1" comes, with ">" in front START, with "!" behind END. Ids from 100
        on are of shares."""
        id = int(name.strip(">!").split(".")[0])
        step = SequenceStep(id, name.startswith(">"), name.endswith("!"))
        self._note(self.table.sweep(self.now))
        self.table.check(step, "m")
        self._note(self.table.arrive(step, name, self.now, expires_at, guest=id >= GUEST))

    def done(self, id: int, succeeded: bool = True) -> None:
        self._note(self.table.finish(id, succeeded, self.now))

    def drain(self) -> None:
        self._note(self.table.drain())

    def leave(self, id: int, *left: str) -> None:
        """The callers of these steps are found to have left."""
        self._note(self.table.leave(id, lambda item: item in left, self.now) or Change())

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self._note(self.table.sweep(self.now))

    def _note(self, change: Change[str]) -> None:
        self.ran += [turn.item for turn in change.turns]
        self.refused += change.refused
        self.expired += change.expired
        self.displaced += change.displaced
        self.over += [sequence.id for sequence in change.over]

    @property
    def counts(self) -> tuple[int, int, int]:
        """(active, backlog, held)."""
        figures = self.table.figures(0)
        return figures.active, figures.backlog, figures.held


def test_the_steps_of_a_sequence_run_in_order_one_at_a_time() -> None:
    table = Table()
    for name in (">1.1", "1.2", ">2.1", "1.3!"):
        table.come(name)
    assert table.ran == [">1.1", ">2.1"]
    table.done(1)
    table.done(1)
    assert table.ran == [">1.1", ">2.1", "1.2", "1.3!"] and not table.over
    table.done(1)
    assert table.over == [1] and table.counts == (1, 0, 0)


@pytest.mark.parametrize(
    ("before", "step", "said"),
    [
        ([], SequenceStep(0, start=True), "must specify a non-zero or non-empty correlation ID"),
        ([], SequenceStep("", start=True), "must specify a non-zero or non-empty correlation ID"),
        ([], None, "inference request to model 'm' must specify a non-zero or non-empty correlation ID"),
        (
            [],
            SequenceStep(1),
            "sequence 1 to model 'm' must specify the START flag on the first request of the sequence",
        ),
        ([], SequenceStep("a", end=True), "sequence a to model 'm' must specify the START flag"),
        ([">1.1!"], SequenceStep(1), "START flag"),
        ([">1.1"], SequenceStep("1"), "START flag"),
        ([">1.1", "1.2!"], SequenceStep(1), "START flag"),
    ],
)
def test_what_may_not_come_is_refused_in_tritons_words(before: list[str], step: SequenceStep | None, said: str) -> None:
    table = Table()
    for name in before:
        table.come(name)
    with pytest.raises(InvalidInput, match=said):
        table.table.check(step, "m")


def test_further_sequences_wait_until_one_is_over() -> None:
    table = Table(slots=1)
    for name in (">1.1", ">2.1", "2.2", ">3.1", "1.2!"):
        table.come(name)
    assert table.ran == [">1.1"] and table.counts == (1, 2, 4)
    table.done(1)
    table.done(1)
    assert table.ran == [">1.1", "1.2!", ">2.1"] and table.counts == (1, 1, 2)
    table.done(2)
    table.done(2)
    assert table.ran[-1] == "2.2" and table.counts == (1, 1, 1)
    table.pass_s(10)
    assert table.over == [1, 2] and table.ran[-1] == ">3.1"


def test_sequences_of_shares_have_half_of_the_slots_and_leave_the_others_to_the_owner() -> None:
    table = Table(slots=5)
    for id in range(100, 104):
        table.come(f">{id}.1")
    assert table.ran == [">100.1", ">101.1"] and table.counts == (2, 2, 2)
    for id in range(1, 5):
        table.come(f">{id}.1")
    assert table.ran[2:] == [">1.1", ">2.1", ">3.1"], "the owner's that came later have theirs"
    table.done(1)
    table.come("1.2!")
    table.done(1)
    assert table.ran[-1] == ">4.1"
    table.done(100)
    table.come("100.2!")
    table.done(100)
    assert table.ran[-1] == ">102.1" and table.counts == (5, 1, 1)
    assert not (table.displaced or table.refused)


def test_where_one_sequence_runs_at_once_that_of_a_share_makes_room_for_the_owner_s() -> None:
    table = Table(slots=1)
    for name in (">100.1", "100.2", ">101.1", ">1.1"):
        table.come(name)
    assert table.ran == [">100.1"] and table.counts == (1, 2, 3)
    table.done(100)  # its step ends as any other, and what it sent ahead is not run
    assert table.displaced == ["100.2"] and table.over == [100] and table.ran[-1] == ">1.1"
    with pytest.raises(InvalidInput, match="START flag"):
        table.come("100.3")
    table.come("1.2!")
    table.done(1)
    table.done(1)
    assert table.ran[-1] == ">101.1" and table.counts == (1, 0, 0)
    table.done(101)
    table.come(">2.1")
    assert table.over == [100, 1, 101] and table.ran[-1] == ">2.1", "an idle one goes at once"
    table.come(">102.1")
    assert table.ran[-1] == ">2.1"
    table.done(2)
    table.pass_s(10)
    assert table.ran[-1] == ">102.1"


def test_more_slots_let_those_run_that_waited() -> None:
    table = Table(slots=1)
    for name in (">1.1", ">2.1", ">3.1"):
        table.come(name)
    table.table.slots = 3
    table.pass_s(0)
    assert table.ran == [">1.1", ">2.1", ">3.1"]


def test_an_idle_sequence_is_dropped_and_one_that_runs_or_waits_is_not() -> None:
    table = Table(slots=2)
    for name in (">1.1", ">2.1", ">3.1"):
        table.come(name)
    table.done(1)
    assert table.table.due_at == 110
    table.pass_s(9.9)
    assert not table.over
    table.pass_s(0.1)
    assert table.over == [1] and table.ran[-1] == ">3.1"
    table.pass_s(1000)
    assert table.over == [1] and table.counts == (2, 0, 0)
    with pytest.raises(InvalidInput, match="START flag"):
        table.come("1.2")


def test_a_request_keeps_its_sequence_alive() -> None:
    table = Table()
    table.come(">1.1")
    for _ in range(5):
        table.done(1)
        table.pass_s(9)
        table.come("1.2")
        table.pass_s(11)  # it runs
    assert not table.over and len(table.ran) == 6


def test_a_start_begins_anew_after_what_came_before() -> None:
    table = Table()
    for name in (">1.1", "1.2", ">1.3", "1.4"):
        table.come(name)
    for _ in range(4):
        table.done(1)
    assert table.ran == [">1.1", "1.2", ">1.3", "1.4"] and not table.over
    assert table.table.figures(0).restarted == 1


def test_one_that_ends_and_begins_anew_waits_behind_the_backlog() -> None:
    table = Table(slots=1)
    for name in (">1.1", "1.2!", ">1.3", ">2.1!"):
        table.come(name)
    for id in (1, 1, 2, 1):
        table.done(id)
    assert table.ran == [">1.1", "1.2!", ">2.1!", ">1.3"] and table.over == [2]


def test_what_waits_behind_a_step_that_failed_is_refused() -> None:
    table = Table()
    for name in (">1.1", "1.2", "1.3", "1.4!"):
        table.come(name)
    table.done(1)
    table.done(1, succeeded=False)
    assert table.refused == ["1.3", "1.4!"] and not table.over
    table.come("1.2")  # its END was not run, so it goes on
    table.done(1)
    table.come("1.4!")
    table.done(1)
    assert table.over == [1]


def test_an_end_that_failed_can_come_again() -> None:
    table = Table()
    for name in (">1.1", "1.2!"):
        table.come(name)
    table.done(1)
    table.done(1, succeeded=False)
    table.come("1.2!")
    table.done(1)
    assert table.over == [1]


def test_a_start_that_failed_has_begun_nothing() -> None:
    table = Table(slots=1)
    for name in (">1.1", "1.2", ">2.1"):
        table.come(name)
    table.done(1, succeeded=False)
    assert table.refused == ["1.2"] and table.over == [1] and table.ran[-1] == ">2.1"
    with pytest.raises(InvalidInput, match="START flag"):
        table.come("1.2")


def test_a_failure_does_not_reach_behind_the_next_start() -> None:
    table = Table()
    for name in (">1.1", "1.2!", ">1.3", "1.4"):
        table.come(name)
    table.done(1, succeeded=False)
    assert table.refused == ["1.2!"] and table.ran == [">1.1", ">1.3"]
    table.done(1)
    assert table.ran[-1] == "1.4"


def test_a_step_that_waits_too_long_has_failed() -> None:
    table = Table(slots=1)
    table.come(">1.1")
    table.come("1.2", expires_at=103)
    table.come("1.3")
    table.come(">2.1", expires_at=102)
    table.come("2.2")
    assert table.table.due_at == 102
    table.pass_s(2)
    assert table.expired == [">2.1"] and table.refused == ["2.2"] and table.over == [2]
    table.pass_s(1)
    assert table.expired == [">2.1", "1.2"] and table.refused == ["2.2", "1.3"]
    assert table.table.due_at == NEVER and table.counts == (1, 0, 0)


def test_what_comes_once_a_caller_has_left_is_not_refused() -> None:
    table = Table()
    for name in (">1.1", "1.2", "1.3"):
        table.come(name)
    table.done(1)
    table.leave(1, "1.2")  # which runs
    assert table.refused == ["1.3"]
    table.come("1.4")
    table.leave(1, "1.2")
    table.done(1, succeeded=False)
    assert table.refused == ["1.3"] and table.ran == [">1.1", "1.2", "1.4"]
    assert table.table.figures(0).failed == 1


def test_an_end_whose_caller_has_left_can_come_again() -> None:
    table = Table()
    for name in (">1.1", "1.2", "1.3!"):
        table.come(name)
    table.leave(1, "1.3!")  # which waits
    table.come("1.3!")
    for _ in range(3):
        table.done(1)
    assert table.ran == [">1.1", "1.2", "1.3!"] and table.over == [1]


def test_a_start_whose_caller_has_left_has_begun_nothing() -> None:
    table = Table(slots=1)
    for name in (">1.1", ">2.1", "2.2"):
        table.come(name)
    table.leave(2, ">2.1", "2.2")  # in the backlog
    assert table.over == [2] and table.counts == (1, 0, 0)
    table.leave(1, ">1.1")
    with pytest.raises(InvalidInput, match="START flag"):
        table.come("1.2")
    table.come(">1.1")
    table.done(1, succeeded=False)
    assert table.ran == [">1.1", ">1.1"]


def test_what_is_idle_in_a_drain_leaves_its_slot_at_once() -> None:
    table = Table(slots=2)
    for name in (">1.1", ">2.1", "2.2", ">3.1", ">4.1", "4.2"):
        table.come(name)
    table.done(1)
    table.drain()
    assert table.over == [1] and table.ran == [">1.1", ">2.1", ">3.1"]
    for id in (2, 3, 2):  # 2.2 was accepted, so 2 is not over before it
        table.done(id)
    assert table.over == [1, 3, 2] and table.ran[3:] == ["2.2", ">4.1"]
    for _ in range(2):
        table.done(4)
    assert table.over[-1] == 4 and table.counts == (0, 0, 0) and table.table.due_at == NEVER


def test_all_that_waits_is_handed_back_at_the_end() -> None:
    table = Table(slots=1)
    for name in (">1.1", "1.2", ">2.1"):
        table.come(name)
    assert table.table.clear() == ["1.2", ">2.1"] and table.counts == (0, 0, 0)


COMING = st.tuples(st.just("come"), st.integers(1, 4), st.booleans(), st.booleans(), st.sampled_from([NEVER, 5.0, 1.0]))
EVENTS = st.one_of(
    COMING,
    COMING,
    st.tuples(st.just("done"), st.integers(0, 3), st.sampled_from([True, True, True, False])),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 1.0, 4.0, 11.0])),
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3), st.lists(EVENTS, max_size=40))
def test_whatever_happens_each_step_ends_once_and_in_order(slots: int, events: list[tuple[object, ...]]) -> None:
    """Against the plain rules: one step of an id runs at a time, in order of arrival, `slots` ids at the most."""
    table: SequenceTable[int] = SequenceTable(slots, 10.0)
    now = 0.0
    waiting: dict[int | str, deque[int]] = {}
    running: dict[int | str, int] = {}
    accepted, ended = 0, set[int]()

    def note(change: Change[int]) -> None:
        for item in (*change.expired, *change.refused):
            for queue in waiting.values():
                if item in queue:
                    queue.remove(item)
            assert item not in ended
            ended.add(item)
        for turn in change.turns:
            assert turn.step.id not in running
            assert waiting[turn.step.id].popleft() == turn.item
            running[turn.step.id] = turn.item
        for sequence in change.over:
            assert sequence.id not in running and not sequence.waiting

    for kind, *event in events:
        if kind == "come":
            id, start, end, within_s = event
            note(table.sweep(now))
            step = SequenceStep(int(str(id)), bool(start), bool(end))
            try:
                table.check(step, "m")
            except InvalidInput:
                assert not start
                continue
            waiting.setdefault(step.id, deque()).append(accepted)
            change = table.arrive(step, accepted, now, now + float(str(within_s)))
            accepted += 1
            note(change)
        elif kind == "done" and running:
            id, item = list(running.items())[int(str(event[0])) % len(running)]
            del running[id]
            ended.add(item)
            note(table.finish(id, bool(event[1]), now))
        elif kind == "pass":
            now += float(str(event[0]))
            note(table.sweep(now))
        figures = table.figures(0)
        assert figures.active <= slots and figures.held == sum(map(len, waiting.values()))
        assert len(running) <= figures.active
    while running or table.held:
        note(table.sweep(now := now + 11))
        if running:
            id, item = running.popitem()
            ended.add(item)
            note(table.finish(id, True, now))
    assert ended == set(range(accepted)) and table.figures(0).held == 0
    note(table.sweep(now + 11))
    figures = table.figures(0)
    assert (figures.active, figures.backlog) == (0, 0) and table.due_at == NEVER
