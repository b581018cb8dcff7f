"""Compares two versions by the calls that they answered in the same seconds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.histogram import SERVICE, Histogram
from workbench.core.ports import Outcome, errors_in
from workbench.versions.sequential_test import ALPHA, ShareDifference, share_difference

MATTERS: Final = 0.02
"""A difference of so large a share of calls is found soonest: 2 of 100."""

TAIL: Final = 0.99
"""How slow a call of the second version may be is judged by this quantile of the first one's."""


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """What one version did in a second or so, as a snapshot has it (docs/http.md)."""

    calls: int
    """That ended, but for those whose caller left."""
    errors: int
    latency: Histogram
    """Of those that were run."""
    stages_s: Mapping[str, float]
    """Seconds by stage, of all calls together."""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> VersionCounts:
        """Take the counts from a snapshot's entry of a version."""
        requests: Mapping[str, int] = entry["requests"]
        calls = sum(count for outcome, count in requests.items() if outcome != Outcome.CANCELLED)
        latency = Histogram.from_json(SERVICE, entry["latency"]["request"])
        return cls(calls, errors_in(requests), latency, entry["stages_s"])


NOTHING: Final = VersionCounts(0, 0, Histogram.empty(SERVICE), {})
"""Of a second in which a version was not called."""


@dataclass(frozen=True, slots=True)
class VersionTraffic:
    """What one version answered in the time of a comparison."""

    calls: int
    errors: int
    latency: Histogram
    stages_s: Mapping[str, float]
    """Mean seconds of a call in each stage."""


@dataclass(frozen=True, slots=True)
class LiveComparison:
    """Two versions beside each other."""

    first: VersionTraffic
    second: VersionTraffic
    errors: ShareDifference
    slower_than_s: float | None
    """Of the first version's calls 1 of 100 takes longer; None: none was answered."""
    slow: ShareDifference
    """The share of calls that take longer than that."""


def compare_live(first: Sequence[VersionCounts], second: Sequence[VersionCounts]) -> LiveComparison:
    """Compare two versions by what each did in the same seconds.

    Two questions are asked, about errors and about slow calls, so each may be wrong in half as many cases.
    """
    one, other = _traffic(first), _traffic(second)
    errors = share_difference(errors_by_second(first), errors_by_second(second), MATTERS, ALPHA / 2)
    bounds = one.latency.bounds(TAIL)
    if bounds is None:
        none = np.zeros((0, 2), np.int64)
        return LiveComparison(one, other, errors, None, share_difference(none, none, MATTERS))
    slow = share_difference(slower_by_second(first, bounds[1]), slower_by_second(second, bounds[1]), MATTERS, ALPHA / 2)
    return LiveComparison(one, other, errors, bounds[1], slow)


def _traffic(seconds: Sequence[VersionCounts]) -> VersionTraffic:
    latency = Histogram.merged(SERVICE, (each.latency for each in seconds))
    spent_s: Counter[str] = Counter()
    for each in seconds:
        spent_s.update(each.stages_s)
    return VersionTraffic(
        sum(each.calls for each in seconds),
        sum(each.errors for each in seconds),
        latency,
        {stage: total_s / latency.count for stage, total_s in spent_s.items()} if latency.count else {},
    )


def errors_by_second(seconds: Sequence[VersionCounts]) -> NDArray[np.int64]:
    """Calls and errors of each second, int64 [seconds, 2]."""
    return np.array([(each.calls, each.errors) for each in seconds], np.int64).reshape(-1, 2)


def slower_by_second(seconds: Sequence[VersionCounts], limit_s: float) -> NDArray[np.int64]:
    """Calls that were run, and those over `limit_s`, of each second, int64 [seconds, 2]."""
    found = []
    for each in seconds:
        over = SERVICE.ends[each.latency.buckets] >= limit_s
        found.append((each.latency.count, int(each.latency.counts[over].sum())))
    return np.array(found, np.int64).reshape(-1, 2)
