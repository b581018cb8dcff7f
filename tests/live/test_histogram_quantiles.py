from __future__ import annotations

import numpy as np
import pytest

from workbench.live.histogram_quantiles import LAST, RecentLatency, middle_s, quantiles
from workbench.telemetry.histogram import BUCKETS, EDGES, Histogram


def test_buckets_mean_what_the_service_means_by_them() -> None:
    assert LAST == BUCKETS - 1
    assert [middle_s(bucket) for bucket in range(1, LAST)] == pytest.approx(
        list((EDGES[:-1] + EDGES[1:]) / 2), rel=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_those_of_the_services_own_histogram(seed: int) -> None:
    histogram = Histogram()
    histogram.add(np.random.default_rng(seed).lognormal(-6, 2, 500))
    counts = {int(bucket): count for bucket, count in histogram.encode()["buckets"].items()}
    ranks = (0.0, 0.5, 0.95, 0.99, 1.0)
    assert quantiles(counts, ranks) == pytest.approx([histogram.quantile(rank) for rank in ranks], rel=1e-12)


@pytest.mark.parametrize("duration_s", [0.0, 1e-6, 5e-3, 1000.0, 5000.0])
def test_a_single_duration_is_every_quantile(duration_s: float) -> None:
    histogram = Histogram()
    histogram.add([duration_s])
    counts = {int(bucket): count for bucket, count in histogram.encode()["buckets"].items()}
    assert quantiles(counts, (0.5, 0.99)) == (histogram.quantile(0.5),) * 2


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantiles({}, (0.5, 0.99)) == (None, None)


def test_recent_counts_cover_the_window_and_no_more() -> None:
    recent = RecentLatency(window_s=1.0)
    recent.add(0.5, {1: 1})
    recent.add(0.5, {1: 1, 2: 1})
    assert recent.counts == {1: 2, 2: 1}
    recent.add(0.5, {3: 1})
    assert recent.counts == {1: 1, 2: 1, 3: 1}
    recent.add(0.5, {})
    assert recent.counts == {3: 1}
    recent.add(0.5, {})
    assert recent.counts == {}


def test_a_tick_longer_than_the_window_still_counts() -> None:
    recent = RecentLatency(window_s=1.0)
    recent.add(0.25, {1: 1})
    recent.add(30.0, {2: 5})
    assert recent.counts == {2: 5}
