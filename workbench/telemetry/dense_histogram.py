"""A histogram to count into: dense in memory, for batches of values that arrive many times a second."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


class BucketEdges(Protocol):
    """The buckets: bucket i holds values in (edges[i - 1], edges[i]], the first and the last one all beyond."""

    edges: NDArray[np.float64]


class DenseHistogram:
    """A count for every bucket of a layout, and the exact sum of the values."""

    __slots__ = ("counts", "layout", "total")

    def __init__(self, layout: BucketEdges, counts: NDArray[np.int64] | None = None, total: float = 0.0) -> None:
        self.layout = layout
        self.counts = np.zeros(len(layout.edges) + 1, np.int64) if counts is None else counts
        self.total = total

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def add(self, values: ArrayLike) -> None:
        """Count a batch of values at once. A negative one (a clock that jumped) counts as 0."""
        found = np.maximum(np.asarray(values, np.float64), 0.0)
        buckets = np.searchsorted(self.layout.edges, found, side="left")
        self.counts += np.bincount(buckets, minlength=len(self.counts))
        self.total += float(found.sum())

    def add_sparse(self, buckets: NDArray[np.int64], counts: NDArray[np.int64], total: float) -> None:
        """Add values that are counted by bucket already; `total` is their sum."""
        self.counts[buckets] += counts
        self.total += total

    def merge(self, other: Self) -> None:
        """Add the values of another histogram of this layout."""
        self.counts += other.counts
        self.total += other.total

    def copy(self) -> Self:
        return type(self)(self.layout, self.counts.copy(), self.total)

    def since(self, earlier: Self) -> Self:
        """Return what was added after `earlier`, an older copy of this histogram."""
        return type(self)(self.layout, self.counts - earlier.counts, self.total - earlier.total)
