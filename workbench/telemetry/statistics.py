"""Turns counters into the statistics of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.core.cache_figures import CacheFigures
from workbench.core.model import ModelStatus
from workbench.core.model_statistics import BatchStatistics, ModelStatistics, Spent
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Counters
from workbench.telemetry.metrics import ModelVersion, State
from workbench.telemetry.request_record import Stage
from workbench.telemetry.share_usage import ModelUse, ShareUsage


def statistics(state: State, name: str | None = None, version: str | None = None) -> list[ModelStatistics]:
    """Return the statistics of all present versions, or of one model, or of one version, since each was loaded."""
    latest = {(each.name, each.version): each for each in sorted(state.statuses, key=lambda each: each.loaded_at)}
    return [
        _with_cache(of_version(*key, _since_load(state, key)), latest[key].cache)
        for key in sorted(latest)
        if name in (None, key[0]) and version in (None, key[1])
    ]


def _with_cache(found: ModelStatistics, cache: CacheFigures | None) -> ModelStatistics:
    """`found`, with what the result cache of the same load was asked for."""
    if cache is None:
        return found
    return replace(found, cache_hits=cache.looked - cache.misses, cache_misses=cache.misses)


def share_statistics(
    statuses: Sequence[ModelStatus],
    usage: ShareUsage,
    sees: Callable[[str, str], bool],
    name: str | None,
    version: str | None,
) -> list[ModelStatistics]:
    """Return the same of what one share alone did, since the service started, of the models that it `sees`.

    What it is not told is what batches its requests were in, and what the result cache had: they tell of other callers.
    """
    used = usage.versions()
    return [
        _of_share(key, used.get(key, ModelUse()))
        for key in sorted({(status.name, status.version) for status in statuses})
        if sees(*key) and name in (None, key[0]) and version in (None, key[1])
    ]


def _of_share(key: ModelVersion, use: ModelUse) -> ModelStatistics:
    answered = use.answered
    failed = use.outcomes.total() - answered
    queue, join, compute, split = (Spent(answered, seconds) for seconds in use.stages_s.tolist())
    return ModelStatistics(
        *key,
        use.last_at,
        use.rows,
        answered,
        Spent(answered, use.latency.total_s),
        Spent(failed, use.failed_s),
        queue,
        join,
        compute,
        split,
    )


def _since_load(state: State, key: ModelVersion) -> Counters:
    figures, before = state.figures.get(key, Counters()), state.before_load.get(key)
    if before is None:
        return figures
    figures = figures.since(before)
    if not figures.request.linear.count:
        figures.last_at = 0.0
    return figures


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
