"""Tells how a request ended by the error that its caller got."""

from __future__ import annotations

from workbench.core.ports import Outcome
from workbench.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    ExecutionError,
    InvalidInput,
    Unavailable,
    WorkbenchError,
)


def outcome_of(error: WorkbenchError) -> Outcome:
    """How a request that got this error ended, for the figures."""
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return Outcome.FAILED


_OUTCOMES: tuple[tuple[type[WorkbenchError], Outcome], ...] = (
    (InvalidInput, Outcome.INVALID),
    (DeadlineExceeded, Outcome.EXPIRED),
    (Cancelled, Outcome.CANCELLED),
    (Unavailable, Outcome.REJECTED),
    (Conflict, Outcome.REJECTED),
    (ExecutionError, Outcome.FAILED),
)
