"""Says whether chance explains that a share of calls differs between two versions, however often it is asked.

A test that is made for one look at the end calls a good version bad in a third of all cases when it is looked at every
second. This one is valid at all looks together: the interval is a confidence sequence of a normal mixture (Robbins,
"Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41, 1970; as a
test of two live versions: Johari, Koomen, Pekelis, Walsh, "Peeking at A/B tests", KDD 2017).

Calls of one second share batches, a queue and a busy neighbour, so they are not independent. The variance is therefore
taken from the seconds (the ratio estimator of cluster sampling: Cochran, "Sampling Techniques", 3rd edition, section
2.11), and is never less than that of independent calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ALPHA: Final = 0.05
"""How often at most a difference is told where there is none, over all looks together."""

LEAST_SECONDS: Final = 10
"""Seconds with calls that each version needs."""

LEAST_CALLS: Final = 200
"""Calls that each version needs."""


@dataclass(frozen=True, slots=True)
class ShareDifference:
    """How much larger a share of calls is for the second version than for the first."""

    first: float
    """The share of the first version's calls, from 0 to 1."""
    second: float
    low: float
    """Of `second - first`: where the interval begins; -1 where there are too few calls."""
    high: float
    enough: bool
    """There are calls enough to tell anything."""

    @property
    def larger(self) -> bool:
        """Chance does not explain that the second version's share is larger."""
        return self.enough and self.low > 0

    @property
    def smaller(self) -> bool:
        return self.enough and self.high < 0


def share_difference(
    first: NDArray[np.int64], second: NDArray[np.int64], matters: float | tuple[float, ...], alpha: float = ALPHA
) -> ShareDifference:
    """Compare the shares of calls that something is true of.

    `first` and `second` have a row for each second, int64 [seconds, 2]: calls, and those of them of which it is true.
    `matters` is the difference that the test is tuned to: one of this size is found soonest.
    """
    one, other = _Share(first), _Share(second)
    enough = min(one.calls, other.calls) >= LEAST_CALLS and min(one.seconds, other.seconds) >= LEAST_SECONDS
    if not enough:
        return ShareDifference(one.share, other.share, -1.0, 1.0, False)
    within = _within(one.variance + other.variance, matters, alpha)
    found = other.share - one.share
    return ShareDifference(one.share, other.share, max(found - within, -1.0), min(found + within, 1.0), True)


@dataclass(frozen=True, slots=True)
class ShareInterval:
    """A share of the calls of one version, and where it lies."""

    share: float
    low: float
    """0 where there are too few calls."""
    high: float
    enough: bool
    """There are calls enough to tell anything."""


def share_interval(
    by_second: NDArray[np.int64], matters: float | tuple[float, ...], alpha: float = ALPHA
) -> ShareInterval:
    """Where the share lies of calls that something is true of: right at all looks together, as `share_difference`."""
    one = _Share(by_second)
    if one.calls < LEAST_CALLS or one.seconds < LEAST_SECONDS:
        return ShareInterval(one.share, 0.0, 1.0, False)
    within = _within(one.variance, matters, alpha)
    return ShareInterval(one.share, max(one.share - within, 0.0), min(one.share + within, 1.0), True)


def _within(variance: float, matters: float | tuple[float, ...], alpha: float) -> float:
    """How far the truth may lie from an estimate of this variance, at any time. Tuned to several differences, each
    takes its part of alpha, and the narrowest interval is right."""
    sizes = matters if isinstance(matters, tuple) else (matters,)
    return min(_mixed(variance, size * size, alpha / len(sizes)) for size in sizes)


def _mixed(variance: float, mixed: float, alpha: float) -> float:
    return math.sqrt(
        2 * variance * (variance + mixed) / mixed * math.log(math.sqrt((variance + mixed) / variance) / alpha)
    )


class _Share:
    """A share of calls, and the variance of its estimate."""

    def __init__(self, by_second: NDArray[np.int64]) -> None:
        by_second = by_second[by_second[:, 0] > 0]
        self.seconds = len(by_second)
        self.calls, true = (int(each) for each in by_second.sum(axis=0))
        self.share = true / self.calls if self.calls else 0.0
        smoothed = (true + 1) / (self.calls + 2)  # none of a hundred calls failed: that does not mean that none can
        independent = smoothed * (1 - smoothed) / max(self.calls, 1)
        off = by_second[:, 1] - self.share * by_second[:, 0]
        among = self.seconds / max(self.seconds - 1, 1) * float(off @ off) / max(self.calls, 1) ** 2
        self.variance = max(independent, among)
