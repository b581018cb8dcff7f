"""Live figures for JSON: what happened between two looks at the metrics.

Counts and histograms are those of the interval, so a reader merges any window by adding, and takes percentiles of the
window that it shows (live.tick). Rates are ready to plot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from workbench.core.cache_figures import CacheFigures
from workbench.core.model import ModelStatus
from workbench.telemetry.counters import Counters
from workbench.telemetry.machine_use import MachineUse
from workbench.telemetry.metrics import State
from workbench.telemetry.version_figures import rate, version_figures

NOTHING = Counters()


def snapshot(state: State, before: State, sequence: int, epoch: str) -> dict[str, Any]:
    """Return what happened from `before` until `state`.

    `sequence` counts up by one per snapshot, so a reader sees a gap. `epoch` names this run of the service, so a
    reader sees a restart.
    """
    interval_s = state.taken_at - before.taken_at
    statuses = {(status.name, status.version): status for status in state.statuses}
    statuses_before = {(status.name, status.version): status for status in before.statuses}
    models = []
    for key, total in sorted(state.figures.items()):
        earlier = before.figures.get(key, NOTHING)
        # Metrics.state returns the same copy where nothing happened: of many models few are busy.
        figures = (
            dataclasses.replace(NOTHING, last_error=total.last_error) if total is earlier else total.since(earlier)
        )
        status = statuses.get(key)
        if status is not None or figures.requests:  # the last requests of a removed version still count
            cache = _cache(status, statuses_before.get(key))
            models.append(version_figures(*key, figures, status, interval_s) | {"cache": cache})
    return {
        "epoch": epoch,
        "sequence": sequence,
        "changed": state.changes,
        "time": state.taken_at,
        "interval_s": interval_s,
        "process": {
            "cpu": rate(state.process.cpu_s - before.process.cpu_s, interval_s),
            "resident_bytes": state.process.resident_bytes,
            "loop_delay": state.loop_delay.since(before.loop_delay).histogram().encode(),
        },
        "machine": _machine(state.machine),
        "models": models,
    }


def _cache(status: ModelStatus | None, before: ModelStatus | None) -> dict[str, int] | None:
    """Return the requests that a model's cache was asked for since `before`, by what came; None if it has none."""
    if status is None or status.cache is None:
        return None
    earlier = (0, 0, 0, 0)
    if before is not None and before.cache is not None and before.loaded_at == status.loaded_at:
        earlier = before.cache.asked
    counts = zip(CacheFigures.RESULTS, status.cache.asked, earlier, strict=True)
    return {result: max(0, count - was) for result, count, was in counts}


class Snapshots:
    """The snapshots of one reader, each covering the time since the one before."""

    def __init__(self, state: Callable[[], State], epoch: str) -> None:
        self._state = state
        self._epoch = epoch
        self._before = state()
        self._sequence = 0

    def take(self) -> dict[str, Any]:
        state = self._state()
        taken = snapshot(state, self._before, self._sequence, self._epoch)
        self._before = state
        self._sequence += 1
        return taken


def _machine(machine: MachineUse) -> dict[str, Any]:
    return {
        "cpu": machine.cpu_utilization,
        "memory_bytes": machine.memory_total,
        "memory_used_bytes": machine.memory_used,
        "gpus": [
            {
                "uuid": gpu.uuid,
                "name": gpu.name,
                "utilization": gpu.utilization,
                "memory_bytes": gpu.memory_total,
                "memory_used_bytes": gpu.memory_used,
                "power_w": gpu.power_w,
            }
            for gpu in machine.gpus
        ],
    }
