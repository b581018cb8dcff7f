"""A rollout: a new version gets more and more of the calls by itself, for as long as its guard holds. Pure.

`advance` says what a rollout is next, given the time and what was found. The caller has that written down first,
and then gives the new version the `weight` that it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from workbench.errors import Conflict, InvalidInput
from workbench.versions.guard import AGREEMENT, DEFAULT, Clause, Finding, Verdict, parse_guard
from workbench.versions.sequential_test import ALPHA, LEAST_CALLS, LEAST_SECONDS
from workbench.versions.traffic_split import SLOTS

STEPS: Final = (0.01, 0.1, 0.5, 1.0)

EVERY_S: Final = 300.0

SHORTEST_S: Final = 1.0

LONGEST_S: Final = 7 * 86400.0

MAX_STEPS: Final = 50

PATIENCE: Final = 3
"""A step with too few calls to tell takes at most so many times as long as asked."""

LOOK_S: Final = 1.0


class OnBreach(StrEnum):
    """What becomes of the new version's calls when its guard is breached."""

    ROLLBACK = "rollback"
    HALT = "halt"


class RolloutStatus(StrEnum):
    RUNNING = "running"
    HALTED = "halted"
    """The new version keeps its part, and gets no more until somebody says so."""
    ROLLED_BACK = "rolled back"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """What was asked for; `checked_plan` makes one."""

    version: str
    instead_of: str
    """The version that served when it began."""
    steps: tuple[float, ...] = STEPS
    """The parts of the calls without a version, rising, from 0 to 1."""
    every_s: float = EVERY_S
    guard: str = DEFAULT
    on_breach: OnBreach = OnBreach.ROLLBACK
    least_calls: int = LEAST_CALLS
    """Of each version that a clause is about, before a step goes on; 0: its time alone decides."""
    by: str = ""

    @property
    def clauses(self) -> tuple[Clause, ...]:
        return parse_guard(self.guard)

    @property
    def judges_agreement(self) -> bool:
        """A clause needs both versions' answers to the same calls."""
        return any(each.figure == AGREEMENT for each in self.clauses)

    @property
    def look_s(self) -> float:
        """How often it is looked at: once a second, or so often that a short step can be told."""
        return min(LOOK_S, self.every_s / (3 * LEAST_SECONDS))


@dataclass(frozen=True, slots=True)
class RolloutState:
    """A rollout at one moment. Times are Unix times."""

    model: str
    plan: RolloutPlan
    status: RolloutStatus
    step: int
    """Of `plan.steps`, from 0."""
    began_at: float
    step_began_at: float
    changed_at: float
    seen_since: float
    """When the calls began that the clauses are judged by: with the step, or later after a restart."""
    restarts: int = 0
    """Of the service in this step; each let the evidence begin anew."""
    reason: str = ""
    """Why it is not running, or why its evidence began anew."""
    verdicts: tuple[Verdict, ...] = ()
    enacted: bool = False
    """The new version has the part of the calls that it is to have."""

    @property
    def weight(self) -> float | None:
        """The part of the calls that the new version is to get; None: whatever it has."""
        if self.status is RolloutStatus.RUNNING:
            return self.plan.steps[self.step]
        return 0.0 if self.status in (RolloutStatus.ROLLED_BACK, RolloutStatus.STOPPED) else None

    @property
    def promotes(self) -> bool:
        """It is over, and the new version is to serve from now on."""
        return self.status is RolloutStatus.DONE and self.plan.steps[-1] == 1

    @property
    def alone(self) -> bool:
        """The other version gets no calls in this step."""
        return self.plan.steps[self.step] == 1

    @property
    def alpha(self) -> float:
        """How often its guard may be breached by chance from here to the end of this step, so that it is at most ALPHA
        over all steps, and over restarts too."""
        return math.ldexp(ALPHA / len(self.plan.steps), -1 - self.restarts)

    @property
    def ends_at(self) -> float:
        """When this step's time is over."""
        return self.step_began_at + self.plan.every_s


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found."""

    routed: str | None
    """The version that serves; None: none."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of the calls without a version, those beside the one that serves."""
    missing: str = ""
    """Why the new version cannot answer: it is not Ready, or its circuit breaker is open; empty: it can."""
    verdicts: tuple[Verdict, ...] = ()


def checked_plan(plan: RolloutPlan) -> RolloutPlan:
    """`plan`, or InvalidInput."""
    steps = plan.steps
    rising = all(before < after for before, after in zip((0.0, *steps), steps, strict=False))
    if not steps or len(steps) > MAX_STEPS or not rising or not steps[-1] <= 1 or steps[0] < 1 / SLOTS:
        raise InvalidInput(
            f"the steps must rise from over 0 % to at most 100 %, {MAX_STEPS} of them at most, as 1,10,50,100; got "
            f"{', '.join(percent(each) for each in steps[:10]) or 'none'}"
        )
    if not SHORTEST_S <= plan.every_s <= LONGEST_S:
        raise InvalidInput(f"a step must take from {SHORTEST_S:g} s to {LONGEST_S / 86400:g} d, got {plan.every_s:g} s")
    if not 0 <= plan.least_calls <= 10_000_000:
        raise InvalidInput(f"least_calls must be from 0 to 10000000, got {plan.least_calls}")
    if plan.judges_agreement and steps[0] == 1:
        raise InvalidInput(
            "agreement is told by calls that the version that serves answers, and in a step of 100 % it answers none: "
            "begin with a smaller one, as 10,100"
        )
    if plan.version == plan.instead_of:
        raise Conflict(f"version {plan.version} serves already: it gets all calls without a version")
    return plan


def begun(model: str, plan: RolloutPlan, now: float) -> RolloutState:
    """Its first step."""
    return RolloutState(model, plan, RolloutStatus.RUNNING, 0, now, now, now, now)


def restarted(rollout: RolloutState, now: float) -> RolloutState:
    """The same step with the rest of its time, after a restart of the service; what was counted is lost."""
    if rollout.status is not RolloutStatus.RUNNING:
        return rollout
    reason = "the service was restarted in this step, so its calls are counted anew"
    return replace(rollout, seen_since=now, restarts=rollout.restarts + 1, reason=reason, verdicts=())


def resumed(rollout: RolloutState, now: float) -> RolloutState:
    """The step in which it was halted, from its beginning. Conflict where it was not halted."""
    if rollout.status is not RolloutStatus.HALTED:
        raise Conflict(
            f"the rollout of {rollout.model!r} is {rollout.status.value}; one that was halted can be resumed"
        )
    return _step(replace(rollout, status=RolloutStatus.RUNNING), rollout.step, now)


def stopped(rollout: RolloutState, now: float, reason: str) -> RolloutState:
    """Ended by somebody: the new version gets no calls but by name. Conflict where it is over."""
    if rollout.status not in (RolloutStatus.RUNNING, RolloutStatus.HALTED):
        raise Conflict(f"the rollout of {rollout.model!r} is over ({rollout.status.value}), so it cannot be stopped")
    return _ended(rollout, RolloutStatus.STOPPED, now, reason)


def halted(rollout: RolloutState, now: float, reason: str) -> RolloutState:
    return _ended(rollout, RolloutStatus.HALTED, now, reason)


def advance(rollout: RolloutState, now: float, found: Found) -> RolloutState:
    """What it is after a look at `now`."""
    if rollout.status is not RolloutStatus.RUNNING:
        return rollout
    plan = rollout.plan
    if by_hand := _changed_by_hand(rollout, found):
        return halted(rollout, now, by_hand)
    if found.missing:
        return _breached(rollout, now, found.missing)
    rollout = replace(rollout, verdicts=found.verdicts)
    if breach := "; ".join(_told(each) for each in found.verdicts if each.finding is Finding.BREACHED):
        return _breached(rollout, now, breach)
    if now < rollout.ends_at:
        return rollout
    if lacking := _lacking(found.verdicts, plan.least_calls):
        if now < max(rollout.step_began_at, rollout.seen_since) + PATIENCE * plan.every_s:
            return rollout
        return halted(rollout, now, lacking)
    if rollout.step + 1 < len(plan.steps):
        return _step(rollout, rollout.step + 1, now)
    return _ended(rollout, RolloutStatus.DONE, now, "")


def _changed_by_hand(rollout: RolloutState, found: Found) -> str:
    plan, weights = rollout.plan, found.weights
    if found.routed is None:
        return "no version serves any more"
    if found.routed != plan.instead_of:
        return f"version {found.routed} serves by now in place of {plan.instead_of}"
    wanted = plan.steps[rollout.step]
    if found.missing or (set(weights) == {plan.version} and math.isclose(weights[plan.version], wanted, abs_tol=1e-6)):
        return ""
    told = ", ".join(f"version {each} {percent(weight)}" for each, weight in weights.items()) or "no version a part"
    return f"the calls were routed by hand, {told} in place of version {plan.version} {percent(wanted)}"


def _lacking(verdicts: Sequence[Verdict], least_calls: int) -> str:
    few = [each for each in verdicts if each.finding is not Finding.NOT_JUDGED and each.calls < least_calls]
    if least_calls and not few:
        few = [each for each in verdicts if each.finding is Finding.TOO_LITTLE and least_calls >= LEAST_CALLS]
    if not few:
        return ""
    calls = min(each.calls for each in few)
    return (
        f"too little to tell after {PATIENCE} times its time: {', '.join(each.clause for each in few)} rested on "
        f"{calls} calls, and a step needs {least_calls} (--least-calls); resume it, or begin with a larger part"
    )


def _told(verdict: Verdict) -> str:
    return f"{verdict.clause} is breached: {verdict.measured}"


def _breached(rollout: RolloutState, now: float, reason: str) -> RolloutState:
    back = rollout.plan.on_breach is OnBreach.ROLLBACK
    return _ended(rollout, RolloutStatus.ROLLED_BACK if back else RolloutStatus.HALTED, now, reason)


def _ended(rollout: RolloutState, status: RolloutStatus, now: float, reason: str) -> RolloutState:
    acts = status in (RolloutStatus.ROLLED_BACK, RolloutStatus.STOPPED) or (
        status is RolloutStatus.DONE and rollout.plan.steps[-1] == 1
    )
    return replace(rollout, status=status, changed_at=now, reason=reason, enacted=not acts)


def _step(rollout: RolloutState, step: int, now: float) -> RolloutState:
    fresh = replace(rollout, step=step, step_began_at=now, changed_at=now, seen_since=now)
    return replace(fresh, restarts=0, reason="", verdicts=(), enacted=False)


def percent(weight: float) -> str:
    return f"{100 * weight:g} %"


def told(rollout: RolloutState) -> str:
    """What it is now, in a sentence: for the log, the audit and events."""
    plan, status = rollout.plan, rollout.status
    which = f"version {plan.version}"
    if status is RolloutStatus.RUNNING:
        return f"{which}: step {rollout.step + 1} of {len(plan.steps)}, {percent(plan.steps[rollout.step])}"
    if status is RolloutStatus.DONE:
        return f"{which}: done, {'it serves' if rollout.promotes else f'it keeps {percent(plan.steps[-1])}'}"
    at = f"at {percent(plan.steps[rollout.step])}"
    return f"{which}: {status.value} {at}: {rollout.reason}"
