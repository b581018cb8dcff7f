"""What a model's name stands for beside the version that it is routed to. Frozen: a change makes another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """A version that gets a copy of the calls that name no version; callers never get its answers."""

    version: str
    part: float
    """Of the calls, from over 0 to 1."""
    by: str = ""
    """The parameter of a request whose value decides whether it is copied; empty: each call by itself."""
    keep_rows: int = 0
    """Rows that are kept as examples, of those whose answers differ most."""


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
    shares: Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    """By the id of a share, what its calls without a version go by in place of `spans`."""
    shadow: ShadowPlan | None = None
    """None: no call is copied."""
    highest: int = 0
    """The highest number of a version that was taken back or unloaded; a new one gets a higher one."""

    @property
    def pinned(self) -> frozenset[str]:
        """Versions that stay loaded whatever the policy says."""
        shadow = () if self.shadow is None else (self.shadow.version,)
        of_shares = (version for spans in self.shares.values() for version in spans)
        return frozenset((*self.held, *self.labels.values(), *self.spans, *of_shares, *shadow))

    def labels_of(self, version: str) -> tuple[str, ...]:
        return tuple(sorted(label for label, each in self.labels.items() if each == version))
