from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.loadtest.analysis.latency_histogram import EMPTY, LAYOUT, counted, decode, encode

DURATIONS = st.lists(st.floats(1e-6, 4000.0), min_size=1, max_size=200)


@settings(max_examples=100, deadline=None)
@given(DURATIONS)
def test_json_brings_a_histogram_back_as_it_was(durations: list[float]) -> None:
    histogram = counted(durations)
    assert decode(json.loads(json.dumps(encode(histogram)))) == histogram


def test_json_is_compact() -> None:
    durations = np.random.default_rng(0).lognormal(-5, 0.5, 1_000_000)
    assert len(json.dumps(encode(counted(durations)), separators=(",", ":"))) < 6_000


def test_an_empty_one_survives_json() -> None:
    assert decode(json.loads(json.dumps(encode(EMPTY)))) == EMPTY


def test_a_kept_histogram_has_the_form_that_kept_runs_have() -> None:
    kept = {"sum_s": 0.504, "min_s": 0.001, "max_s": 0.5, "steps": [1283, 65, 1084], "counts": [1, 2, 1]}
    assert encode(counted([0.001, 0.0015, 0.0015, 0.5])) == kept | {"sum_s": pytest.approx(0.504)}
    assert decode(kept).quantile(1) == 0.5


def test_the_least_and_the_most_are_exact() -> None:
    histogram = counted([0.0123456789, 0.5, 1.23456789])
    assert (histogram.quantile(0), histogram.quantile(1)) == (0.0123456789, 1.23456789)


def test_what_lies_beyond_the_buckets_is_counted_at_their_ends() -> None:
    histogram = counted([-1.0, 0.0, 1e-9, 1e6, float("nan")])
    assert histogram.count == 4
    assert histogram.buckets.tolist() == [0, LAYOUT.buckets - 1]
    assert histogram.quantile(1) == 1e6


@pytest.mark.parametrize("wrong", [{}, {"steps": [1], "counts": []}, {"steps": [-5], "counts": [1], "sum_s": 0}])
def test_what_is_no_histogram_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode(wrong)
