from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.histogram import SERVICE, Histogram
from workbench.telemetry.counters import Durations
from workbench.telemetry.dense_histogram import DenseHistogram

durations = st.lists(st.floats(1e-6, 1000.0), max_size=60)


def of(values: list[float]) -> DenseHistogram:
    histogram = DenseHistogram(SERVICE)
    histogram.add(values)
    return histogram


@given(durations, durations)
def test_what_came_since_a_copy_is_what_was_added_since(a: list[float], b: list[float]) -> None:
    histogram = of(a)
    earlier = histogram.copy()
    histogram.add(b)
    np.testing.assert_array_equal(histogram.since(earlier).counts, of(b).counts)


@given(durations)
def test_counting_in_batches_is_counting_at_once(values: list[float]) -> None:
    counted = Durations()
    counted.add(values[:20])
    counted.add(values[20:])
    assert counted.histogram().encode()["buckets"] == Histogram.of(SERVICE, values).encode()["buckets"]
    np.testing.assert_allclose(counted.linear.total, sum(values))


def test_what_is_out_of_range_is_still_counted() -> None:
    histogram = of([-1.0, 0.0, 1e-9, 5000.0])
    assert (int(histogram.counts[0]), int(histogram.counts[-1])) == (3, 1)
    assert (histogram.count, histogram.total) == (4, 5000.000000001)
