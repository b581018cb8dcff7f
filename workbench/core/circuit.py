"""What a model's status tells of its circuit breaker."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CircuitState(StrEnum):
    """Closed: calls go through. Open: calls are refused at once. Half-open: a few go through, to see how they end."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit breaker of one load of a version at one moment."""

    state: CircuitState = CircuitState.CLOSED
    reason: str = ""
    """What opened it, in one phrase; empty while it is closed."""
    opened: int = 0
    """How often it has opened since the load."""
    fallback: str = ""
    """The version that answers calls without a version which it refuses; empty: none."""
