"""The guard of a rollout: what it allows the new version, and whether what was seen breaches that. Pure.

A clause is breached where the new version does worse than it may, *and* chance does not explain that, however often it
is looked at: the intervals are those of `sequential_test`. So a clause that compares ("p99<1.2x") asks two things.
Is the new version worse than the other one at all? That is the test, and its false alarms are those of two equal
versions. And is what was measured as bad as the clause says? A clause with a fixed limit ("errors<0.5%", "p99<20ms")
asks one thing: is all of the interval beyond the limit?
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.core.durations import SECONDS
from workbench.core.histogram import SERVICE, Histogram
from workbench.errors import InvalidInput
from workbench.versions.live_comparison import MATTERS as SLIGHT
from workbench.versions.live_comparison import VersionCounts, errors_by_second, slower_by_second
from workbench.versions.sequential_test import LEAST_CALLS, LEAST_SECONDS, share_difference, share_interval

DEFAULT: Final = "errors<1.5x,p99<1.1x"

MAX_CLAUSES: Final = 8

QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

AGREEMENT: Final = "agreement"

GROSS: Final = 0.3
"""A difference of so large a share of calls is found within seconds, too."""

_SIZES: Final = (SLIGHT, GROSS)

_CLAUSE: Final = re.compile(r"(\w+)\s*([<>]=?|=)\s*(\d+\.?\d*|\.\d+)\s*(%|x|[a-z]*)", re.IGNORECASE)

_TAKES: Final = "errors<0.5%, errors<1.5x, p50, p95 or p99 as p99<1.2x or p99<20ms, agreement>99%"


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that the new version must keep to."""

    text: str
    figure: str
    """ "errors", "p50", "p95", "p99" or "agreement"."""
    limit: float
    """A share from 0 to 1, seconds, or how many times the other version's."""
    kind: Literal["share", "seconds", "factor"]

    @property
    def compares(self) -> bool:
        """It needs calls of the other version too."""
        return self.kind == "factor" or self.figure == AGREEMENT


class Finding(StrEnum):
    """What the calls so far say of a clause."""

    BREACHED = "breached"
    HOLDS = "holds"
    TOO_LITTLE = "too little to tell"
    NOT_JUDGED = "not judged"
    """There is nothing to compare with: the new version gets all calls."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one clause."""

    clause: str
    finding: Finding
    measured: str = ""
    """In words, with the figure of the other version where the clause compares."""
    calls: int = 0
    """Of the version that has fewer, those that it rests on; rows for agreement."""


def parse_guard(text: str) -> tuple[Clause, ...]:
    """The clauses of "errors<0.5%,p99<1.2x". Raises InvalidInput."""
    clauses = tuple(_clause(each.strip()) for each in text.split(",") if each.strip())
    if not clauses:
        raise InvalidInput(f"a guard needs a clause: {_TAKES}")
    if len(clauses) > MAX_CLAUSES:
        raise InvalidInput(f"a guard has {MAX_CLAUSES} clauses at most, got {len(clauses)}")
    asked = [(each.figure, each.kind) for each in clauses]
    for each in clauses:
        if asked.count((each.figure, each.kind)) > 1:
            raise InvalidInput(f"the guard has two limits for {each.figure}: {text[:80]!r}; leave one out")
    return clauses


def _clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    figure = match[1].lower() if match is not None else ""
    if match is None or figure not in ("errors", AGREEMENT, *QUANTILES):
        raise InvalidInput(f"a guard's clauses are {_TAKES}; got {text[:40]!r}")
    sign, number, unit = match[2], float(match[3]), match[4].lower()
    wanted = ">" if figure == AGREEMENT else "<"
    if sign != wanted:
        raise InvalidInput(f"a guard says what must be so: {figure}{wanted}{match[3]}{match[4]}, got {text[:40]!r}")
    said = f"{figure}{sign}{match[3]}{unit}"
    if unit == "%" and figure not in QUANTILES and 0 < number < 100:
        return Clause(said, figure, number / 100, "share")
    if unit == "%" and figure not in QUANTILES:
        raise InvalidInput(f"{figure} must be over 0 % and under 100 %, got {text[:40]!r}")
    if unit == "x" and figure != AGREEMENT:
        if not number >= 1 or number > 1000:
            raise InvalidInput(f"{figure} must be from 1x to 1000x of the version that serves, got {text[:40]!r}")
        return Clause(said, figure, number, "factor")
    if figure in QUANTILES and unit in ("us", "ms", "s"):
        seconds = number * SECONDS[unit]
        if not 1e-6 <= seconds <= 1000:
            raise InvalidInput(f"{figure} must be from 1us to 1000s, got {text[:40]!r}")
        return Clause(said, figure, seconds, "seconds")
    units = {"errors": "0.5% or 1.5x", AGREEMENT: "99%"}.get(figure, "1.2x or 20ms")
    raise InvalidInput(f"{figure} takes a limit as {units}, got {text[:40]!r}")


def judge(
    clauses: Sequence[Clause],
    first: Sequence[VersionCounts],
    second: Sequence[VersionCounts],
    agreeing: Sequence[tuple[int, int]] = (),
    *,
    alpha: float,
    alone: bool = False,
    unlike: str = "",
) -> tuple[Verdict, ...]:
    """Judge what the new version, `second`, did beside `first` in the same seconds.

    `agreeing` has for each second the rows that both were asked, and those of them with the same answer; `unlike` says
    why answers cannot be compared. All clauses together are breached by chance in at most a share `alpha` of rollouts.
    `alone`: `first` gets no calls any more.
    """
    alpha *= 2 / max(len(clauses), 1)  # the intervals have two ends, and only one of them is looked at
    found = []
    for clause in clauses:
        if clause.compares and alone:
            found.append(Verdict(clause.text, Finding.NOT_JUDGED, "it gets all calls"))
        elif clause.figure == AGREEMENT:
            found.append(_agreement(clause, agreeing, unlike, alpha))
        elif clause.figure == "errors":
            found.append(_errors(clause, first, second, alpha))
        elif clause.compares:
            found.append(_slower(clause, first, second, alpha))
        else:
            found.append(_slow(clause, second, alpha))
    return tuple(found)


def _errors(clause: Clause, first: Sequence[VersionCounts], second: Sequence[VersionCounts], alpha: float) -> Verdict:
    one, other = errors_by_second(first), errors_by_second(second)
    calls = int(other[:, 0].sum())
    if clause.kind == "share":
        alone = share_interval(other, _SIZES, alpha)
        return _verdict(clause, alone.enough, alone.low > clause.limit, _percent(alone.share), calls)
    both = share_difference(one, other, _SIZES, alpha)
    worse = both.larger and both.second >= clause.limit * both.first
    said = f"{_percent(both.second)} beside {_percent(both.first)}"
    return _verdict(clause, both.enough, worse, said, min(calls, int(one[:, 0].sum())))


def _slow(clause: Clause, second: Sequence[VersionCounts], alpha: float) -> Verdict:
    """Whether more calls take longer than the limit than may: 1 of 100 for p99."""
    tail = 1 - QUANTILES[clause.figure]
    alone = share_interval(slower_by_second(second, clause.limit), _matters(tail), alpha)
    latency = _merged(second)
    said = _shown(latency.quantile(QUANTILES[clause.figure]))
    return _verdict(clause, alone.enough, alone.low > tail, said, latency.count)


def _slower(clause: Clause, first: Sequence[VersionCounts], second: Sequence[VersionCounts], alpha: float) -> Verdict:
    """Whether more calls take longer than the other version's quantile than its own calls do, and the quantile itself
    is so many times as long. Both ends of its bucket count for a breach, since it is known within 5 %."""
    q = QUANTILES[clause.figure]
    one, other = _merged(first), _merged(second)
    ours, theirs = one.bounds(q), other.bounds(q)
    calls = min(one.count, other.count)
    if ours is None or theirs is None:
        return Verdict(clause.text, Finding.TOO_LITTLE, "", calls)
    slow, slower = (slower_by_second(each, ours[1]) for each in (first, second))
    both = share_difference(_one_more(slow), slower, _matters(1 - q), alpha)
    worse = both.larger and theirs[1] >= clause.limit * max(ours[0], 1e-6)
    said = f"{_shown(other.quantile(q))} beside {_shown(one.quantile(q))}"
    return _verdict(clause, both.enough, worse, said, calls)


def _agreement(clause: Clause, agreeing: Sequence[tuple[int, int]], unlike: str, alpha: float) -> Verdict:
    rows = np.array(agreeing, np.int64).reshape(-1, 2)
    if unlike:
        said = f"the answers cannot be compared ({unlike})"
        return Verdict(clause.text, Finding.BREACHED, said, int(rows[:, 0].sum()))
    differ = np.stack([rows[:, 0], rows[:, 0] - rows[:, 1]], axis=1)
    found = share_interval(differ, _SIZES, alpha)
    return _verdict(
        clause, found.enough, found.low > 1 - clause.limit, _percent(1 - found.share), int(rows[:, 0].sum())
    )


def _verdict(clause: Clause, enough: bool, worse: bool, measured: str, calls: int) -> Verdict:
    if not enough:
        return Verdict(clause.text, Finding.TOO_LITTLE, measured if calls else "", calls)
    return Verdict(clause.text, Finding.BREACHED if worse else Finding.HOLDS, measured, calls)


def _one_more(by_second: NDArray[np.int64]) -> NDArray[np.int64]:
    """With one slow call more. The limit is a quantile of these very calls: of n others as long ones, one more of
    n + 1 is expected beyond it than was seen."""
    if not len(by_second):
        return by_second
    more = by_second.copy()
    busiest = int(more[:, 0].argmax())
    more[busiest, 1] = min(more[busiest, 1] + 1, more[busiest, 0])
    return more


def _matters(tail: float) -> tuple[float, ...]:
    """The differences of a share that the test is tuned to: twice what may be slow, and one that nobody overlooks."""
    return min(2 * tail, GROSS), GROSS


def _merged(seconds: Sequence[VersionCounts]) -> Histogram:
    return Histogram.merged(SERVICE, (each.latency for each in seconds))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None or math.isnan(seconds) else f"{seconds * 1000:.3g} ms"


class StepEvidence:
    """What both versions did since a step began, in at most 2 * KEPT stretches of equal length.

    An hour of seconds would take long to look at each second: where there are many, each two neighbours become one.
    """

    KEPT: Final = 120

    def __init__(self) -> None:
        self.first: list[VersionCounts] = []
        self.second: list[VersionCounts] = []
        self.agreeing: list[tuple[int, int]] = []
        self.unlike = ""
        """Why answers cannot be compared."""
        self._length = 1
        """Looks in a stretch."""
        self._begun: list[tuple[VersionCounts, VersionCounts, tuple[int, int]]] = []
        """Looks of a stretch that is not complete yet."""

    def add(
        self, first: VersionCounts, second: VersionCounts, agreeing: tuple[int, int] = (0, 0), unlike: str = ""
    ) -> None:
        self.unlike = self.unlike or unlike
        self._begun.append((first, second, agreeing))
        if len(self._begun) < self._length:
            return
        self.first.append(merged_counts([each[0] for each in self._begun]))
        self.second.append(merged_counts([each[1] for each in self._begun]))
        self.agreeing.append(_added([each[2] for each in self._begun]))
        self._begun = []
        if len(self.first) == 2 * self.KEPT:
            self.first, self.second = (
                [merged_counts(each[at : at + 2]) for at in range(0, len(each), 2)]
                for each in (self.first, self.second)
            )
            self.agreeing = [_added(self.agreeing[at : at + 2]) for at in range(0, len(self.agreeing), 2)]
            self._length *= 2

    def judged(self, clauses: Sequence[Clause], *, alpha: float, alone: bool = False) -> tuple[Verdict, ...]:
        return judge(clauses, self.first, self.second, self.agreeing, alpha=alpha, alone=alone, unlike=self.unlike)


def merged_counts(counts: Sequence[VersionCounts]) -> VersionCounts:
    """Of several seconds together, without the stages."""
    return VersionCounts(sum(each.calls for each in counts), sum(each.errors for each in counts), _merged(counts), {})


def _added(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(each[0] for each in pairs), sum(each[1] for each in pairs)


ENOUGH: Final = f"{LEAST_CALLS} calls over {LEAST_SECONDS} s"
"""What each version needs before anything is told."""
