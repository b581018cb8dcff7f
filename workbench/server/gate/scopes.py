"""Scopes: what a route or a method lets its caller do. Each states its own where it is registered."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """The right that a caller needs. A route that states none needs ADMIN."""

    INFER = "infer"
    """Run a model."""
    METADATA = "metadata"
    """See the models that it may run: their signatures, settings and statistics, as the protocol gives them."""
    READ = "read"
    """See all there is: every model, its state and its figures."""
    METRICS = "metrics"
    """Scrape the metrics."""
    ADMIN = "admin"
    """Change what is served, and read the log."""
    PUBLIC = "public"
    """Needs no token: whether the service lives and is ready, and what a share's link is redeemed with."""


CONTROL_SCOPES: Final = frozenset({Scope.ADMIN, Scope.READ})
"""Those of the control plane."""

ALL_SCOPES: Final = frozenset(Scope)
"""What the owner's token may do."""

SHARE_SCOPES: Final = frozenset({Scope.INFER, Scope.METADATA, Scope.PUBLIC})
"""What a share's token may do, with its own models; and with METRICS where its owner says so."""
