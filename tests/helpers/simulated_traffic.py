"""Seconds of simulated calls of two versions, as a service counts them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workbench.core.histogram import SERVICE, Histogram
from workbench.versions.live_comparison import VersionCounts


def version_second(
    random: np.random.Generator, rate: float, errors: float, slower: float = 1.0, busy: float = 1.0
) -> VersionCounts:
    """One second of a version: log-normal latencies around 10 ms (p99 is 32 ms), and errors that come together.

    `slower`: by how much each call takes longer. `busy`: how much longer calls take in this second for all.
    """
    calls = int(random.poisson(rate))
    failed = int(random.binomial(calls, min(errors * random.gamma(4.0, 0.25), 1.0)))
    latencies = 0.01 * slower * busy * np.exp(0.5 * random.standard_normal(calls - failed))
    return VersionCounts(calls, failed, Histogram.of(SERVICE, latencies), {})


def version_seconds(
    random: np.random.Generator,
    rates: tuple[float, float],
    errors: tuple[float, float],
    slower: float = 1.0,
) -> Iterator[tuple[VersionCounts, VersionCounts]]:
    """Seconds of both versions without an end; the machine is busier in some seconds than in others, and for both."""
    busy: NDArray[np.float64] | float = 0.0
    while True:
        busy = 0.8 * busy + 0.1 * random.standard_normal()
        yield (
            version_second(random, rates[0], errors[0], busy=float(np.exp(busy))),
            version_second(random, rates[1], errors[1], slower, busy=float(np.exp(busy))),
        )


def agreeing_seconds(
    random: np.random.Generator, rows_per_s: float, differ: float, rows: int = 8
) -> Iterator[tuple[int, int]]:
    """(rows that both versions answered, those of them alike) of seconds without an end. The rows of one call are much
    alike, so where one differs its neighbours often do."""
    while True:
        calls = int(random.poisson(rows_per_s / rows))
        differing = random.binomial(rows, random.beta(3 * differ, 3 * (1 - differ), size=calls))
        yield calls * rows, calls * rows - int(differing.sum())
