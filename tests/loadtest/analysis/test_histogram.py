from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.loadtest.analysis.histogram import BUCKETS, EMPTY, RELATIVE_ERROR, Histogram, bucket_of, edge, rank_of

DURATIONS = st.lists(st.floats(1e-6, 4000.0), min_size=1, max_size=200)


@settings(max_examples=200, deadline=None)
@given(DURATIONS, st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_within_the_stated_error_of_the_duration_at_its_rank(durations: list[float], q: float) -> None:
    histogram = Histogram.of(durations)
    truth = sorted(durations)[rank_of(q, len(durations)) - 1]
    assert histogram.quantile(q) == pytest.approx(truth, rel=RELATIVE_ERROR * 1.0001)
    low, high = histogram.bounds(q) or (0, 0)
    assert low <= truth <= high


@settings(max_examples=100, deadline=None)
@given(DURATIONS, DURATIONS, DURATIONS)
def test_merging_is_counting_together_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    together = Histogram.of(a + b + c)
    merged = Histogram.of(c) + (Histogram.of(a) + Histogram.of(b))
    assert (merged.buckets.tolist(), merged.counts.tolist()) == (together.buckets.tolist(), together.counts.tolist())
    assert (merged.least_s, merged.most_s) == (together.least_s, together.most_s)
    assert merged.total_s == pytest.approx(together.total_s)


@settings(max_examples=100, deadline=None)
@given(DURATIONS)
def test_json_brings_a_histogram_back_as_it_was(durations: list[float]) -> None:
    histogram = Histogram.of(durations)
    assert Histogram.decode(json.loads(json.dumps(histogram.encode()))) == histogram


def test_json_is_compact() -> None:
    durations = np.random.default_rng(0).lognormal(-5, 0.5, 1_000_000)
    assert len(json.dumps(Histogram.of(durations).encode(), separators=(",", ":"))) < 6_000


def test_an_empty_one_has_no_quantiles_and_adds_nothing() -> None:
    assert EMPTY.quantile(0.5) is None
    assert EMPTY.bounds(0.5) is None
    assert EMPTY.count == 0
    some = Histogram.of([0.1, 0.2])
    assert some + EMPTY == some
    assert Histogram.merged([]) == EMPTY
    assert Histogram.decode(json.loads(json.dumps(EMPTY.encode()))) == EMPTY


def test_the_least_and_the_most_are_exact() -> None:
    histogram = Histogram.of([0.0123456789, 0.5, 1.23456789])
    assert (histogram.quantile(0), histogram.quantile(1)) == (0.0123456789, 1.23456789)


def test_what_lies_beyond_the_buckets_is_counted_at_their_ends() -> None:
    histogram = Histogram.of([-1.0, 0.0, 1e-9, 1e6, float("nan")])
    assert histogram.count == 4
    assert histogram.buckets.tolist() == [0, BUCKETS - 1]
    assert histogram.quantile(1) == 1e6


def test_every_bucket_begins_at_its_edge() -> None:
    edges = np.array([edge(bucket) for bucket in range(BUCKETS)])
    assert bucket_of(edges).tolist() == list(range(BUCKETS))
    assert bucket_of(np.nextafter(edges[1:], 0)).tolist() == list(range(BUCKETS - 1))
    assert (np.diff(edges) / edges[:-1]).max() <= 2 * RELATIVE_ERROR


@pytest.mark.parametrize(
    ("q", "count", "rank"), [(0.99, 100, 99), (99.9 / 100, 1000, 999), (0.5, 1, 1), (0.0, 5, 1), (1.0, 5, 5)]
)
def test_a_rank_is_not_pushed_up_by_what_floats_add(q: float, count: int, rank: int) -> None:
    assert rank_of(q, count) == rank


def test_the_share_above_a_duration() -> None:
    assert Histogram.of([0.001] * 99 + [0.1]).share_above(0.05) == pytest.approx(0.01)


@pytest.mark.parametrize("wrong", [{}, {"steps": [1], "counts": []}, {"steps": [-5], "counts": [1], "sum_s": 0}])
def test_what_is_no_histogram_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Histogram.decode(wrong)
