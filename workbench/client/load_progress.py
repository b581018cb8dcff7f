"""The progress of a call, for a caller that waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from workbench.client.formatting import megabytes

TOLD_EVERY_S = 0.25
"""Shortest time between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Step:
    """The current step of a call, and its progress."""

    what: str = ""
    """What is done, such as "uploading the model"."""
    done: int = 0
    total: int = 0
    """0 if unknown."""
    unit: str = ""
    """Such as "row"; "byte" is shown as MB."""

    @property
    def share(self) -> float | None:
        """From 0 to 1; None if the total is unknown."""
        return min(self.done / self.total, 1.0) if self.total else None

    def __str__(self) -> str:
        if not self.total:
            return self.what
        if self.unit == "byte":
            return f"{self.what}: {megabytes(self.done) or '0'} of {megabytes(self.total)}"
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}{'' if self.total == 1 else 's'}"


Told = Callable[[Step], object]
"""A callback for progress, called up to four times a second in the waiting thread."""


class LoadProgress:
    """Holds the current step: a call sets it on the loop's thread, any thread reads it."""

    __slots__ = ("step",)

    def __init__(self) -> None:
        self.step = Step()

    def begin(self, what: str, total: int = 0, unit: str = "") -> None:
        self.step = Step(what, 0, total, unit)

    def advance(self, amount: int) -> None:
        self.step = replace(self.step, done=self.step.done + amount)
