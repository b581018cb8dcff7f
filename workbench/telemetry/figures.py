"""What is counted of one version of one model: totals that only grow, which copy, and which subtract."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.ports import Outcome
from workbench.telemetry.exchanges import Exchange, Stage, engine_stages, moments_and_sizes
from workbench.telemetry.exponential import DURATIONS, SIZES, Exponential
from workbench.telemetry.histogram import Histogram

_OUTCOME = operator.itemgetter(2)
_WIRE = [Stage.RECEIVE, Stage.DECODE, Stage.ENCODE, Stage.SEND]


@dataclass(slots=True)
class Durations:
    """The same durations counted twice: log-linear for quantiles and for readers of snapshots, and as Prometheus's
    native histograms have them."""

    linear: Histogram = field(default_factory=Histogram)
    native: Exponential = field(default_factory=lambda: Exponential(DURATIONS))

    def add(self, durations_s: ArrayLike) -> None:
        self.linear.add(durations_s)
        self.native.add(durations_s)

    def copy(self) -> Durations:
        return Durations(self.linear.copy(), self.native.copy())

    def since(self, earlier: Durations) -> Durations:
        return Durations(self.linear.since(earlier.linear), self.native.since(earlier.native))


def _no_sizes() -> Exponential:
    return Exponential(SIZES)


def _no_time() -> NDArray[np.float64]:
    return np.zeros(len(Stage))


@dataclass(slots=True)
class Figures:
    """Totals since the version was first seen."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Requests by how they ended."""
    request: Durations = field(default_factory=Durations)
    """From acceptance by the engine until the answer is back on the event loop, of the requests that were run."""
    queue: Durations = field(default_factory=Durations)
    """From acceptance until the batch was formed."""
    compute: Durations = field(default_factory=Durations)
    """Inside the runtime, for the whole batch that the request was in."""
    stages_s: NDArray[np.float64] = field(default_factory=_no_time)
    """Seconds by Stage, those of the engine of all requests that were run, the others of those that were answered."""
    request_bytes: Exponential = field(default_factory=_no_sizes)
    """Bodies of the requests that were answered with their outputs."""
    response_bytes: Exponential = field(default_factory=_no_sizes)
    """Bodies of those answers."""
    encode_failures: int = 0
    """Requests that were run, and whose outputs could not be written for the caller."""
    batch_sizes: Counter[int] = field(default_factory=Counter)
    """Batches by their rows."""
    release_reasons: Counter[ReleaseReason] = field(default_factory=Counter)
    """Batches by why they were released."""
    rows: int = 0
    busy_s: float = 0.0
    """Seconds that runners spent inside the runtime; over one second a second with several runners."""

    @property
    def batches(self) -> int:
        return self.release_reasons.total()

    @property
    def requests(self) -> int:
        return self.outcomes.total()

    @property
    def answered(self) -> int:
        """Requests whose outputs were sent."""
        return self.response_bytes.count

    def add_requests(self, ended: Sequence[tuple[str, str, Outcome, Timings | None]]) -> None:
        """(model, version, outcome, timings) of each."""
        # Mostly OK, and counted by identity: an Enum member's hash is a call into Python.
        outcomes = list(map(_OUTCOME, ended))
        ok = outcomes.count(Outcome.OK)
        self.outcomes[Outcome.OK] += ok
        if ok != len(outcomes):
            self.outcomes.update(outcome for outcome in outcomes if outcome is not Outcome.OK)
        run = [timings for _, _, _, timings in ended if timings is not None]
        if run:
            table = engine_stages(run)
            self.request.add(table.sum(axis=1))
            self.queue.add(table[:, 0])
            self.compute.add(table[:, 2])
            self.stages_s[Stage.QUEUE : Stage.SPLIT + 1] += table.sum(axis=0)

    def add_answered(self, exchanges: Sequence[Exchange]) -> NDArray[np.float64]:
        """Exchanges that ended with outputs; the duration of each."""
        table = moments_and_sizes(exchanges)
        received, decoded, _, encoded, sent = np.diff(table[:, :6]).sum(axis=0)
        self.stages_s[_WIRE] += (received, decoded, encoded, sent)
        self.request_bytes.add(table[:, 6])
        self.response_bytes.add(table[:, 7])
        durations: NDArray[np.float64] = table[:, 5] - table[:, 1]
        return durations

    def add_failed(self, exchanges: Sequence[Exchange]) -> NDArray[np.float64]:
        """Exchanges that ended with an error; the duration of each."""
        self.encode_failures += sum(exchange.timings is not None for exchange in exchanges)
        return np.array([exchange.duration_s for exchange in exchanges])

    def add_batches(self, batches: Iterable[tuple[str, str, int, ReleaseReason, float]]) -> None:
        """(model, version, rows, reason, seconds inside the runtime) of each."""
        for _, _, rows, reason, ran_s in batches:
            self.batch_sizes[rows] += 1
            self.release_reasons[reason] += 1
            self.rows += rows
            self.busy_s += ran_s

    def copy(self) -> Figures:
        return Figures(
            self.outcomes.copy(),
            self.request.copy(),
            self.queue.copy(),
            self.compute.copy(),
            self.stages_s.copy(),
            self.request_bytes.copy(),
            self.response_bytes.copy(),
            self.encode_failures,
            self.batch_sizes.copy(),
            self.release_reasons.copy(),
            self.rows,
            self.busy_s,
        )

    def since(self, earlier: Figures) -> Figures:
        """What came after `earlier`, an older copy of these figures."""
        return Figures(
            self.outcomes - earlier.outcomes,
            self.request.since(earlier.request),
            self.queue.since(earlier.queue),
            self.compute.since(earlier.compute),
            self.stages_s - earlier.stages_s,
            self.request_bytes.since(earlier.request_bytes),
            self.response_bytes.since(earlier.response_bytes),
            self.encode_failures - earlier.encode_failures,
            self.batch_sizes - earlier.batch_sizes,
            self.release_reasons - earlier.release_reasons,
            self.rows - earlier.rows,
            self.busy_s - earlier.busy_s,
        )
