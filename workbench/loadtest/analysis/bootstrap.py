"""Confidence intervals for the ratio of two runs, by a moving-block bootstrap over seconds.

Requests of one second share a queue, a batch and a busy neighbour, and so do seconds that follow each other. To
resample requests as if they were independent would give intervals that are far too narrow. So a run is a series of
seconds, each with its histogram and its count; a resample joins randomly placed blocks of consecutive seconds, their
length growing with n^(1/3), until it is as long as the run, and a quantile of it is read from the merged histogram (the
moving-block bootstrap: Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
Statistics 17, 1989).

Percentile intervals of few blocks are too narrow as well. Their level is therefore widened to what Student's t would
ask for with so many blocks (the expanded percentile interval: Hesterberg, "What teachers should know about the
bootstrap", The American Statistician 69, 2015, section 5.3). Of a hundred pairs of equal runs, 10 s or 40 s long, whose
level drifted from second to second, five to ten were told apart, where 95 % would be five.

It does not cover how one whole run differs from the next, through memory layout, caches or other work of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from workbench.loadtest.analysis.aggregate import Second
from workbench.loadtest.analysis.latency_histogram import LAYOUT

LEVEL = 0.95
RESAMPLES = 4000
LEAST_SECONDS = 8
"""Shorter runs have too few blocks for an interval."""

Floats = NDArray[np.float64]


def block_length(seconds: int) -> int:
    """1.5 n^(1/3), a quarter of the run at most: long enough for what carries over, short enough for many blocks."""
    return max(min(round(1.5 * math.cbrt(seconds)), seconds // 4), 1)


def resampled(seconds: Sequence[Second], qs: Sequence[float], random: np.random.Generator) -> tuple[Floats, Floats]:
    """The quantiles in seconds, a column each, and the answers a second, with a row for each resample."""
    weights = _weights(len(seconds), random)
    buckets = np.unique(np.concatenate([second.latency.buckets for second in seconds]))
    counts = np.zeros((len(seconds), len(buckets)))
    for row, second in zip(counts, seconds, strict=True):
        row[np.searchsorted(buckets, second.latency.buckets)] = second.latency.counts
    ranks = np.cumsum(weights @ counts, axis=1)
    values = LAYOUT.middles[buckets]
    wanted = np.maximum(np.ceil(ranks[:, -1:] * np.asarray(qs) - 1e-6), 1)
    found = np.stack([values[_first_at_least(ranks, wanted[:, k])] for k in range(len(qs))], axis=1)
    answered = np.array([second.answered for second in seconds], np.float64)
    return found, weights @ answered / len(seconds)


def interval(ratios: Floats, blocks: float) -> tuple[float, float]:
    """The confidence interval of a ratio at LEVEL; `blocks` is their number in the shorter run."""
    tail = expanded_tail((1 - LEVEL) / 2, blocks)
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(tail: float, blocks: float) -> float:
    """The share to cut off at each end so that `tail` is left out in spite of few blocks."""
    normal = NormalDist()
    return normal.cdf(-math.sqrt(blocks / (blocks - 1)) * _student(1 - tail, blocks - 1))


def _weights(seconds: int, random: np.random.Generator) -> Floats:
    """How often each second is in each resample."""
    length = block_length(seconds)
    starts = random.integers(0, seconds - length + 1, (RESAMPLES, math.ceil(seconds / length)))
    chosen = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :seconds]
    weights = np.zeros((RESAMPLES, seconds))
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], chosen), 1.0)
    return weights


def _first_at_least(ranks: Floats, wanted: Floats) -> NDArray[np.intp]:
    found: NDArray[np.intp] = np.minimum((ranks < wanted[:, None]).sum(axis=1), ranks.shape[1] - 1)
    return found


def _student(p: float, freedom: float) -> float:
    """The quantile of Student's t, by its expansion about the normal (Abramowitz and Stegun 26.7.5): within 1 % from
    3 degrees of freedom on."""
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
