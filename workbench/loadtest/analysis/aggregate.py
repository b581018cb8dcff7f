"""`Aggregate`: turns rows, added in chunks and in any order, into figures, also while a test still runs.

    Aggregate ── add(rows) ... ──► whole      Stretch   the measured part
                         ├──► steps      Stretch   of each phase of the plan
                         └──► seconds    Second    the timeline, warm-up included and marked as such

Latency counts from when a request was due. The service time, from when it was sent, is kept as well, so that a report
can show what leaving the wait out would hide. A second's latencies are those of the requests due in it; its throughput
counts the answers that came in it. Percentiles are read from merged histograms, never averaged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workbench.core.histogram import Histogram
from workbench.core.ports import errors_in
from workbench.loadtest.analysis.latency_histogram import EMPTY, LAYOUT, counted
from workbench.loadtest.store.records import OUTCOMES, WARM_UP, Column, Records

KEPT_UP = 0.95
"""A server keeps up if it answers this share of the due requests in the same time."""

Window = tuple[float, float]
"""Begin and end, the end excluded, on the clock of the rows."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Figures over an interval of a run."""

    duration_s: float = 0.0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Outcome -> how many of the requests due in it ended so."""
    answered: int = 0
    """Answers that came in it, whenever their requests were due."""
    rows_answered: int = 0
    """Rows of the model's input in those requests."""
    latency: Histogram = EMPTY
    """Of the answered requests that were due in it, from when they were due."""
    service: Histogram = EMPTY
    """The same from when they were sent."""
    wait: Histogram = EMPTY
    """Of all that were sent, from when they were due until then."""

    @property
    def due(self) -> int:
        return sum(self.outcomes.values())

    @property
    def ok(self) -> int:
        return self.outcomes.get("ok", 0)

    @property
    def errors(self) -> int:
        """Requests that failed; cancelled ones do not count, since their end is not known."""
        return errors_in(self.outcomes)

    @property
    def error_share(self) -> float | None:
        ended = self.ok + self.errors
        return self.errors / ended if ended else None

    @property
    def offered_per_s(self) -> float:
        """Due requests a second."""
        return self.due / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def answered_per_s(self) -> float:
        """Throughput."""
        return self.answered / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def kept_up(self) -> bool:
        """Whether nearly all due requests were answered in the same time, so that no queue grew."""
        return self.answered >= KEPT_UP * self.due

    def quantile(self, q: float) -> float | None:
        """A quantile of the latency, in seconds."""
        return self.latency.quantile(q)


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the timeline; the last one of the measured part may be shorter."""

    at_s: float
    """Its beginning, from that of the measured part: the warm-up is below 0, late answers are after the end."""
    phase: int
    """WARM_UP, or 0."""
    due: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    """Requests that ended in it, by outcome."""
    latency: Histogram = EMPTY
    """Of the answered requests that were due in it."""

    @property
    def answered(self) -> int:
        return self.ended.get("ok", 0)

    @property
    def errors(self) -> int:
        return errors_in(self.ended)


def together(seconds: Sequence[Second]) -> Second:
    """Merge consecutive seconds into one that begins with the first."""
    ended: Counter[str] = Counter()
    for each in seconds:
        ended.update(each.ended)
    merged = Histogram.merged(LAYOUT, (each.latency for each in seconds))
    return Second(seconds[0].at_s, seconds[0].phase, sum(each.due for each in seconds), dict(ended), merged)


class _Due:
    """Aggregates the requests that were due in an interval."""

    __slots__ = ("latency", "outcomes", "service", "wait")

    def __init__(self) -> None:
        self.outcomes = np.zeros(len(OUTCOMES), np.int64)
        self.latency = self.service = self.wait = EMPTY

    def add(self, rows: Records) -> None:
        ok = rows.ok
        self.outcomes += _by_outcome(rows.outcome)
        self.latency += counted(ok.latency_s)
        self.service += counted(ok.done_s - ok.sent_s)
        self.wait += counted(rows.late_s)


class Aggregate:
    """Aggregates rows as they come. On their clock `begin_s` is where the measured part begins, and `windows` are the
    plan's phases."""

    def __init__(self, begin_s: float, windows: Mapping[int, Window] | None = None) -> None:
        self._begin_s = begin_s
        self._windows = windows or {}
        self._whole = _Due()
        self._steps: defaultdict[int, _Due] = defaultdict(_Due)
        self._due: defaultdict[int, int] = defaultdict(int)
        self._latency: defaultdict[int, Histogram] = defaultdict(lambda: EMPTY)
        self._ended: defaultdict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(len(OUTCOMES), np.int64))
        self._answered_at: list[Column] = []
        self._rows_at: list[Column] = []

    def add(self, rows: Records) -> None:
        """Add finished rows of any time and phase."""
        if not len(rows):
            return
        measured = rows.measured
        self._whole.add(measured)
        for step, of_step in _split(measured, measured.phase):
            self._steps[step].add(of_step)
        for second, due in _split(rows, self._second(rows.scheduled_s)):
            self._due[second] += len(due)
            self._latency[second] += counted(due.ok.latency_s)
        ended = rows[~np.isnan(rows.done_s)]
        for second, ending in _split(ended, self._second(ended.done_s)):
            self._ended[second] += _by_outcome(ending.outcome)
        ok = ended.ok
        self._answered_at.append(ok.done_s - self._begin_s)
        self._rows_at.append(ok.rows)

    def whole(self, measured_s: float) -> Stretch:
        """The figures of the measured part, which is `measured_s` long."""
        return self._stretch(self._whole, (0.0, measured_s))

    def steps(self, windows: Mapping[int, Window] | None = None) -> dict[int, Stretch]:
        """The figures of each phase in which any request was due; `windows` replaces the planned ones."""
        return {
            number: self._stretch(self._steps[number], (begin_s - self._begin_s, end_s - self._begin_s))
            for number, (begin_s, end_s) in (windows or self._windows).items()
            if number in self._steps
        }

    def seconds(self) -> tuple[Second, ...]:
        """All seconds from the first with a due request to the last with an end."""
        touched = self._due.keys() | self._ended.keys()
        if not touched:
            return ()
        return tuple(self._second_at(at) for at in range(min(touched), max(touched) + 1))

    def _second(self, times_s: Column) -> NDArray[np.int64]:
        # Due times are sums of floats: 4.999999999 s, meant as 5, belongs to the fifth second.
        return np.floor(times_s - self._begin_s + 1e-9).astype(np.int64)

    def _second_at(self, at: int) -> Second:
        ended = self._ended.get(at)
        return Second(
            float(at),
            WARM_UP if at < 0 else 0,
            self._due.get(at, 0),
            {} if ended is None else _words(ended),
            self._latency.get(at, EMPTY),
        )

    def _stretch(self, due: _Due, window: Window) -> Stretch:
        begin_s, end_s = window
        answered = rows_answered = 0
        for at, rows in zip(self._answered_at, self._rows_at, strict=True):
            within = (at >= begin_s) & (at < end_s)
            answered += int(np.count_nonzero(within))
            rows_answered += int(rows[within].sum())
        duration_s = max(end_s - begin_s, 0.0)
        return Stretch(duration_s, _words(due.outcomes), answered, rows_answered, due.latency, due.service, due.wait)


def _split(rows: Records, keys: Column) -> Iterator[tuple[int, Records]]:
    """Group the rows by key."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    for key, start, end in zip(found.tolist(), starts, [*starts[1:], len(order)], strict=False):
        yield key, rows[order[start:end]]


def _by_outcome(outcomes: Column) -> NDArray[np.int64]:
    return np.bincount(outcomes, minlength=len(OUTCOMES))


def _words(counts: NDArray[np.int64]) -> dict[str, int]:
    return {word: int(count) for word, count in zip(OUTCOMES, counts, strict=True) if count}
