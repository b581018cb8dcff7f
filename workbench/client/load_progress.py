"""How far a call has come, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from workbench.client.formatting import megabytes

TOLD_EVERY_S = 0.25
"""How often, at the most, somebody who waits is told."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a call is at, and how far it has come with that."""

    what: str = ""
    """As "uploading the model"."""
    done: int = 0
    total: int = 0
    """0: nobody knows."""
    unit: str = ""
    """As "row"; "byte" is told as MB."""

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where nobody knows."""
        return min(self.done / self.total, 1.0) if self.total else None

    def __str__(self) -> str:
        if not self.total:
            return self.what
        if self.unit == "byte":
            return f"{self.what}: {megabytes(self.done) or '0'} of {megabytes(self.total)}"
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}{'' if self.total == 1 else 's'}"


Told = Callable[[Step], object]
"""Called up to four times a second, in the thread that waits, with how far the call has come."""


class LoadProgress:
    """Told by a call as it goes, on the loop's thread; read from any other."""

    __slots__ = ("step",)

    def __init__(self) -> None:
        self.step = Step()

    def begin(self, what: str, total: int = 0, unit: str = "") -> None:
        self.step = Step(what, 0, total, unit)

    def advance(self, amount: int) -> None:
        self.step = replace(self.step, done=self.step.done + amount)
