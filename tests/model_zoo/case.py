"""One object of the table in docs/models.md: how it is made, and whether it can be served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    """Its name in the table; each case has another."""
    make: Callable[[], tuple[object, object]]
    """Gives the fitted object and fresh rows to ask it, which it was not trained on."""
    refused: str = ""
    """Part of the true reason, where it is refused; empty: it is served."""
