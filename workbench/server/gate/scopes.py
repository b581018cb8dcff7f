"""Scopes: what a route or a method lets its caller do. Each states its own where it is registered."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """The right that a caller needs. A route that states none needs ADMIN."""

    INFER = "infer"
    """Run a model."""
    READ = "read"
    """See what there is: models, their signatures, settings and figures."""
    METRICS = "metrics"
    """Scrape the metrics."""
    ADMIN = "admin"
    """Change what is served, and read the log."""
    PUBLIC = "public"
    """Needs no token: whether the service lives and is ready."""


ALL_SCOPES: Final = frozenset(Scope)
"""What the owner's token may do."""
