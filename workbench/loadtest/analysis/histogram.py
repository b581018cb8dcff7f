"""A histogram of durations for load tests: any quantile within 0.4 %, merged by adding, a few hundred numbers long.

Log-linear, as HdrHistogram is: every power of two is cut into 128 equal buckets. That is how a float is laid out, so
the bucket of a duration is its exponent with the first 7 bits of its mantissa, one shift for a whole array. Finer than
the service's own histogram (telemetry, 2.5 %), because what a load test says is to be held against the truth, and to
tell one run from another. All histograms share their buckets; the least and the most are kept exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RELATIVE_ERROR = 1 / 256
"""A quantile is this near to the duration at that rank, for durations from 1 us to 4096 s."""

_BITS = 7
_SHIFT = 52 - _BITS
_LEAST_S, _MOST_S = 2.0**-20, 2.0**12
_FIRST = int(np.float64(_LEAST_S).view(np.int64)) >> _SHIFT

BUCKETS = (int(np.float64(_MOST_S).view(np.int64)) >> _SHIFT) - _FIRST
"""Bucket i holds durations in [edge(i), edge(i + 1)); the first one all below too, the last one all above."""

Counts = NDArray[np.int64]


class Histogram:
    """Counts of the buckets that hold something. Immutable: histograms are added, not added to."""

    __slots__ = ("buckets", "counts", "least_s", "most_s", "total_s")

    def __init__(
        self, buckets: Counts, counts: Counts, total_s: float = 0.0, least_s: float = math.inf, most_s: float = 0.0
    ) -> None:
        self.buckets = buckets
        """Ascending."""
        self.counts = counts
        self.total_s = total_s
        """The exact sum."""
        self.least_s = least_s
        self.most_s = most_s

    @staticmethod
    def of(durations_s: ArrayLike) -> Histogram:
        """Durations counted, many at once. What is negative (a clock that jumped) counts as 0, NaN not at all."""
        values = np.asarray(durations_s, np.float64)
        values = np.maximum(values[~np.isnan(values)], 0.0)
        if not values.size:
            return EMPTY
        found = np.bincount(bucket_of(values))
        filled = np.flatnonzero(found)
        return Histogram(filled, found[filled], float(values.sum()), float(values.min()), float(values.max()))

    @staticmethod
    def merged(histograms: Iterable[Histogram]) -> Histogram:
        """All of them together."""
        dense = np.zeros(BUCKETS, np.int64)
        total_s, least_s, most_s = 0.0, math.inf, 0.0
        for each in histograms:
            dense[each.buckets] += each.counts
            total_s += each.total_s
            least_s, most_s = min(least_s, each.least_s), max(most_s, each.most_s)
        filled = np.flatnonzero(dense)
        return Histogram(filled, dense[filled], total_s, least_s, most_s)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram.merged((self, other))

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def mean_s(self) -> float | None:
        """Exact; None while empty."""
        count = self.count
        return self.total_s / count if count else None

    def quantile(self, q: float) -> float | None:
        """Seconds at rank ceil(q * count), as the middle of its bucket; exact for q = 0 and 1; None while empty."""
        if not self.count:
            return None
        if q <= 0 or q >= 1:
            return self.least_s if q <= 0 else self.most_s
        low, high = self._bucket_at(q)
        return min(max((low + high) / 2, self.least_s), self.most_s)

    def bounds(self, q: float) -> tuple[float, float] | None:
        """Between what seconds the duration at rank ceil(q * count) certainly lies."""
        if not self.count:
            return None
        low, high = self._bucket_at(q)
        return max(low, self.least_s), min(high, self.most_s)

    def share_above(self, seconds: float) -> float:
        """The share of durations in buckets above that of `seconds`; 0 while empty."""
        above = self.counts[self.buckets > int(bucket_of(np.float64(seconds)))]
        return int(above.sum()) / self.count if self.count else 0.0

    def dense(self) -> Counts:
        """A count for every bucket, for sums over many histograms."""
        dense = np.zeros(BUCKETS, np.int64)
        dense[self.buckets] = self.counts
        return dense

    def encode(self) -> dict[str, Any]:
        """For JSON: the filled buckets as the first one and the steps to the next, which are small numbers."""
        if not self.count:
            return {"sum_s": 0.0, "steps": [], "counts": []}
        steps = np.diff(self.buckets, prepend=0)
        ends = {"min_s": self.least_s, "max_s": self.most_s}
        return {"sum_s": self.total_s, **ends, "steps": steps.tolist(), "counts": self.counts.tolist()}

    @staticmethod
    def decode(encoded: Mapping[str, Any]) -> Histogram:
        """What `encode` gave. Raises ValueError, KeyError or TypeError for anything else."""
        buckets = np.cumsum(np.asarray(encoded["steps"], np.int64))
        counts = np.asarray(encoded["counts"], np.int64)
        if buckets.shape != counts.shape or (buckets.size and not (buckets[0] >= 0 and buckets[-1] < BUCKETS)):
            raise ValueError("no histogram")
        if not buckets.size:
            return EMPTY
        ends = float(encoded["min_s"]), float(encoded["max_s"])
        return Histogram(buckets, counts, float(encoded["sum_s"]), *ends)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash((self.count, self.total_s, self.most_s))

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} durations from {self.least_s:.6g} s to {self.most_s:.6g} s>"

    def _bucket_at(self, q: float) -> tuple[float, float]:
        rank = rank_of(q, self.count)
        at = int(np.searchsorted(np.cumsum(self.counts), rank))
        bucket = int(self.buckets[at])
        return edge(bucket), edge(bucket + 1)


EMPTY = Histogram(np.zeros(0, np.int64), np.zeros(0, np.int64))


def bucket_of(durations_s: NDArray[np.float64] | np.float64) -> Counts:
    """The bucket of each duration."""
    bits = np.clip(durations_s, _LEAST_S, math.nextafter(_MOST_S, 0.0)).view(np.int64)
    return (bits >> _SHIFT) - _FIRST


def edge(bucket: int) -> float:
    """The lower end of a bucket in seconds."""
    return float(np.int64((bucket + _FIRST) << _SHIFT).view(np.float64))


def middles() -> NDArray[np.float64]:
    """The middle of every bucket, in seconds."""
    edges = ((np.arange(BUCKETS + 1, dtype=np.int64) + _FIRST) << _SHIFT).view(np.float64)
    return (edges[1:] + edges[:-1]) / 2


def rank_of(q: float, count: int) -> int:
    """ceil(q * count), from 1: the smallest duration that `q` of them do not exceed.

    Without what floats add to it: 0.999 * 1000 is a little more than 999 for some ways to write 0.999.
    """
    return min(max(math.ceil(q * count - 1e-9 * count), 1), max(count, 1))
