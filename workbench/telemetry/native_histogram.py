"""Prometheus's native histogram, schema 3: buckets by powers of 2^(1/8).

Bucket i holds values in (2^((i - 1) / 8), 2^(i / 8)], so each is 9 % wide and every power of two is an edge. Its counts
cannot be computed from our own log-linear buckets (`core.histogram`), which have other edges. So values are counted
twice, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.telemetry.dense_histogram import DenseHistogram

SCHEMA = 3
PER_OCTAVE = 2**SCHEMA


class Scale:
    """The range of the buckets: above 2^`low`, up to 2^`high`.

    Values up to 2^`low` are counted in the zero bucket, values over 2^`high` in the last one.
    """

    def __init__(self, low: int, high: int) -> None:
        self.first = low * PER_OCTAVE + 1
        """Prometheus's index of the lowest bucket."""
        self.zero_threshold = 2.0**low
        octave = 2.0 ** (np.arange(PER_OCTAVE) / PER_OCTAVE)
        edges = np.concatenate([np.ldexp(octave, power) for power in range(low, high)])  # powers of two exact
        self.edges: NDArray[np.float64] = edges
        """Lower edges, exclusive, of the buckets after the zero bucket."""


DURATIONS = Scale(-20, 16)
"""Seconds, from 1 us to 18 h."""
SIZES = Scale(-1, 40)
"""Bytes, from 1 to a TiB; the zero bucket counts empty bodies."""


class NativeHistogram(DenseHistogram):
    """Counts per bucket, the zero bucket first, and the exact sum."""

    __slots__ = ()

    layout: Scale

    def add_counted(self, counts: Mapping[int, int]) -> None:
        """Count values; `counts` maps a value to how often it occurred."""
        values = np.fromiter(counts, np.float64, len(counts))
        times = np.fromiter(counts.values(), np.int64, len(counts))
        np.add.at(self.counts, np.searchsorted(self.layout.edges, values, side="left"), times)
        self.total += float(values @ times)

    @property
    def zeros(self) -> int:
        """The count of the zero bucket."""
        return int(self.counts[0])

    def filled(self) -> Iterator[tuple[int, int]]:
        """Yield (Prometheus's index, count) of the buckets that hold something, ascending."""
        buckets = np.flatnonzero(self.counts[1:])
        yield from zip((self.layout.first + buckets).tolist(), self.counts[1 + buckets].tolist(), strict=True)

    def up_to_power(self, power: int) -> int:
        """Return the number of values up to 2^`power`, which is an edge."""
        return int(self.counts[: power * PER_OCTAVE - self.layout.first + 2].sum())

    def encode(self) -> dict[str, Any]:
        """Return `{"count", "sum", "zeros", "buckets": {index: count}}`, with filled buckets only."""
        buckets = {str(index): count for index, count in self.filled()}
        return {"count": self.count, "sum": self.total, "zeros": self.zeros, "buckets": buckets}
