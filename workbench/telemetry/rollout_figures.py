"""What the metrics tell of rollouts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RolloutFigures:
    """The last rollout of one model."""

    model: str
    version: str
    status: str
    step: int
    """From 1."""
