"""One line of the service's stream, by model: its versions merged, percentiles over the last seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.jupyter.latency import Recent, quantiles

WINDOW_S = 2.0
"""What p50, p95 and p99 look back on, so that a model with few requests does not flicker."""

NO_ERRORS = ("ok", "cancelled")
"""The outcomes of requests that are no errors; a caller that left is none."""

Entry = Mapping[str, Any]
"""One version of one model in a snapshot."""


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """All versions of one model in one tick; percentiles are null where nothing was run in the window."""

    requests_per_s: float
    rows_per_s: float
    errors_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    queued: int
    busy: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The figures of all models over one interval."""

    epoch: str
    sequence: int
    """Counts up by one a tick of an epoch; more where ticks were missed."""
    time: float
    interval_s: float
    process: Mapping[str, float]
    machine: Mapping[str, Any]
    """As the service says it; empty from one of an older version."""
    models: Mapping[str, ModelFigures]
    entries: Mapping[str, Sequence[Entry]]
    """What the service itself said of the versions of each model."""

    @property
    def busy(self) -> bool:
        """Whether anybody was served."""
        return any(figures.requests_per_s for figures in self.models.values())


class Ticks:
    """Snapshots in, ticks out. Of one epoch after another."""

    def __init__(self) -> None:
        self._epoch = ""
        self._sequence = 0
        self._recent: dict[str, Recent] = {}

    def interrupted(self) -> None:
        """The stream broke off: whatever comes next comes after a gap."""
        self._sequence += 1
        self._recent.clear()

    def take(self, snapshot: Mapping[str, Any]) -> Tick:
        if snapshot["epoch"] != self._epoch:
            self._epoch, self._sequence, self._recent = snapshot["epoch"], 0, {}
        entries: dict[str, list[Entry]] = {}
        for entry in snapshot["models"]:
            entries.setdefault(entry["name"], []).append(entry)
        interval_s = snapshot["interval_s"]
        self._recent = {name: self._recent.get(name) or Recent(WINDOW_S) for name in entries}
        tick = Tick(
            self._epoch,
            self._sequence,
            snapshot["time"],
            interval_s,
            {name: snapshot["process"][name] for name in ("cpu", "resident_bytes")},
            snapshot.get("machine", {}),
            {name: self._figures(name, found, interval_s) for name, found in entries.items()},
            entries,
        )
        self._sequence += 1
        return tick

    def _figures(self, name: str, entries: Sequence[Entry], interval_s: float) -> ModelFigures:
        recent = self._recent[name]
        recent.add(interval_s, _counts(entries, "request"))
        errors = sum(
            count for entry in entries for outcome, count in entry["requests"].items() if outcome not in NO_ERRORS
        )
        found = quantiles(recent.counts, (0.50, 0.95, 0.99))
        p50_s, p95_s, p99_s = (None if duration_s is None else _shown(duration_s) for duration_s in found)
        return ModelFigures(
            requests_per_s=_shown(sum(entry["requests_per_s"] for entry in entries)),
            rows_per_s=_shown(sum(entry["rows_per_s"] for entry in entries)),
            errors_per_s=_shown(errors / interval_s) if interval_s > 0 else 0.0,
            p50_s=p50_s,
            p95_s=p95_s,
            p99_s=p99_s,
            queued=sum(entry["queued"] for entry in entries),
            busy=_shown(sum(entry["busy"] for entry in entries)),
        )


def detail(entries: Sequence[Entry]) -> dict[str, Any]:
    """A model's histograms of one tick, of all its versions together."""
    return {
        "versions": sorted((entry["version"] for entry in entries), key=int),
        "latency": {
            stage: {
                "count": sum(entry["latency"][stage]["count"] for entry in entries),
                "sum_s": sum(entry["latency"][stage]["sum_s"] for entry in entries),
                "buckets": _counts(entries, stage),
            }
            for stage in ("request", "queue", "compute")
        },
        "batch_sizes": _added(entry["batch_sizes"] for entry in entries),
        "release_reasons": _added(entry["release_reasons"] for entry in entries),
    }


def _counts(entries: Sequence[Entry], stage: str) -> dict[int, int]:
    """The sum of the versions' histograms of `stage`, by bucket."""
    counts: dict[int, int] = {}
    for entry in entries:
        for bucket, count in entry["latency"][stage]["buckets"].items():
            number = int(bucket)
            counts[number] = counts.get(number, 0) + count
    return counts


def _added(counted: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in counted:
        total.update(counts)
    return dict(total)


def _shown(value: float) -> float:
    """Four digits are enough for a line on a page, and halve what is sent."""
    return float(f"{value:.4g}")
