"""Where a model came from: what was exported, by which versions, when, and how its answers were checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output of an export beside the original's, over all rows on which they were compared."""

    name: str
    rows: int
    over: int = 0
    """Rows that differ by more than the tolerance."""
    flips: int = 0
    """Labels that differ, those of rows that the original itself finds undecided included."""
    nan: int = 0
    """Values that are NaN, or no number, in one of the two only."""
    largest: float | None = 0.0
    """The largest absolute difference; None for labels and text, and where there is no finite one."""
    relative: float | None = 0.0
    """The same as a share of the output's largest value."""


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """How the answers of an export were compared with those of the object itself."""

    agrees: bool
    rows: int
    made_up: bool
    """True: the rows were made up, because the user gave none."""
    tolerance: float
    """As a share of an output's largest value."""
    summary: str
    """One clause, as "labels equal, max |diff| 1.4e-7 on 32 rows"."""
    outputs: tuple[OutputCheck, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """The record that is kept with a model and shown with it."""

    source: str
    """The object, as a user calls it: "Pipeline of StandardScaler and SVC"."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library -> version."""
    exported_at: float = 0.0
    """Unix time."""
    notes: tuple[str, ...] = ()
    """Remarks of the export, each one clause."""
    check: AnswerCheck | None = None
