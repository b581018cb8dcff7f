"""Log-linear histograms of durations: any quantile within a known error, merged by adding.

Each power of a base is cut into equal buckets, as HdrHistogram does. Histograms of one layout share their buckets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_MANTISSA_BITS = 52


class LogLinear:
    """The layout of the buckets: every power of `base` from `base**low` to `base**high` is cut into `steps`.

    `includes` says which of its two ends a bucket holds. With `outside`, there is one more bucket below the range and
    one above; without, values outside are counted in the first and the last bucket.
    """

    def __init__(
        self, base: int, low: int, high: int, steps: int, *, includes: Literal["lower", "upper"], outside: bool
    ) -> None:
        # Whole numbers divided once, so each edge is the very float that its decimal literal gives.
        numerators = [(steps + (base - 1) * np.arange(steps)) * base**power for power in range(high - low)]
        most = float(base**high)
        edges = np.append(np.concatenate(numerators) / (steps * base**-low), most)
        self.ends: Floats = np.concatenate([[0.0], edges, [most]]) if outside else edges
        """Bucket i reaches from `ends[i]` to `ends[i + 1]`."""
        self.edges: Floats = self.ends[1:-1]
        """Where one bucket ends and the next begins, ascending."""
        self.buckets: Final = len(self.ends) - 1
        self.middles: Floats = (self.ends[1:] + self.ends[:-1]) / 2
        """The value that stands for each bucket."""
        self.relative_error: Final = (base - 1) / steps / 2
        """The largest distance of a quantile from the value at its rank, for values in the range."""
        self._side: Literal["left", "right"] = "left" if includes == "upper" else "right"
        self._shift = 0
        if base == 2 and steps.bit_count() == 1 and includes == "lower" and not outside:
            self._shift = _MANTISSA_BITS + 1 - steps.bit_length()

    def bucket_of(self, values: Floats) -> Counts:
        """Return the bucket of each value."""
        if self._shift:
            # A float's bits are its power of two and the place in it: a shift, some 100 times as fast as a search.
            least, most = self.ends[0], np.nextafter(self.ends[-1], 0.0)
            bits = np.clip(values, least, most).view(np.int64) >> self._shift
            found: Counts = bits - (least.view(np.int64) >> self._shift)
            return found
        return np.searchsorted(self.edges, values, side=self._side)


SERVICE: Final = LogLinear(10, -6, 3, 180, includes="upper", outside=True)
"""Seconds as the service counts and sends them: within 2.5 %, and the usual bounds (1, 2.5, 5 ms) are edges."""


class Histogram:
    """Counts of the buckets that hold something, and the exact sum. Immutable: adding gives a new histogram."""

    __slots__ = ("buckets", "counts", "layout", "least_s", "most_s", "total_s")

    def __init__(
        self,
        layout: LogLinear,
        buckets: Counts,
        counts: Counts,
        total_s: float = 0.0,
        least_s: float = -math.inf,
        most_s: float = math.inf,
    ) -> None:
        self.layout = layout
        self.buckets = buckets
        """Ascending."""
        self.counts = counts
        self.total_s = total_s
        self.least_s = least_s
        """The smallest duration; -inf where it is not known."""
        self.most_s = most_s
        """The greatest duration; inf where it is not known."""

    @classmethod
    def empty(cls, layout: LogLinear) -> Histogram:
        return cls.merged(layout, ())

    @classmethod
    def of(cls, layout: LogLinear, durations_s: ArrayLike) -> Histogram:
        """Count durations. A negative one (a clock that jumped) counts as 0; NaN does not count."""
        values = np.asarray(durations_s, np.float64)
        values = np.maximum(values[~np.isnan(values)], 0.0)
        if not values.size:
            return cls.empty(layout)
        counts = np.bincount(layout.bucket_of(values))
        return cls.from_dense(layout, counts, float(values.sum()), float(values.min()), float(values.max()))

    @classmethod
    def from_dense(
        cls, layout: LogLinear, counts: Counts, total_s: float, least_s: float = -math.inf, most_s: float = math.inf
    ) -> Histogram:
        """Make a histogram from an array with the count of every bucket."""
        filled = np.flatnonzero(counts)
        return cls(layout, filled, counts[filled], total_s, least_s, most_s)

    @classmethod
    def from_json(cls, layout: LogLinear, encoded: Mapping[str, Any]) -> Histogram:
        """Make a histogram from what `encode` gave, and JSON carried."""
        filled = encoded["buckets"]
        buckets = np.fromiter(map(int, filled), np.int64, len(filled))
        counts = np.fromiter(filled.values(), np.int64, len(filled))
        return cls(layout, buckets, counts, float(encoded["sum_s"]))

    @classmethod
    def merged(cls, layout: LogLinear, histograms: Iterable[Histogram]) -> Histogram:
        """Add up histograms of one layout."""
        counts = np.zeros(layout.buckets, np.int64)
        total_s, least_s, most_s = 0.0, math.inf, -math.inf
        for each in histograms:
            counts[each.buckets] += each.counts
            total_s += each.total_s
            least_s, most_s = min(least_s, each.least_s), max(most_s, each.most_s)
        return cls.from_dense(layout, counts, total_s, least_s, most_s)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram.merged(self.layout, (self, other))

    def __sub__(self, earlier: Histogram) -> Histogram:
        """The values that were added after `earlier`."""
        counts = np.zeros(self.layout.buckets, np.int64)
        counts[self.buckets] = self.counts
        counts[earlier.buckets] -= earlier.counts
        return Histogram.from_dense(self.layout, counts, self.total_s - earlier.total_s)

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def mean_s(self) -> float | None:
        """Exact; None while empty."""
        count = self.count
        return self.total_s / count if count else None

    def quantile(self, q: float) -> float | None:
        """Return the duration at rank ceil(q * count), as the middle of its bucket; None while empty.

        For q = 0 and q = 1 it is exact where the smallest and the greatest duration are known.
        """
        bucket = self._bucket_at(q)
        if bucket is None:
            return None
        if q <= 0 and math.isfinite(self.least_s):
            return self.least_s
        if q >= 1 and math.isfinite(self.most_s):
            return self.most_s
        middle = float(self.layout.middles[bucket])
        return min(max(middle, self.least_s), self.most_s)

    def bounds(self, q: float) -> tuple[float, float] | None:
        """Return the seconds between which the duration at rank ceil(q * count) lies; None while empty."""
        bucket = self._bucket_at(q)
        if bucket is None:
            return None
        low, high = self.layout.ends[bucket : bucket + 2].tolist()
        return max(low, self.least_s), min(high, self.most_s)

    def encode(self) -> dict[str, Any]:
        """Return `{"count", "sum_s", "buckets": {bucket: count}}` for JSON."""
        buckets = dict(zip(map(str, self.buckets.tolist()), self.counts.tolist(), strict=True))
        return {"count": self.count, "sum_s": self.total_s, "buckets": buckets}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self.count, self.total_s, self.most_s))

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} durations from {self.least_s:.6g} s to {self.most_s:.6g} s>"

    def _values(self) -> tuple[object, ...]:
        ends = self.least_s, self.most_s
        return id(self.layout), self.buckets.tolist(), self.counts.tolist(), self.total_s, ends

    def _bucket_at(self, q: float) -> int | None:
        if not self.counts.size:
            return None
        ranks = np.cumsum(self.counts)
        return int(self.buckets[np.searchsorted(ranks, rank_of(q, int(ranks[-1])))])


def rank_of(q: float, count: int) -> int:
    """ceil(q * count), from 1: the smallest duration that `q` of them do not exceed.

    Without what floats add to it: 0.999 * 1000 is a little more than 999 for some ways to write 0.999.
    """
    return min(max(math.ceil(q * count - 1e-9 * count), 1), max(count, 1))
