"""A rollout's decisions, moved by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import Conflict, InvalidInput
from workbench.versions.guard import Finding, Verdict
from workbench.versions.rollout import (
    Found,
    OnBreach,
    RolloutPlan,
    RolloutState,
    RolloutStatus,
    advance,
    begun,
    checked_plan,
    restarted,
    resumed,
    stopped,
    told,
)
from workbench.versions.sequential_test import ALPHA

PLAN = RolloutPlan("2", "1", (0.1, 0.5, 1.0), 60.0, "errors<1%")

FINE = Verdict("errors<1%", Finding.HOLDS, "0 %", 1000)
BAD = Verdict("errors<1%", Finding.BREACHED, "7 %", 1000)
LITTLE = Verdict("errors<1%", Finding.TOO_LITTLE, "0 %", 12)


def look(rollout: RolloutState, now: float, *verdicts: Verdict, **found: object) -> RolloutState:
    """At the weights that it asked for, where nothing else is said."""
    weight = rollout.weight
    asked = {"routed": "1", "weights": {"2": weight} if weight else {}, "verdicts": verdicts, **found}
    return advance(rollout, now, Found(**asked))  # type: ignore[arg-type]


def test_a_rollout_goes_from_step_to_step_when_its_time_is_over_and_nothing_is_breached() -> None:
    rollout = begun("digits", PLAN, 100.0)
    weights = [rollout.weight]
    for now in (130.0, 159.9, 160.0, 219.0, 220.0):
        rollout = look(rollout, now, FINE)
        weights.append(rollout.weight)
    assert weights == [0.1, 0.1, 0.1, 0.5, 0.5, 1.0]
    assert told(rollout) == "version 2: step 3 of 3, 100 %"
    assert not rollout.promotes
    rollout = look(rollout, 280.0, FINE)
    assert (rollout.status, rollout.promotes, told(rollout)) == (RolloutStatus.DONE, True, "version 2: done, it serves")
    assert look(rollout, 999.0, BAD) == rollout, "what is over does not change"


def test_one_that_ends_below_all_of_the_calls_keeps_its_part() -> None:
    rollout = look(begun("digits", replace(PLAN, steps=(0.1,)), 0.0), 60.0, FINE)
    assert (rollout.status, rollout.promotes, rollout.weight) == (RolloutStatus.DONE, False, None)
    assert told(rollout) == "version 2: done, it keeps 10 %"


@pytest.mark.parametrize(
    ("on_breach", "status", "weight"),
    [(OnBreach.ROLLBACK, RolloutStatus.ROLLED_BACK, 0.0), (OnBreach.HALT, RolloutStatus.HALTED, None)],
)
def test_a_breach_rolls_back_or_halts_at_once(on_breach: OnBreach, status: RolloutStatus, weight: float | None) -> None:
    rollout = look(begun("digits", replace(PLAN, on_breach=on_breach), 0.0), 3.0, BAD)
    assert (rollout.status, rollout.weight) == (status, weight)
    assert rollout.reason == "errors<1% is breached: 7 %"
    gone = look(begun("digits", replace(PLAN, on_breach=on_breach), 0.0), 3.0, missing="version 2 is not loaded")
    assert (gone.status, gone.reason) == (status, "version 2 is not loaded")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"routed": "3"}, "version 3 serves by now in place of 1"),
        ({"routed": "2", "weights": {}}, "version 2 serves by now in place of 1"),
        ({"routed": None}, "no version serves any more"),
        ({"weights": {}}, "routed by hand, no version a part in place of version 2 10 %"),
        ({"weights": {"2": 0.3}}, "routed by hand, version 2 30 % in place of version 2 10 %"),
        ({"weights": {"2": 0.1, "3": 0.1}}, "routed by hand"),
    ],
)
def test_whoever_changes_the_routing_by_hand_halts_it(found: dict[str, object], said: str) -> None:
    rollout = look(begun("digits", PLAN, 0.0), 3.0, BAD, **found)
    assert (rollout.status, rollout.weight) == (RolloutStatus.HALTED, None)
    assert said in rollout.reason


def test_a_step_with_too_few_calls_waits_and_then_halts() -> None:
    rollout = begun("digits", PLAN, 0.0)
    for now in (60.0, 179.0):
        rollout = look(rollout, now, LITTLE)
        assert (rollout.status, rollout.step) == (RolloutStatus.RUNNING, 0)
    assert look(rollout, 179.5, FINE).step == 1
    rollout = look(rollout, 180.0, LITTLE)
    assert rollout.status is RolloutStatus.HALTED
    assert "errors<1% rested on 12 calls, and a step needs 200 (--least-calls)" in rollout.reason
    again = resumed(rollout, 500.0)
    assert (again.status, again.weight, again.ends_at, again.reason) == (RolloutStatus.RUNNING, 0.1, 560.0, "")


def test_with_fewer_least_calls_a_step_goes_on_sooner() -> None:
    for least, step in ((0, 1), (12, 1), (13, 0)):
        assert look(begun("digits", replace(PLAN, least_calls=least), 0.0), 60.0, LITTLE).step == step


def test_a_restart_keeps_the_rest_of_the_steps_time_and_lets_its_evidence_begin_anew() -> None:
    rollout = restarted(begun("digits", PLAN, 0.0), 200.0)
    assert (rollout.status, rollout.ends_at, rollout.verdicts) == (RolloutStatus.RUNNING, 60.0, ())
    assert "counted anew" in rollout.reason
    assert rollout.alpha == pytest.approx(begun("digits", PLAN, 0.0).alpha / 2)
    rollout = look(rollout, 201.0, LITTLE)
    assert (rollout.status, rollout.step) == (RolloutStatus.RUNNING, 0), "it waits for calls as long as any step"
    rollout = look(rollout, 211.0, FINE)
    assert (rollout.step, rollout.reason, rollout.restarts) == (1, "", 0)
    over = stopped(rollout, 212.0, "by the owner")
    assert restarted(over, 300.0) == over


def test_the_false_alarms_of_all_steps_and_of_any_number_of_restarts_are_alpha_at_most() -> None:
    rollout, spent = begun("digits", PLAN, 0.0), 0.0
    for _ in range(30):
        spent += rollout.alpha
        rollout = restarted(rollout, 1.0)
    assert len(PLAN.steps) * spent <= ALPHA


def test_one_that_is_over_is_neither_stopped_nor_resumed() -> None:
    rollout = begun("digits", PLAN, 0.0)
    with pytest.raises(Conflict, match="is running; one that was halted"):
        resumed(rollout, 1.0)
    over = stopped(rollout, 1.0, "by the owner")
    assert (over.weight, told(over)) == (0.0, "version 2: stopped at 10 %: by the owner")
    with pytest.raises(Conflict, match=r"is over \(stopped\)"):
        stopped(over, 2.0, "again")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": ()}, "got none"),
        ({"steps": (0.5, 0.1)}, "must rise"),
        ({"steps": (0.1, 1.1)}, "got 10 %, 110 %"),
        ({"steps": (0.0, 1.0)}, "from over 0 %"),
        ({"steps": (float("nan"),)}, "must rise"),
        ({"every_s": 0.5}, "from 1 s to 7 d"),
        ({"every_s": float("nan")}, "from 1 s to 7 d"),
        ({"least_calls": -1}, "least_calls must be"),
        ({"guard": "speed<1x"}, "guard's clauses"),
        ({"guard": "agreement>99%", "steps": (1.0,)}, "begin with a smaller one"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        checked_plan(replace(PLAN, **change))  # type: ignore[arg-type]


def test_a_version_that_serves_is_not_rolled_out() -> None:
    with pytest.raises(Conflict, match="version 1 serves already"):
        checked_plan(replace(PLAN, version="1"))


LOOKS = st.lists(
    st.tuples(
        st.floats(-5, 400),
        st.sampled_from([FINE, BAD, LITTLE]),
        st.sampled_from(["", "", "", "it is not Ready"]),
        st.booleans(),
    ),
    max_size=30,
)


@given(LOOKS, st.sampled_from(list(OnBreach)))
def test_a_rollout_never_gives_more_without_a_guard_that_held_and_stays_as_it_ended(
    looks: list[tuple[float, Verdict, str, bool]], on_breach: OnBreach
) -> None:
    rollout, now = begun("digits", replace(PLAN, on_breach=on_breach), 0.0), 0.0
    for later, verdict, missing, restart in looks:
        now += later  # a clock may be set back
        before = rollout = restarted(rollout, now) if restart else rollout
        rollout = look(rollout, now, verdict, missing=missing)
        if rollout.step > before.step:
            assert rollout.step == before.step + 1
            assert verdict is FINE and not missing and now >= before.ends_at
        if before.status is not RolloutStatus.RUNNING:
            assert rollout == before
        elif verdict is BAD or missing:
            assert rollout.weight != rollout.plan.steps[before.step]
