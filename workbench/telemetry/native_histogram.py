"""A histogram by powers of 2^(1/8): the buckets that Prometheus calls native, schema 3.

Bucket i of schema 3 holds values in (2^((i - 1) / 8), 2^(i / 8)], so that each is 9 % wide and every power of two is an
edge. Our own log-linear buckets (`core.histogram`) have other edges, and no sum of theirs is one of these: values are
counted a second time, exactly, when they are folded, rather than guessed when somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.telemetry.histogram import DenseHistogram

SCHEMA = 3
PER_OCTAVE = 2**SCHEMA


class Scale:
    """Where the buckets of a kind of quantity begin and end: above 2^`low`, up to 2^`high`.

    What is not above 2^`low` goes to the zero bucket, what is over 2^`high` to the last one.
    """

    def __init__(self, low: int, high: int) -> None:
        self.first = low * PER_OCTAVE + 1
        """The index, in Prometheus's counting, of the lowest bucket."""
        self.zero_threshold = 2.0**low
        octave = 2.0 ** (np.arange(PER_OCTAVE) / PER_OCTAVE)
        edges = np.concatenate([np.ldexp(octave, power) for power in range(low, high)])  # powers of two exact
        self.edges: NDArray[np.float64] = edges
        """Lower edges, exclusive, of the buckets after the zero bucket."""


DURATIONS = Scale(-20, 16)
"""Seconds, from 1 us to 18 h."""
SIZES = Scale(-1, 40)
"""Bytes, from 1 to a TiB; the zero bucket holds what is empty."""


class NativeHistogram(DenseHistogram):
    """Counts per bucket, the zero bucket first, and the exact sum."""

    __slots__ = ()

    layout: Scale

    def add_counted(self, counts: Mapping[int, int]) -> None:
        """Count values of which each came so many times."""
        values = np.fromiter(counts, np.float64, len(counts))
        times = np.fromiter(counts.values(), np.int64, len(counts))
        np.add.at(self.counts, np.searchsorted(self.layout.edges, values, side="left"), times)
        self.total += float(values @ times)

    @property
    def zeros(self) -> int:
        """The count of the zero bucket."""
        return int(self.counts[0])

    def filled(self) -> Iterator[tuple[int, int]]:
        """(index, count) of the buckets that hold something, ascending, indices as Prometheus counts them."""
        buckets = np.flatnonzero(self.counts[1:])
        yield from zip((self.layout.first + buckets).tolist(), self.counts[1 + buckets].tolist(), strict=True)

    def up_to_power(self, power: int) -> int:
        """How many values are at most 2^`power`, which is an edge."""
        return int(self.counts[: power * PER_OCTAVE - self.layout.first + 2].sum())

    def encode(self) -> dict[str, Any]:
        """`{"count", "sum", "zeros", "buckets": {index: count}}`, with the buckets that hold something only."""
        buckets = {str(index): count for index, count in self.filled()}
        return {"count": self.count, "sum": self.total, "zeros": self.zeros, "buckets": buckets}
