"""Turns the service's snapshots into ticks: one entry per model, its versions merged, percentiles over 2 seconds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, UnsetType

from workbench.client.palette import STAGES
from workbench.core.histogram import SERVICE, Histogram
from workbench.core.ports import errors_in

WINDOW_S = 2.0
"""Window of p50, p95 and p99, so that they do not flicker for a model with few requests."""

NEWS_S = 2.0
"""Seconds for which ticks repeat an error, so that a page that misses a tick still gets it."""

ENGINE_STAGES = ("queue", "batch", "compute", "split")
"""Those that a request which was run has; the others within its duration, one that was answered."""

LIVE_STAGES = STAGES[1:]
"""Those within a request's duration."""

Entry = Mapping[str, Any]
"""One version of one model in a snapshot."""


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """The figures of one model in one tick, all versions together.

    Percentiles are null if nothing ran in the window.
    """

    requests_per_s: float
    rows_per_s: float
    errors_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    queued: int | None
    """Not known of the past."""
    busy: float
    cache_ratio: float | UnsetType | None = UNSET
    """The part of the requests that a result cache was asked for which was not run; None if there were none, and left
    out if no version has a cache."""
    last_error: Mapping[str, Any] | UnsetType = UNSET
    """The last error, for NEWS_S seconds; left out after that."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The figures of all models over one interval."""

    epoch: str
    sequence: int
    """Counts up by one per tick of an epoch; by more where ticks were missed."""
    time: float
    interval_s: float
    process: Mapping[str, float]
    machine: Mapping[str, Any]
    """As in the snapshot; empty from an older service."""
    models: Mapping[str, ModelFigures]
    entries: Mapping[str, Sequence[Entry]]
    """The snapshot's entries of the versions of each model."""

    @property
    def busy(self) -> bool:
        """Whether any request ended."""
        return any(figures.requests_per_s for figures in self.models.values())


@dataclass(frozen=True, slots=True)
class Work:
    """The amounts of one tick of a model, from which means are made; seconds are summed over the requests."""

    run: int = 0
    """Requests that were run."""
    answered: int = 0
    """Requests whose outputs were sent."""
    batches: int = 0
    rows: int = 0
    """Rows of those batches."""
    queue_s: float = 0.0
    batch_s: float = 0.0
    compute_s: float = 0.0
    split_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0
    send_s: float = 0.0

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Work:
        def seconds(stage: str) -> float:
            return float(sum(entry["stages_s"][stage] for entry in entries))

        sizes = _added(entry["batch_sizes"] for entry in entries)
        return cls(
            run=sum(entry["latency"]["request"]["count"] for entry in entries),
            answered=sum(entry["answered"] for entry in entries),
            batches=sum(sizes.values()),
            rows=sum(int(size) * count for size, count in sizes.items()),
            queue_s=seconds("queue"),
            batch_s=seconds("batch"),
            compute_s=seconds("compute"),
            split_s=seconds("split"),
            decode_s=seconds("decode"),
            encode_s=seconds("encode"),
            send_s=seconds("send"),
        )

    @property
    def batch_rows(self) -> float | None:
        """Mean rows of a batch."""
        return _shown(self.rows / self.batches) if self.batches else None

    @property
    def stages_s(self) -> dict[str, float | None]:
        """Mean seconds of a request by stage."""
        found: dict[str, float | None] = {}
        for stage in LIVE_STAGES:
            count = self.run if stage in ENGINE_STAGES else self.answered
            found[stage] = _shown(getattr(self, f"{stage}_s") / count) if count else None
        return found


class RecentLatency:
    """The latency histograms of the last `window_s` seconds, as ticks come in."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._ticks: deque[tuple[float, Histogram]] = deque()
        self._span_s = 0.0

    def add(self, interval_s: float, latency: Histogram) -> None:
        """Add one tick, an empty one too. The newest one always counts, however long it was."""
        self._ticks.append((interval_s, latency))
        self._span_s += interval_s
        while len(self._ticks) > 1 and self._span_s - self._ticks[0][0] >= self._window_s:
            self._span_s -= self._ticks.popleft()[0]

    def histogram(self) -> Histogram:
        return Histogram.merged(SERVICE, (latency for _, latency in self._ticks))


class TickReader:
    """Makes ticks from the snapshots of one service, across its restarts."""

    def __init__(self) -> None:
        self._epoch = ""
        self._sequence = 0
        self._recent: dict[str, RecentLatency] = {}

    def interrupted(self) -> None:
        """Note that the stream broke off, so the next tick comes after a gap."""
        self._sequence += 1
        self._recent.clear()

    def take(self, snapshot: Mapping[str, Any]) -> Tick:
        """Make a tick. A snapshot of the past has the versions alone that were not idle: models that were seen before
        did nothing then."""
        if snapshot["epoch"] != self._epoch:
            self._epoch, self._sequence, self._recent = snapshot["epoch"], 0, {}
        entries: dict[str, list[Entry]] = {}
        for entry in snapshot["models"]:
            entries.setdefault(entry["name"], []).append(entry)
        if snapshot.get("past"):
            entries = {name: entries.get(name, []) for name in (*self._recent, *entries)}
        interval_s = snapshot["interval_s"]
        self._recent = {name: self._recent.get(name) or RecentLatency(WINDOW_S) for name in entries}
        now = snapshot["time"]
        tick = Tick(
            epoch=self._epoch,
            sequence=self._sequence,
            time=now,
            interval_s=interval_s,
            process={name: snapshot["process"][name] for name in ("cpu", "resident_bytes") if "process" in snapshot},
            machine=snapshot.get("machine", {}),
            models={name: self._figures(name, found, interval_s, now) for name, found in entries.items()},
            entries=entries,
        )
        self._sequence += 1
        return tick

    def _figures(self, name: str, entries: Sequence[Entry], interval_s: float, now: float) -> ModelFigures:
        recent = self._recent[name]
        recent.add(interval_s, _latency(entries, "request"))
        latency = recent.histogram()
        errors = sum(map(_errors, entries))
        error = last_error(entries)
        found = [latency.quantile(q) for q in (0.50, 0.95, 0.99)]
        p50_s, p95_s, p99_s = (None if duration_s is None else _shown(duration_s) for duration_s in found)
        return ModelFigures(
            requests_per_s=_shown(sum(entry["requests_per_s"] for entry in entries)),
            rows_per_s=_shown(sum(entry["rows_per_s"] for entry in entries)),
            errors_per_s=_shown(errors / interval_s) if interval_s > 0 else 0.0,
            p50_s=p50_s,
            p95_s=p95_s,
            p99_s=p99_s,
            queued=_queued(entries),
            busy=_shown(sum(entry["busy"] for entry in entries)),
            cache_ratio=_cache_ratio(entries),
            last_error=error if error is not None and error["time"] > now - NEWS_S else UNSET,
        )


def _queued(entries: Sequence[Entry]) -> int | None:
    counts = [entry["queued"] for entry in entries]
    return None if None in counts else sum(counts)


def _cache_ratio(entries: Sequence[Entry]) -> float | UnsetType | None:
    found = [cache for entry in entries if (cache := entry.get("cache")) is not None]
    if not found:
        return UNSET
    counts = _added(found)
    asked = sum(counts.values())
    return _shown(1 - counts["miss"] / asked) if asked else None


def last_error(entries: Sequence[Entry]) -> Mapping[str, Any] | None:
    """Return the newest error of the versions."""
    errors = [error for entry in entries if (error := entry.get("last_error")) is not None]
    return max(errors, key=lambda error: float(error["time"]), default=None)


def batches_of(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    """Return the batches of one tick by reason and rows, all versions together."""
    found: dict[str, dict[str, int]] = {}
    for entry in entries:
        for reason, sizes in entry.get("batches", {}).items():
            counted = found.setdefault(reason, {})
            for rows, count in sizes.items():
                counted[rows] = counted.get(rows, 0) + count
    return found


def detail(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the histograms and means of a model in one tick, all versions together."""
    work = Work.of(entries)
    return {
        "versions": sorted((entry["version"] for entry in entries), key=int),
        "requests": _added(entry["requests"] for entry in entries),
        "latency": {stage: _latency(entries, stage).encode() for stage in ("request", "queue", "compute")},
        "batch_sizes": _added(entry["batch_sizes"] for entry in entries),
        "release_reasons": _added(entry["release_reasons"] for entry in entries),
        "batches": batches_of(entries),
        "batch_rows": work.batch_rows,
        "stages_s": work.stages_s,
    }


def _errors(entry: Entry) -> int:
    """Count the requests whose caller got an error, also for outputs that could not be encoded."""
    return errors_in(entry["requests"]) + int(entry["encode_failures"])


def _latency(entries: Sequence[Entry], stage: str) -> Histogram:
    """Add up the versions' histograms of `stage`."""
    found = [Histogram.from_json(SERVICE, entry["latency"][stage]) for entry in entries]
    return found[0] if len(found) == 1 else Histogram.merged(SERVICE, found)


def _added(counted: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in counted:
        total.update(counts)
    return dict(total)


def _shown(value: float) -> float:
    """Round to four digits: enough for a line on a page, and half the bytes."""
    return float(f"{value:.4g}")
