"""What is counted of one version of one model: totals that only grow, which copy, and which subtract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.ports import Outcome
from workbench.telemetry.histogram import Histogram


@dataclass(slots=True)
class Figures:
    """Totals since the version was first seen."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Requests by how they ended."""
    request: Histogram = field(default_factory=Histogram)
    """From acceptance by the engine until the answer is back on the event loop, of the requests that were run."""
    queue: Histogram = field(default_factory=Histogram)
    """From acceptance until the batch was formed."""
    compute: Histogram = field(default_factory=Histogram)
    """Inside the runtime, for the whole batch that the request was in."""
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

    def add_requests(self, ended: Sequence[tuple[Outcome, Timings | None]]) -> None:
        # Mostly OK, and counted by identity: an Enum member's hash is a call into Python.
        outcomes = [outcome for outcome, _ in ended]
        ok = outcomes.count(Outcome.OK)
        self.outcomes[Outcome.OK] += ok
        if ok != len(outcomes):
            self.outcomes.update(outcome for outcome in outcomes if outcome is not Outcome.OK)
        stages = [(t.queued_s, t.batched_s, t.ran_s, t.split_s) for _, t in ended if t is not None]
        if stages:
            table = np.array(stages)
            self.request.add(table.sum(axis=1))
            self.queue.add(table[:, 0])
            self.compute.add(table[:, 2])

    def add_batches(self, batches: Iterable[tuple[int, ReleaseReason, float]]) -> None:
        for rows, reason, ran_s in batches:
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
            self.batch_sizes - earlier.batch_sizes,
            self.release_reasons - earlier.release_reasons,
            self.rows - earlier.rows,
            self.busy_s - earlier.busy_s,
        )
