"""Keeps the totals of the last minutes by model, so that any window up to 15 minutes can be asked for at once.

The last minute is kept in spans of one second, a quarter of an hour in spans of ten. A window is the sum of its spans.
A span in which a model was idle takes no memory.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.histogram import SERVICE, Histogram
from workbench.core.model import ModelStatus
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Counters
from workbench.telemetry.request_record import Stage
from workbench.telemetry.totals import Totals

LONGEST_S = 900.0
"""The longest window that can be asked for."""

SPANS = ((1.0, 60), (10.0, 90))
"""(seconds of a span, spans kept): a window is answered by the first entry that reaches far enough back."""

ModelVersion = tuple[str, str]

_EMPTY = Histogram.empty(SERVICE)


@dataclass(slots=True)
class WindowTotals(Totals):
    """What happened to one version over some time; totals of several spans can be added."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    request: Histogram = _EMPTY
    """Durations of the requests that were run, as in Counters.request."""
    stages_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(Stage)))
    rows: int = 0
    batches: int = 0
    busy_s: float = 0.0

    @classmethod
    def of(cls, figures: Counters) -> WindowTotals:
        return cls(
            outcomes=figures.outcomes.copy(),
            request=figures.request.histogram(),
            stages_s=figures.stages_s.copy(),
            rows=figures.rows,
            batches=figures.batches,
            busy_s=figures.busy_s,
        )

    @staticmethod
    def merged(parts: Sequence[WindowTotals]) -> WindowTotals:
        """Add up the totals of several spans."""
        outcomes: Counter[Outcome] = Counter()
        for each in parts:
            outcomes.update(each.outcomes)
        return WindowTotals(
            outcomes=outcomes,
            request=Histogram.merged(SERVICE, (each.request for each in parts)),
            stages_s=np.sum([each.stages_s for each in parts], axis=0),
            rows=sum(each.rows for each in parts),
            batches=sum(each.batches for each in parts),
            busy_s=sum(each.busy_s for each in parts),
        )


class SpanSeries:
    """The last `kept` spans, of `step_s` seconds or a little more each, and the current one."""

    def __init__(self, step_s: float, kept: int, now: float) -> None:
        self._step_s = step_s
        self._spans: deque[tuple[float, dict[ModelVersion, WindowTotals]]] = deque(maxlen=kept)
        """(start, totals by version), the newest last; each span ends where the next begins."""
        self._began = now
        self._totals: dict[ModelVersion, WindowTotals] = {}
        """The counters of each version at the start of the current span."""

    def note(self, figures: Mapping[ModelVersion, Counters], now: float) -> None:
        """End the current span if it is long enough."""
        if now - self._began < self._step_s:
            return
        happened = {}
        for key, total in figures.items():
            if (since := self._since(key, total)) is not None:
                happened[key] = since
                self._totals[key] = WindowTotals.of(total)
        self._spans.append((self._began, happened))
        self._began = now

    def over(
        self, window_s: float, figures: Mapping[ModelVersion, Counters], now: float
    ) -> tuple[float, dict[ModelVersion, WindowTotals]]:
        """Return the seconds that were really summed, and the totals of the versions that were not idle.

        The seconds are `window_s` or up to a span more, or less where counting began later.
        """
        found = {key: [since] for key, total in figures.items() if (since := self._since(key, total)) is not None}
        start = self._began
        for began, happened in reversed(self._spans):
            if now - start >= window_s:
                break
            start = began
            for key, totals in happened.items():
                found.setdefault(key, []).append(totals)
        return now - start, {key: WindowTotals.merged(parts) for key, parts in found.items()}

    def reaches(self, window_s: float) -> bool:
        assert self._spans.maxlen is not None
        return window_s <= self._step_s * self._spans.maxlen

    def forget(self, key: ModelVersion) -> None:
        """Forget a version: its counters start again from 0."""
        self._totals.pop(key, None)

    def _since(self, key: ModelVersion, total: Counters) -> WindowTotals | None:
        """Return what happened to a version in the current span; None if nothing did."""
        before = self._totals.get(key)
        if before is None:
            return WindowTotals.of(total) if total.requests or total.batches else None
        if (total.requests, total.batches) == (before.outcomes.total(), before.batches):
            return None
        return WindowTotals.of(total).since(before)


class RollingWindows:
    """The rolling windows of all versions, up to LONGEST_S."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._rows = [SpanSeries(step_s, kept, ticks()) for step_s, kept in SPANS]

    def note(self, figures: Mapping[ModelVersion, Counters]) -> None:
        """Take the counters of all versions; to be called more than once a second."""
        now = self._ticks()
        for row in self._rows:
            row.note(figures, now)

    def over(
        self, window_s: float, figures: Mapping[ModelVersion, Counters]
    ) -> tuple[float, dict[ModelVersion, WindowTotals]]:
        """Return the totals of the last `window_s` seconds; see SpanSeries.over."""
        row = next((row for row in self._rows if row.reaches(window_s)), self._rows[-1])
        return row.over(window_s, figures, self._ticks())

    def forget(self, keys: Iterable[ModelVersion]) -> None:
        for key in keys:
            for row in self._rows:
                row.forget(key)


def encode(
    window_s: float, amounts: Mapping[ModelVersion, WindowTotals], statuses: Sequence[ModelStatus]
) -> list[dict[str, Any]]:
    """Return docs/http.md, RECENT: an entry for each present version, and for those gone that had requests."""
    known = {(status.name, status.version): status for status in statuses}
    nothing = WindowTotals()
    return [
        _encoded(key, amounts.get(key, nothing), known.get(key), window_s)
        for key in sorted({*known, *amounts}, key=lambda key: (key[0], int(key[1])))
    ]


def _encoded(key: ModelVersion, happened: WindowTotals, status: ModelStatus | None, window_s: float) -> dict[str, Any]:
    per_s = 1 / window_s if window_s > 0 else 0.0
    run = happened.request.count
    return {
        "name": key[0],
        "version": key[1],
        "state": status.state.value if status else "Gone",
        "device": status.device if status else "",
        "routed": status.routed if status else False,
        "queued": status.queued if status else 0,
        "requests": {outcome.value: count for outcome, count in happened.outcomes.items() if count},
        "requests_per_s": happened.outcomes.total() * per_s,
        "rows_per_s": happened.rows * per_s,
        "batches_per_s": happened.batches * per_s,
        "busy": happened.busy_s * per_s,
        "p50_s": happened.request.quantile(0.50),
        "p95_s": happened.request.quantile(0.95),
        "p99_s": happened.request.quantile(0.99),
        "batch_rows": happened.rows / happened.batches if happened.batches else None,
        "queue_s": float(happened.stages_s[Stage.QUEUE]) / run if run else None,
        "compute_s": float(happened.stages_s[Stage.COMPUTE]) / run if run else None,
        "latency": happened.request.encode(),
    }
