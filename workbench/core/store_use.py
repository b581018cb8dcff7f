"""How much of the model store is used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreUse:
    """Bytes, as they were measured last."""

    used: int = 0
    """By models that are stored, and granted to those on their way in."""
    left: int = 0
    """What may still be stored: of the quota, and of the disk without its reserve."""
