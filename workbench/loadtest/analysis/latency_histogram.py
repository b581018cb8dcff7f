"""The histograms of load tests: any quantile within 0.4 %, merged by adding, a few hundred numbers long.

They are finer than the service's own (2.5 %), because the results of a load test are compared with the truth and with
each other. The smallest and the greatest duration are kept exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from workbench.core.histogram import Histogram, LogLinear

LAYOUT: Final = LogLinear(2, -20, 12, 128, includes="lower", outside=False)
"""The buckets of load tests, from 1 us to 4096 s."""

EMPTY: Final = Histogram.empty(LAYOUT)


def counted(durations_s: ArrayLike) -> Histogram:
    """Count durations. A negative one (a clock that jumped) counts as 0; NaN does not count."""
    return Histogram.of(LAYOUT, durations_s)


def encode(histogram: Histogram) -> dict[str, Any]:
    """Return it for JSON. The filled buckets are the first one and the steps to the next, which are small numbers."""
    if not histogram.count:
        return {"sum_s": 0.0, "steps": [], "counts": []}
    steps = np.diff(histogram.buckets, prepend=0)
    ends = {"min_s": histogram.least_s, "max_s": histogram.most_s}
    return {"sum_s": histogram.total_s, **ends, "steps": steps.tolist(), "counts": histogram.counts.tolist()}


def decode(encoded: Mapping[str, Any]) -> Histogram:
    """Return the histogram that `encode` was given. Raises ValueError, KeyError or TypeError for anything else."""
    buckets = np.cumsum(np.asarray(encoded["steps"], np.int64))
    counts = np.asarray(encoded["counts"], np.int64)
    if buckets.shape != counts.shape or (buckets.size and not (buckets[0] >= 0 and buckets[-1] < LAYOUT.buckets)):
        raise ValueError("not a histogram of a load test")
    if not buckets.size:
        return EMPTY
    ends = float(encoded["min_s"]), float(encoded["max_s"])
    return Histogram(LAYOUT, buckets, counts, float(encoded["sum_s"]), *ends)
