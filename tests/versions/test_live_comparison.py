"""Two versions beside each other, from what a service counts of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from workbench.core.histogram import SERVICE, Histogram
from workbench.versions.live_comparison import NOTHING, VersionCounts, compare_live


def counts(seconds: int, calls: int, latency_s: Callable[[], Sequence[float]], errors: int = 0) -> list[VersionCounts]:
    """What a version did in each of so many seconds."""
    found = []
    for _ in range(seconds):
        now = latency_s()
        stages = {"queue": 0.001 * calls, "compute": sum(now)}
        found.append(VersionCounts(calls, errors, Histogram.of(SERVICE, now), stages))
    return found


def like(random: np.random.Generator, calls: int, factor: float = 1.0) -> Callable[[], Sequence[float]]:
    return lambda: (0.01 * factor * np.exp(random.normal(0, 0.2, calls))).tolist()


@pytest.mark.parametrize(("factor", "slower"), [(1.0, False), (1.2, True)])
def test_a_p99_that_is_a_fifth_longer_is_found_and_an_equal_one_is_not(factor: float, slower: bool) -> None:
    random = np.random.default_rng(5)
    first, second = counts(60, 100, like(random, 100)), counts(60, 100, like(random, 100, factor))
    found = compare_live(first, second)
    assert found.slow.enough
    assert found.slow.larger is slower
    assert not found.slow.smaller
    assert found.slower_than_s == pytest.approx(0.01 * np.exp(2.33 * 0.2), rel=0.06)
    assert found.slow.first == pytest.approx(0.01, abs=0.004)
    assert not found.errors.larger


def test_the_seconds_are_added_up() -> None:
    random = np.random.default_rng(5)
    found = compare_live(counts(12, 50, like(random, 50)), counts(12, 40, like(random, 40), errors=4))
    assert (found.first.calls, found.first.errors, found.second.calls, found.second.errors) == (600, 0, 480, 48)
    assert found.first.latency.count == 600
    assert found.first.stages_s["queue"] == pytest.approx(0.001)
    assert found.first.stages_s["compute"] == pytest.approx(0.0102, rel=0.1)
    assert found.errors.larger
    assert (found.errors.first, found.errors.second) == (0.0, 0.1)


def test_a_version_without_calls_tells_nothing() -> None:
    busy = counts(20, 50, like(np.random.default_rng(5), 50))
    for first, second in ((busy, [NOTHING] * 20), ([NOTHING] * 20, busy), ([NOTHING] * 20, [NOTHING] * 20)):
        found = compare_live(first, second)
        assert not found.errors.enough
        assert not found.slow.enough
    assert compare_live([NOTHING] * 20, busy).slower_than_s is None


def test_a_snapshot_counts_all_but_the_calls_whose_caller_left() -> None:
    entry = {
        "requests": {"ok": 90, "failed": 4, "expired": 1, "cancelled": 5},
        "latency": {"request": Histogram.of(SERVICE, [0.01] * 94).encode()},
        "stages_s": {"queue": 0.5},
    }
    found = VersionCounts.of(entry)
    assert (found.calls, found.errors, found.latency.count, found.stages_s) == (95, 5, 94, {"queue": 0.5})
