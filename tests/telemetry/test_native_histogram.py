from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.telemetry.native_histogram import DURATIONS, SCHEMA, SIZES, NativeHistogram, Scale

durations = st.lists(st.floats(1e-5, 60_000.0), max_size=60)


def of(values: list[float], scale: Scale = DURATIONS) -> NativeHistogram:
    histogram = NativeHistogram(scale)
    histogram.add(values)
    return histogram


def edge(index: int) -> float:
    """The upper edge of a bucket of Prometheus's schema 3, by its definition."""
    return float(2 ** (index * 2**-SCHEMA))


@given(durations)
def test_each_value_lies_in_the_bucket_that_the_schema_says(values: list[float]) -> None:
    for value in values:
        ((index, count),) = of([value]).filled()
        assert count == 1
        assert edge(index - 1) * (1 - 1e-15) < value <= edge(index) * (1 + 1e-15)


def test_a_power_of_two_belongs_to_the_bucket_that_it_closes() -> None:
    for power in range(-19, 16):
        assert list(of([math.ldexp(1.0, power)]).filled()) == [(8 * power, 1)]
        assert list(of([math.nextafter(math.ldexp(1.0, power), math.inf)]).filled()) == [(8 * power + 1, 1)]
    assert list(of([1, 2, 1024], SIZES).filled()) == [(0, 1), (8, 1), (80, 1)]


def test_what_is_out_of_range_is_still_counted() -> None:
    histogram = of([-1.0, 0.0, 2.0**-20, 1e9])
    assert histogram.zeros == 3
    assert list(histogram.filled()) == [(16 * 8, 1)]
    assert histogram.count == 4
    assert of([0], SIZES).zeros == 1


@given(st.lists(st.integers(0, 2**39), max_size=40), st.integers(0, 40))
def test_what_is_at_most_a_power_of_two_is_known_exactly(sizes: list[int], power: int) -> None:
    assert of([float(size) for size in sizes], SIZES).up_to_power(power) == sum(size <= 2**power for size in sizes)


@given(durations, durations)
def test_what_came_since_a_copy_is_what_was_added_since(a: list[float], b: list[float]) -> None:
    histogram = of(a)
    earlier = histogram.copy()
    histogram.add(b)
    np.testing.assert_array_equal(histogram.since(earlier).counts, of(b).counts)


def test_the_sparse_form_holds_what_is_there() -> None:
    encoded = of([0, 3, 3, 4096], SIZES).encode()
    assert encoded == {"count": 4, "sum": 4102.0, "zeros": 1, "buckets": {"13": 2, "96": 1}}
