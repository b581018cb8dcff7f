"""Turns counters into the statistics of the Open Inference Protocol."""

from __future__ import annotations

from workbench.core.model_statistics import BatchStatistics, ModelStatistics, Spent
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Counters
from workbench.telemetry.metrics import State
from workbench.telemetry.request_record import Stage


def statistics(state: State, name: str | None = None, version: str | None = None) -> list[ModelStatistics]:
    """Return the statistics of all present versions, or of one model, or of one version."""
    known = sorted({(status.name, status.version) for status in state.statuses})
    return [
        of_version(key[0], key[1], state.figures.get(key, Counters()))
        for key in known
        if name in (None, key[0]) and version in (None, key[1])
    ]


def of_version(name: str, version: str, figures: Counters) -> ModelStatistics:
    run = figures.request.linear.count
    succeeded = figures.outcomes[Outcome.OK]

    def stage(which: Stage) -> Spent:
        return Spent(run, float(figures.stages_s[which]))

    return ModelStatistics(
        name,
        version,
        figures.last_at,
        figures.rows,
        figures.batches,
        success=Spent(succeeded, figures.request.linear.total),
        failed=Spent(figures.requests - succeeded, figures.failed_s),
        queue=stage(Stage.QUEUE),
        join=stage(Stage.BATCH),
        compute=stage(Stage.COMPUTE),
        split=stage(Stage.SPLIT),
        by_size=tuple(
            BatchStatistics(rows, Spent(count, figures.batches_s[rows]))
            for rows, count in sorted(figures.batch_sizes.items())
            if count
        ),
    )
