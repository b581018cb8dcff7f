from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.histogram import SERVICE, Histogram, LogLinear, rank_of
from workbench.loadtest.analysis.latency_histogram import LAYOUT

LAYOUTS = pytest.mark.parametrize("layout", [SERVICE, LAYOUT], ids=["service", "load test"])
DURATIONS = st.lists(st.floats(1e-6, 1000.0), min_size=1, max_size=200)


@LAYOUTS
@settings(max_examples=200, deadline=None)
@given(durations=DURATIONS, q=st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]) | st.floats(0.0, 1.0))
def test_a_quantile_is_within_the_stated_error_of_the_duration_at_its_rank(
    layout: LogLinear, durations: list[float], q: float
) -> None:
    histogram = Histogram.of(layout, durations)
    truth = sorted(durations)[rank_of(q, len(durations)) - 1]
    assert histogram.quantile(q) == pytest.approx(truth, rel=layout.relative_error * 1.0001)
    low, high = histogram.bounds(q) or (0, 0)
    assert low <= truth <= high


@LAYOUTS
@settings(max_examples=100, deadline=None)
@given(a=DURATIONS, b=DURATIONS, c=DURATIONS)
def test_merging_is_counting_together_in_any_order(
    layout: LogLinear, a: list[float], b: list[float], c: list[float]
) -> None:
    together = Histogram.of(layout, a + b + c)
    merged = Histogram.of(layout, c) + (Histogram.of(layout, a) + Histogram.of(layout, b))
    assert (merged.buckets.tolist(), merged.counts.tolist()) == (together.buckets.tolist(), together.counts.tolist())
    assert (merged.least_s, merged.most_s) == (together.least_s, together.most_s)
    assert merged.total_s == pytest.approx(together.total_s)


@LAYOUTS
@settings(max_examples=100, deadline=None)
@given(a=DURATIONS, b=DURATIONS)
def test_subtracting_an_older_one_leaves_what_was_added_since(
    layout: LogLinear, a: list[float], b: list[float]
) -> None:
    since = Histogram.of(layout, a + b) - Histogram.of(layout, a)
    added = Histogram.of(layout, b)
    assert (since.buckets.tolist(), since.counts.tolist()) == (added.buckets.tolist(), added.counts.tolist())
    assert since.total_s == pytest.approx(added.total_s, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(DURATIONS)
def test_the_services_json_brings_a_histogram_back(durations: list[float]) -> None:
    histogram = Histogram.of(SERVICE, durations)
    encoded = histogram.encode()
    again = Histogram.from_json(SERVICE, json.loads(json.dumps(encoded)))
    assert again.encode() == encoded
    assert 0 not in encoded["buckets"].values()


def test_an_empty_one_has_no_quantile_and_adds_nothing() -> None:
    empty = Histogram.empty(SERVICE)
    assert (empty.quantile(0.5), empty.bounds(0.5), empty.mean_s, empty.count) == (None, None, None, 0)
    assert empty.encode() == {"count": 0, "sum_s": 0.0, "buckets": {}}
    some = Histogram.of(SERVICE, [0.1, 0.2])
    assert some + empty == some
    assert Histogram.from_json(SERVICE, empty.encode()).count == 0


@pytest.mark.parametrize("duration_s", [0.0, 1e-6, 5e-3, 1000.0, 5000.0])
def test_a_single_duration_is_every_quantile(duration_s: float) -> None:
    histogram = Histogram.from_json(SERVICE, Histogram.of(SERVICE, [duration_s]).encode())
    assert len({histogram.quantile(q) for q in (0.0, 0.5, 0.99, 1.0)}) == 1


def test_an_edge_of_the_service_belongs_to_the_bucket_that_it_closes() -> None:
    for edge in (1e-6, 0.0025, 0.01, 1.0, 1000.0):
        bucket = int(SERVICE.bucket_of(np.array([edge]))[0])
        assert SERVICE.ends[bucket + 1] == edge


def test_what_is_out_of_the_services_range_is_still_counted() -> None:
    histogram = Histogram.from_json(SERVICE, Histogram.of(SERVICE, [-1.0, 0.0, 1e-9, 5000.0]).encode())
    assert (histogram.buckets.tolist(), histogram.counts.tolist()) == ([0, SERVICE.buckets - 1], [3, 1])
    assert (histogram.quantile(0.5), histogram.quantile(1.0)) == (0.5e-6, 1000.0)


def test_the_documented_edge_formula_is_the_one_in_use() -> None:
    for decade, step in ((0, 0), (3, 90), (8, 179)):
        assert SERVICE.edges[180 * decade + step] == (20 + step) * 10**decade / 2e7
    assert SERVICE.buckets == 9 * 180 + 2


def test_every_bucket_of_a_load_test_begins_at_its_edge() -> None:
    begins = LAYOUT.ends[:-1]
    assert LAYOUT.bucket_of(begins).tolist() == list(range(LAYOUT.buckets))
    assert LAYOUT.bucket_of(np.nextafter(begins[1:], 0)).tolist() == list(range(LAYOUT.buckets - 1))
    assert (np.diff(LAYOUT.ends) / begins).max() <= 2 * LAYOUT.relative_error


def test_shifting_a_floats_bits_finds_the_bucket_that_a_search_finds() -> None:
    values = np.random.default_rng(0).lognormal(-5, 4, 20_000)
    assert LAYOUT.bucket_of(values).tolist() == np.searchsorted(LAYOUT.edges, values, side="right").tolist()


@pytest.mark.parametrize(
    ("q", "count", "rank"), [(0.99, 100, 99), (99.9 / 100, 1000, 999), (0.5, 1, 1), (0.0, 5, 1), (1.0, 5, 5)]
)
def test_a_rank_is_not_pushed_up_by_what_floats_add(q: float, count: int, rank: int) -> None:
    assert rank_of(q, count) == rank


def test_histograms_of_two_layouts_are_not_equal() -> None:
    assert Histogram.empty(SERVICE) != Histogram.empty(LAYOUT)
    assert math.isfinite(Histogram.of(SERVICE, [1.0]).least_s)
