"""Decides how many rows the next batch takes, and when. Pure: it is told the time and holds no clock.

Work-conserving: while a runner is free nothing waits, unless the model's settings ask for a queue delay. While all
runners are busy requests gather by themselves, and the next free runner takes the number of rows that was measured
to be fastest, not simply all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from workbench.config import ModelConfig
from workbench.core.messages import ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.costs import DISPATCH_OVERHEAD_S, NEARLY_BEST, CostTable, Curve, fastest_padded, fastest_size


class BatchPlan(NamedTuple):
    """What to do with a group of pending requests now: take up to `rows` rows, or look again in `wait_s` seconds."""

    rows: int
    """0: take nothing yet. A single request that is larger than this travels alone."""
    wait_s: float
    reason: ReleaseReason


class Waiting(Protocol):
    """Requests of one shape that wait."""

    @property
    def key(self) -> ShapeKey: ...

    @property
    def rows(self) -> int: ...

    @property
    def since(self) -> float:
        """When the first request was accepted."""
        ...


class BatchPolicy(Protocol):
    costs: CostTable
    sizes: Sequence[int]
    """The only batch sizes that may run; empty: any."""

    def plan(self, waiting: Waiting, now: float, free: int) -> BatchPlan:
        """What to take, where `free` runners have nothing to do, the one that asks among them. (While some are about to
        leave it may be less than 1.)"""
        ...

    def best_size(self, key: ShapeKey) -> int:
        """The rows to take where many of this shape wait."""
        ...

    def padded(self, rows: int) -> int:
        """The rows to run for a batch of so many; the others are padding."""
        ...

    def learned(self, key: ShapeKey) -> None:
        """The costs of this shape have changed."""
        ...


class AlonePolicy:
    """One request a run, for a model whose rows were not proved independent."""

    def __init__(self, costs: CostTable | None = None) -> None:
        self.costs = costs or CostTable()
        self.sizes: Sequence[int] = ()

    def plan(self, waiting: Waiting, now: float, free: int) -> BatchPlan:
        return BatchPlan(1, 0.0, ReleaseReason.ALONE)

    def best_size(self, key: ShapeKey) -> int:
        return 1

    def padded(self, rows: int) -> int:
        return rows

    def learned(self, key: ShapeKey) -> None: ...


class WindowPolicy:
    """Batches up to the size that is fastest, waiting only where `max_queue_delay_s` is set."""

    def __init__(
        self,
        max_batch_size: int,
        max_queue_delay_s: float = 0.0,
        costs: CostTable | None = None,
        sizes: Sequence[int] = (),
        preferred: Sequence[int] = (),
    ) -> None:
        """Where the model may run only some `sizes`, the largest of them is always `max_batch_size`. Batches of
        `preferred` sizes are what the settings ask for, whatever was measured."""
        self.costs = costs or CostTable()
        self._most = max_batch_size
        self._delay_s = max_queue_delay_s
        self.sizes: Sequence[int] = allowed_sizes(sizes, max_batch_size)
        self._preferred = tuple(sorted({size for size in preferred if size <= max_batch_size}, reverse=True))
        self._best: dict[ShapeKey, int] = {}

    def best_size(self, key: ShapeKey) -> int:
        if self._preferred:
            return self._preferred[0]
        best = self._best.get(key)
        if best is None:
            curve = self.costs.curve(key)
            best = self._most if curve is None or not self.costs.seeded else self._fastest(curve)
            self._best[key] = best
        return best

    def plan(self, waiting: Waiting, now: float, free: int) -> BatchPlan:
        key, pending_rows = waiting.key, waiting.rows
        if self._preferred:
            return self._as_preferred(pending_rows, now - waiting.since)
        best = self._best.get(key) or self.best_size(key)
        if pending_rows >= best * (free if free > 1 else 1):
            return BatchPlan(best, 0.0, ReleaseReason.FULL)
        if self._delay_s and pending_rows < best:
            left_s = self._delay_s - (now - waiting.since)
            if left_s > 0:
                return BatchPlan(0, left_s, ReleaseReason.DELAY)
        rows = pending_rows if free < 2 else self._share(key, pending_rows, best, free)
        if self.sizes and (curve := self.costs.curve(key)) is not None:
            rows = min(rows, fastest_padded(curve, rows, self.sizes))
        if rows == best:
            return BatchPlan(rows, 0.0, ReleaseReason.FULL)
        return BatchPlan(rows, 0.0, ReleaseReason.DELAY if self._delay_s else ReleaseReason.IDLE)

    def _as_preferred(self, pending_rows: int, waited_s: float) -> BatchPlan:
        for size in self._preferred:
            if size <= pending_rows:
                return BatchPlan(size, 0.0, ReleaseReason.FULL)
        left_s = self._delay_s - waited_s
        if self._delay_s and left_s > 0:
            return BatchPlan(0, left_s, ReleaseReason.DELAY)
        return BatchPlan(
            min(pending_rows, self._most), 0.0, ReleaseReason.DELAY if self._delay_s else ReleaseReason.IDLE
        )

    def padded(self, rows: int) -> int:
        return next((size for size in self.sizes if size >= rows), rows) if self.sizes else rows

    def learned(self, key: ShapeKey) -> None:
        # The others' best sizes are thrown away only because nothing else bounds how many shapes callers may think of.
        self._best.clear()

    def _share(self, key: ShapeKey, pending_rows: int, best: int, free: int) -> int:
        """This runner's part where several are free: an equal one, if all are done sooner that way."""
        share = -(-pending_rows // free)
        most = min(pending_rows, best)
        curve = self.costs.curve(key)
        if curve is None or curve.seconds(share) + DISPATCH_OVERHEAD_S <= NEARLY_BEST * (
            curve.seconds(most) + DISPATCH_OVERHEAD_S
        ):
            return min(share, best)
        return most

    def _fastest(self, curve: Curve) -> int:
        if self.sizes:
            return fastest_size({size: curve.seconds(size) for size in self.sizes}, self._most)
        return fastest_size(curve.run_s, self._most)


def policy_for(config: ModelConfig, independent: bool, costs: CostTable) -> BatchPolicy:
    """The policy that a model's settings ask for. `independent`: its rows may share a run."""
    if not independent:
        return AlonePolicy(costs)
    return WindowPolicy(
        config.max_batch_size, config.max_queue_delay_s, costs, config.batch_sizes, config.preferred_batch_sizes
    )


def allowed_sizes(sizes: Sequence[int], max_batch_size: int) -> tuple[int, ...]:
    """`sizes` in order, without those over `max_batch_size`, which itself is one of them; empty: any size may run."""
    return tuple(sorted({*(size for size in sizes if size < max_batch_size), max_batch_size})) if sizes else ()
