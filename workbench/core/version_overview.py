"""The versions of one model at one moment: what each is, and which served when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.core.audit_entry import AuditEntry

STORED = "stored"
"""The `state` of a version that is not loaded, and whose file is kept."""


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """One version."""

    version: str
    state: str
    """A ModelState, or STORED."""
    routed: bool = False
    before: bool = False
    """A rollback goes back to it."""
    held: bool = False
    """It was loaded by its name, without a route, so no policy unloads it."""
    loaded_at: float = 0.0
    """Unix time; 0: it is not loaded."""
    reason: str = ""
    """Why it Failed."""
    labels: tuple[str, ...] = ()
    """Names that requests can call it by."""
    weight: float = 0.0
    """The part of the calls without a version that it gets."""
    copies: float = 0.0
    """The part of them that it gets a copy of, as a shadow."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """By the label of a share whose calls go by themselves, the part of these that it gets."""


@dataclass(frozen=True, slots=True)
class VersionOverview:
    """All versions of a model that are loaded or kept."""

    model: str
    policy: str
    """Its setting `versions`."""
    versions: tuple[VersionEntry, ...]
    history: tuple[AuditEntry, ...] = ()
    """What was done to it, the oldest first: who had which version serve, when and how."""
    by: str = ""
    """The parameter whose value keeps calls on one side of a split; empty: each call is split by itself."""
