"""What each share was used for: noted at an inference's end in a quarter of a microsecond, counted by the hundred.

What metrics note of the same inference is noted here as it is, so that it is not read and packed twice.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.histogram import SERVICE, Histogram
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Durations
from workbench.telemetry.request_record import MOMENTS, RequestRecord
from workbench.telemetry.rolling_windows import ModelVersion
from workbench.telemetry.totals import LATEST, Totals

FOLD_AT: Final = 1024
"""Inferences that are noted before they are counted: 0.1 ms of work, and 110 kB of notes."""

MAX_VERSIONS: Final = 8
"""Versions of a model that are counted apart. Those before them are counted together, as version ""."""

_NUMBERS: Final = MOMENTS + 6
_FOLD_BYTES: Final = FOLD_AT * _NUMBERS * 8
_noted = struct.Struct(f"{MOMENTS * 8}s6d").pack
_RECEIVED, _SENT, _BYTES = 1, 5, slice(6, 8)
"""Among the moments, as Counters.add_answered has them."""
_KEY, _ROWS, _STAGES = MOMENTS, MOMENTS + 1, slice(MOMENTS + 2, _NUMBERS)


def _no_latency() -> Histogram:
    return Histogram.empty(SERVICE)


def _no_stages() -> NDArray[np.float64]:
    return np.zeros(4)


@dataclass(slots=True)
class ModelUse(Totals):
    """What one share did with a model, or a version of it."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Inferences by outcome. One that was over a limit of the share is none."""
    rows: int = 0
    """Of those that were answered, as all below but `failed_s`."""
    request_bytes: int = 0
    response_bytes: int = 0
    latency: Histogram = field(default_factory=_no_latency)
    """From the body's arrival until the answer had left."""
    stages_s: NDArray[np.float64] = field(default_factory=_no_stages)
    """Seconds in QUEUE, BATCH, COMPUTE, SPLIT."""
    failed_s: float = 0.0
    last_at: float = field(default=0.0, metadata=LATEST)
    """Unix time of the last one; 0: there was none."""

    @property
    def answered(self) -> int:
        return self.outcomes[Outcome.OK]

    @property
    def errors(self) -> int:
        return self.outcomes.total() - self.answered - self.outcomes[Outcome.CANCELLED]

    def add(self, other: ModelUse) -> None:
        self.outcomes += other.outcomes
        self.rows += other.rows
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        self.latency += other.latency
        self.stages_s += other.stages_s
        self.failed_s += other.failed_s
        self.last_at = max(self.last_at, other.last_at)

    @classmethod
    def together(cls, uses: Iterable[ModelUse]) -> ModelUse:
        """Return the sum."""
        found = cls()
        for each in uses:
            found.add(each)
        return found


class ShareUsage:
    """Of one share, since the service started. Belongs to the event loop."""

    __slots__ = (
        "_clock",
        "_key",
        "_keys",
        "_model",
        "_models",
        "_notes",
        "_ticks",
        "_version",
        "_versions",
        "latency",
    )

    def __init__(
        self,
        models: Collection[str],
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """`models`: the share's. `clock`: Unix time. `ticks`: the clock that stamps request records."""
        self._models = models
        self._clock = clock
        self._ticks = ticks
        self._notes = bytearray()
        """Doubles side by side, `_NUMBERS` for each inference that was answered and is not counted yet."""
        self._keys: dict[ModelVersion, int] = {}
        """What the number at `_KEY` stands for."""
        self._model = self._version = ""
        self._key = 0.0
        """Of the last one."""
        self._versions: dict[ModelVersion, ModelUse] = {}
        self.latency: Durations | None = None
        """Of all models together; None: nothing was answered and counted yet."""

    def answered(self, record: RequestRecord, moments: bytes) -> None:
        """Note an inference that was answered with its outputs. `moments`: what Metrics.exchange_done noted of it."""
        times, notes = record.timings, self._notes
        if times is None:
            return
        if record.model is not self._model or record.version is not self._version or not notes:
            self._model, self._version = record.model, record.version
            self._key = float(self._keys.setdefault((record.model, record.version), len(self._keys)))
        notes += _noted(moments, self._key, times.rows, times.queued_s, times.batched_s, times.ran_s, times.split_s)
        if len(notes) >= _FOLD_BYTES:
            self.fold()

    def failed(self, record: RequestRecord, outcome: Outcome) -> None:
        """Count an inference that ended otherwise."""
        use = self._of((record.model, record.version) if record.model in self._models else ("", ""))
        use.outcomes[outcome] += 1
        use.failed_s += record.duration_s
        use.last_at = self._clock()

    def fold(self) -> None:
        """Count what was noted."""
        if not self._notes:
            return
        noted, self._notes = np.frombuffer(self._notes).reshape(-1, _NUMBERS), bytearray()
        keys, self._keys = self._keys, {}
        columns = np.ascontiguousarray(noted.T)  # each is read whole, which takes half as long where it lies together
        latency_s = columns[_SENT] - columns[_RECEIVED]
        offset_s = self._clock() - self._ticks()
        if self.latency is None:
            self.latency = Durations()
        for key, number in keys.items():
            mine = slice(None) if len(keys) == 1 else columns[_KEY] == number
            numbers = columns[:, mine]
            request_bytes, response_bytes = numbers[_BYTES].sum(axis=1).tolist()
            found = Histogram.of(SERVICE, latency_s[mine])
            use = self._of(key)
            use.outcomes[Outcome.OK] += numbers.shape[1]
            use.rows += int(numbers[_ROWS].sum())
            use.request_bytes += int(request_bytes)
            use.response_bytes += int(response_bytes)
            use.latency += found
            use.stages_s += numbers[_STAGES].sum(axis=1)
            use.last_at = max(use.last_at, float(numbers[_SENT, -1]) + offset_s)
            self.latency.linear.add_sparse(found.buckets, found.counts, found.total_s)
        self.latency.native.add(latency_s)

    def versions(self) -> Mapping[ModelVersion, ModelUse]:
        """By model and version; "" stands for what is not known of a failed one, and for all before the last ones."""
        self.fold()
        return self._versions

    def models(self) -> dict[str, ModelUse]:
        """By model; of a name that is not the share's nothing is kept but that it failed, as model ""."""
        found: dict[str, ModelUse] = {}
        for (model, _), use in self.versions().items():
            found.setdefault(model, ModelUse()).add(use)
        return found

    def _of(self, key: ModelVersion) -> ModelUse:
        use = self._versions.get(key)
        if use is None:
            use = self._versions[key] = ModelUse()
            mine = [each for each in self._versions if each[0] == key[0] and each[1]]
            if key[1] and len(mine) > MAX_VERSIONS:
                self._of((key[0], "")).add(self._versions.pop(mine[0]))
        return use


@dataclass(frozen=True, slots=True)
class ShareFigures:
    """What shares of one label were used for up to one moment. All of it is copies."""

    label: str
    refused: int
    """Calls over a limit of the share."""
    in_flight: int
    models: Mapping[str, ModelUse]
    latency: Durations


SHOWN: Final = 32
"""Labels that metrics show; those of all other shares are OTHER."""

OTHER: Final = "_other"
"""No share's own label begins like this."""


class ShareLabels:
    """Says under which label metrics show a share: under its own if it was among the first that were used."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def figures(self, shares: Iterable[tuple[str, ShareUsage, int, int]]) -> list[ShareFigures]:
        """Merge shares, each as (label, usage, refused, in flight), by the label that is shown."""
        labels: dict[str, tuple[dict[str, ModelUse], Durations, list[int]]] = {}
        for label, usage, refused, in_flight in shares:
            models = usage.models()
            if label not in self._shown and (models or refused or in_flight) and len(self._shown) < SHOWN:
                self._shown.add(label)
            shown = label if label in self._shown else OTHER
            if shown == OTHER and not (models or refused or in_flight):
                continue
            found, latency, counts = labels.setdefault(shown, ({}, Durations(), [0, 0]))
            for model, use in models.items():
                found.setdefault(model if shown != OTHER else "", ModelUse()).add(use)
            if usage.latency is not None:
                latency.merge(usage.latency)
            counts[0] += refused
            counts[1] += in_flight
        return [
            ShareFigures(label, refused, in_flight, models, latency)
            for label, (models, latency, (refused, in_flight)) in labels.items()
        ]
