"""Percentiles of the latency histograms that the service's stream carries (docs/metrics.md, Snapshots)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

STEPS = 180
"""Buckets per decade."""

LAST = 9 * STEPS + 1
"""The bucket of all that took over 1000 s."""

Counts = Mapping[int, int]
"""Bucket -> how many; only those that hold something."""


def middle_s(bucket: int) -> float:
    """The duration that stands for a bucket, at most 2.5 % off any that it holds."""
    if bucket == 0:
        return _edge_s(0) / 2
    if bucket == LAST:
        return _edge_s(LAST - 1)
    return (_edge_s(bucket - 1) + _edge_s(bucket)) / 2


def quantiles(counts: Counts, ranks: Sequence[float]) -> tuple[float | None, ...]:
    """The duration in seconds at each of `ranks` (ascending, 0 to 1); None while `counts` is empty."""
    total = sum(counts.values())
    if total == 0:
        return (None,) * len(ranks)
    found: list[float | None] = []
    below = 0
    buckets = iter(sorted(counts))
    bucket = next(buckets)
    for rank in ranks:
        while below + counts[bucket] < rank * total:
            below += counts[bucket]
            bucket = next(buckets)
        found.append(middle_s(bucket))
    return tuple(found)


class RecentLatency:
    """The counts of the last `window_s` seconds, as ticks come in."""

    def __init__(self, window_s: float) -> None:
        self.counts: dict[int, int] = {}
        self._window_s = window_s
        self._ticks: deque[tuple[float, Counts]] = deque()
        self._span_s = 0.0

    def add(self, interval_s: float, counts: Counts) -> None:
        """One tick, empty ones too. The newest one always counts, however long it was."""
        self._ticks.append((interval_s, counts))
        self._span_s += interval_s
        for bucket, count in counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        while len(self._ticks) > 1 and self._span_s - self._ticks[0][0] >= self._window_s:
            oldest_s, left = self._ticks.popleft()
            self._span_s -= oldest_s
            for bucket, count in left.items():
                remaining = self.counts[bucket] - count
                if remaining:
                    self.counts[bucket] = remaining
                else:
                    del self.counts[bucket]


def _edge_s(bucket: int) -> float:
    decade, step = divmod(bucket, STEPS)
    return float((20 + step) * 10**decade / 2e7)
