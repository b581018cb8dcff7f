"""What is told of a shadow: how many calls were copied, and how far its answers differ from those that callers got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from workbench.core.tensor import Array

MOST_KEPT_ROWS: Final = 1000
"""The most examples of one shadow."""


@dataclass(frozen=True, slots=True)
class ShadowOutput:
    """One output of both versions, over the rows that were compared."""

    name: str
    rows: int = 0
    same: int | None = None
    """Rows with the same label, or the same class with the highest score; None for an output that has neither."""
    is_label: bool = False
    """It is a label or a whole number, so rows are the same or differ; else it holds scores."""
    largest: float | None = None
    """The largest absolute difference of two scores."""
    relative: float | None = None
    """The same as a share of the largest number that callers got."""
    nan: int = 0
    """Rows in which only one of the two has NaN."""
    unlike: int = 0
    """Rows whose outputs could not be compared."""
    why_unlike: str = ""
    """Why, of the last of them."""

    @property
    def flips(self) -> int | None:
        """Rows with another label, or with another class first."""
        return None if self.same is None else self.rows - self.same


@dataclass(frozen=True, slots=True)
class ShadowFigures:
    """The copies of one shadow since it began, or since either of the two versions was loaded."""

    model: str
    version: str
    """The shadow."""
    beside: str
    """The version whose answers callers got."""
    part: float
    """Of the calls without a version that are to be copied."""
    since: float
    """Unix time."""
    by: str = ""
    keep_rows: int = 0
    compared: int = 0
    """Copies that the shadow answered."""
    failed: int = 0
    """Copies that ended with an error."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Copies that never ran, by the reason: a DropReason."""
    waiting: int = 0
    """Copies that wait, or run."""
    last_error: str = ""
    rows: int = 0
    """Rows that were compared."""
    differing: int = 0
    """Of them those with another label, another class first, or NaN in one alone; in any output."""
    outputs: tuple[ShadowOutput, ...] = ()
    examples: int = 0
    """Rows that are kept as examples."""

    @property
    def chosen(self) -> int:
        """Calls of which a copy was to be made."""
        return self.compared + self.failed + self.waiting + sum(self.dropped.values())


class DropReason:
    """Why a copy never ran."""

    BUSY: Final = "busy"
    """Callers' own calls left no time for it while it waited, or too many waited."""
    LARGE: Final = "large"
    """It would have taken more memory than copies may."""
    REFUSED: Final = "refused"
    """The shadow does not take it, as for its rows."""


@dataclass(frozen=True, slots=True, eq=False)
class ShadowExample:
    """One row whose answers differ."""

    inputs: Mapping[str, Array]
    serving: Mapping[str, Array]
    """What the caller got."""
    shadow: Mapping[str, Array]
    """What the shadow said."""
    flips: int
    """Outputs with another label, or with another class first."""
    difference: float
    """The largest difference of a score, as a share of the largest number of that row's output."""
