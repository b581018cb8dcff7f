"""Counters of one version of one model: totals that only grow."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.core.histogram import SERVICE, Histogram
from workbench.core.messages import ReleaseReason
from workbench.core.ports import Outcome
from workbench.telemetry.dense_histogram import DenseHistogram
from workbench.telemetry.native_histogram import DURATIONS, SIZES, NativeHistogram
from workbench.telemetry.request_record import Stage
from workbench.telemetry.totals import LATEST, Totals

_WIRE = [Stage.RECEIVE, Stage.DECODE, Stage.ENCODE, Stage.SEND]


def _service_layout() -> DenseHistogram:
    return DenseHistogram(SERVICE)


def _native_durations() -> NativeHistogram:
    return NativeHistogram(DURATIONS)


@dataclass(slots=True)
class Durations(Totals):
    """The same durations counted twice: in the layout of snapshots, and in that of Prometheus's native histograms."""

    linear: DenseHistogram = field(default_factory=_service_layout)
    native: NativeHistogram = field(default_factory=_native_durations)

    def add(self, durations_s: ArrayLike) -> None:
        self.linear.add(durations_s)
        self.native.add(durations_s)

    def merge(self, other: Durations) -> None:
        """Add what another one has counted."""
        self.linear.merge(other.linear)
        self.native.merge(other.native)

    def histogram(self) -> Histogram:
        """Return the counts in the layout of snapshots."""
        return Histogram.from_dense(SERVICE, self.linear.counts, self.linear.total)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that was sent to a caller."""

    time: float
    """Unix time."""
    code: str
    message: str


def _no_sizes() -> NativeHistogram:
    return NativeHistogram(SIZES)


def _no_batches() -> defaultdict[int, float]:
    return defaultdict(float)


def _no_time() -> NDArray[np.float64]:
    return np.zeros(len(Stage))


@dataclass(slots=True)
class Counters(Totals):
    """Totals since the version was first seen."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Requests by outcome."""
    request: Durations = field(default_factory=Durations)
    """From acceptance by the engine until the answer is back on the event loop, of the requests that were run."""
    queue: Durations = field(default_factory=Durations)
    """From acceptance until the batch was formed."""
    compute: Durations = field(default_factory=Durations)
    """Inside the runtime, for the whole batch that the request was in."""
    stages_s: NDArray[np.float64] = field(default_factory=_no_time)
    """Seconds by Stage: the engine's stages of all requests that were run, the others of those that were answered."""
    request_bytes: NativeHistogram = field(default_factory=_no_sizes)
    """Bodies of the requests that were answered with their outputs."""
    response_bytes: NativeHistogram = field(default_factory=_no_sizes)
    """Bodies of the responses to them."""
    encode_failures: int = 0
    """Requests that were run, but whose outputs could not be encoded."""
    released: dict[ReleaseReason, Counter[int]] = field(default_factory=dict)
    """Batches by release reason and rows."""
    rows: int = 0
    busy_s: float = 0.0
    """Seconds that runners spent inside the runtime; with several runners more than one per second."""
    batches_s: defaultdict[int, float] = field(default_factory=_no_batches)
    """The same, by the rows of the batch."""
    last_at: float = field(default=0.0, metadata=LATEST)
    """Unix time when a request that had been run was last counted; 0 if none was."""
    last_error: Failure | None = field(default=None, metadata=LATEST)
    """The latest failure; a caller that left is not one."""
    failed_s: float = 0.0
    """Seconds from arrival until the error had left, of the requests that failed before or while they were run."""

    @property
    def batch_sizes(self) -> Counter[int]:
        """Batches by their rows."""
        sizes: Counter[int] = Counter()
        for counted in self.released.values():
            sizes.update(counted)
        return sizes

    @property
    def release_reasons(self) -> Counter[ReleaseReason]:
        """Batches by release reason."""
        return Counter({reason: counted.total() for reason, counted in self.released.items()})

    @property
    def batches(self) -> int:
        return sum(counted.total() for counted in self.released.values())

    @property
    def requests(self) -> int:
        return self.outcomes.total()

    @property
    def answered(self) -> int:
        """Requests whose outputs were sent."""
        return self.response_bytes.count

    def add_requests(self, outcomes: Sequence[Outcome], run: NDArray[np.float64]) -> None:
        """Count requests by outcome.

        `run` has a row per request that was run: seconds in QUEUE, BATCH, COMPUTE, SPLIT.
        """
        # Mostly OK, and counted by identity: an Enum member's hash is a call into Python.
        ok = outcomes.count(Outcome.OK)
        self.outcomes[Outcome.OK] += ok
        if ok != len(outcomes):
            self.outcomes.update(outcome for outcome in outcomes if outcome is not Outcome.OK)
        if len(run):
            self._add_run(run)

    def add_together(self, batches: Sequence[tuple[Sequence[float], float, float, float]]) -> None:
        """Count batches of requests that ended OK: seconds in QUEUE of each, in BATCH, COMPUTE and SPLIT of all."""
        requests = np.array([len(queued_s) for queued_s, *_ in batches])
        common = np.repeat(np.array([common for _, *common in batches]), requests, axis=0)
        queued = np.fromiter(itertools.chain.from_iterable(queued_s for queued_s, *_ in batches), float, len(common))
        self.outcomes[Outcome.OK] += len(common)
        self._add_run(np.column_stack((queued, common)))

    def add_answered(self, exchanges: NDArray[np.float64]) -> None:
        """Count answered requests, one row each: its six times, then the bytes of the request and the response."""
        if len(exchanges):
            received, decoded, _, encoded, sent = np.diff(exchanges[:, :6]).sum(axis=0)
            self.stages_s[_WIRE] += (received, decoded, encoded, sent)
            self.request_bytes.add(exchanges[:, 6])
            self.response_bytes.add(exchanges[:, 7])

    def add_batches(self, batches: Iterable[tuple[int, ReleaseReason, float]]) -> None:
        """Count batches, each as (rows, release reason, seconds inside the runtime)."""
        released = self.released
        for rows, reason, ran_s in batches:
            counted = released.get(reason)
            if counted is None:
                counted = released[reason] = Counter()
            counted[rows] += 1
            self.rows += rows
            self.busy_s += ran_s
            self.batches_s[rows] += ran_s

    def _add_run(self, run: NDArray[np.float64]) -> None:
        self.request.add(run.sum(axis=1))
        self.queue.add(run[:, 0])
        self.compute.add(run[:, 2])
        self.stages_s[Stage.QUEUE : Stage.SPLIT + 1] += run.sum(axis=0)
