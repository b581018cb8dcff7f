"""A histogram of durations that merges with any other and answers any quantile within 2.5 %.

Log-linear: each decade from 1 us to 1000 s is cut into 180 equal steps, so that a bucket is at most 5 % wide and the
usual decimal bounds (1, 2.5, 5, 10 ms) are bucket edges. All histograms share the edges, so merging is adding.
Bucket i holds durations in (EDGES[i - 1], EDGES[i]]; bucket 0 all up to 1 us, the last one all over 1000 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DECADES = 9
STEPS = 180
"""Buckets per decade; the step is 1/20 of the decade's lower bound."""

RELATIVE_ERROR = 0.025
"""A quantile is this near to the value at that rank, for durations from 1 us to 1000 s."""

# Whole numbers divided once: each edge is the very float that its decimal literal gives.
EDGES: NDArray[np.float64] = (
    np.concatenate([(20 + np.arange(STEPS)) * 10**decade for decade in range(DECADES)] + [[20 * 10**DECADES]]) / 2e7
)
"""Upper edges in seconds, ascending, 1e-6 to 1000."""

BUCKETS = len(EDGES) + 1


def _no_counts() -> NDArray[np.int64]:
    return np.zeros(BUCKETS, np.int64)


@dataclass(slots=True)
class Histogram:
    """Counts per bucket, and the exact sum. Dense in memory (13 KB), sparse on the wire."""

    counts: NDArray[np.int64] = field(default_factory=_no_counts)
    total_s: float = 0.0

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def add(self, durations_s: ArrayLike) -> None:
        """Count a batch of durations at once; what is negative (a clock that jumped) counts as 0."""
        values = np.maximum(np.asarray(durations_s, np.float64), 0.0)
        self.counts += np.bincount(np.searchsorted(EDGES, values, side="left"), minlength=BUCKETS)
        self.total_s += float(values.sum())

    def merged(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts, self.total_s + other.total_s)

    def since(self, earlier: Histogram) -> Histogram:
        """What came after `earlier`, an older copy of this histogram."""
        return Histogram(self.counts - earlier.counts, self.total_s - earlier.total_s)

    def copy(self) -> Histogram:
        return Histogram(self.counts.copy(), self.total_s)

    def quantile(self, q: float) -> float | None:
        """The duration in seconds at rank ceil(q * count), as its bucket's middle; None while empty."""
        return self.quantiles(q)[0]

    def quantiles(self, *qs: float) -> list[float | None]:
        """Several at once."""
        ranks = np.cumsum(self.counts)
        count = int(ranks[-1])
        if count == 0:
            return [None] * len(qs)
        wanted = np.maximum(1, np.ceil(np.array(qs) * count))
        return [_middle(bucket) for bucket in np.searchsorted(ranks, wanted).tolist()]

    def encode(self) -> dict[str, Any]:
        """`{"count", "sum_s", "buckets": {bucket: count}}`, with the buckets that hold something only."""
        filled = np.flatnonzero(self.counts)
        counts = self.counts[filled].tolist()
        buckets = dict(zip(map(str, filled.tolist()), counts, strict=True))
        return {"count": sum(counts), "sum_s": self.total_s, "buckets": buckets}

    @classmethod
    def decode(cls, encoded: Mapping[str, Any]) -> Histogram:
        histogram = cls(total_s=float(encoded["sum_s"]))
        for bucket, count in encoded["buckets"].items():
            histogram.counts[int(bucket)] = count
        return histogram


def _middle(bucket: int) -> float:
    if bucket == 0:
        return float(EDGES[0]) / 2
    if bucket == BUCKETS - 1:
        return float(EDGES[-1])
    return float(EDGES[bucket - 1] + EDGES[bucket]) / 2
