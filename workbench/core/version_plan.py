"""What a model's name stands for beside the version that it is routed to. Frozen: a change makes another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """Kept on disk with the model, so that a restart brings all of it back."""

    beside: tuple[str, ...] = ()
    """Versions that stay loaded without being routed to, by number."""
    held: tuple[str, ...] = ()
    """Those of `beside` that were loaded by name (`route=False`): no policy unloads them."""
    before: tuple[str, ...] = ()
    """Versions that were routed to before, the latest last; loaded or not."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names that a request can call a version by, and the versions that they point to."""
    spans: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """The places of the calls without a version (versions.traffic_split) that a version gets beside the routed one."""
    by: str = ""
    """The parameter of a request whose value sticks to one side of the split; empty: each call is split by itself."""
    highest: int = 0
    """The highest number of a version that was taken back or unloaded; a new one gets a higher one."""

    @property
    def pinned(self) -> frozenset[str]:
        """Versions that stay loaded whatever the policy says."""
        return frozenset((*self.held, *self.labels.values(), *self.spans))

    def labels_of(self, version: str) -> tuple[str, ...]:
        return tuple(sorted(label for label, each in self.labels.items() if each == version))
