"""A rollout as it is told: the same on the wire and in a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClauseView:
    """What the calls so far say of one clause of the guard."""

    clause: str
    finding: str
    """ "holds", "breached", "too little to tell", or "not judged"."""
    measured: str = ""
    calls: int = 0


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout at one moment. Times are Unix times."""

    model: str
    version: str
    instead_of: str
    """The version that served when it began."""
    status: str
    """ "running", "halted", "rolled back", "stopped" or "done"."""
    told: str
    """What it is now, in a sentence."""
    reason: str
    """Why it is not running any more, or why its evidence began anew; else empty."""
    step: int
    """From 1; of one that is over, the step in which it ended."""
    steps: tuple[float, ...]
    every_s: float
    guard: str
    on_breach: str
    least_calls: int
    by: str
    began_at: float
    step_began_at: float
    step_ends_at: float
    """When its time is over; with too few calls it takes longer."""
    seen_since: float
    """The calls since then are what the clauses are judged by."""
    changed_at: float
    """When its status or its step changed last."""
    clauses: tuple[ClauseView, ...] = ()
