"""Decides which model is to blame for the end of a worker, and when it is set aside. Starts and reads nothing."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.run_marks import MarkedRun, ModelKey

REPEATS = 2
"""So often within REPEATS_S the runs of one model may end a worker; with this one it is quarantined."""

REPEATS_S = 3600.0


def model_to_blame(runs: Sequence[MarkedRun], thread: int | None) -> ModelKey | None:
    """Whose run ended a worker, of those under way: that of the thread which died, or the only one. None: unknown."""
    models = {run.model for run in runs if run.thread == thread} or {run.model for run in runs}
    return models.pop() if len(models) == 1 else None


class HarmfulModels:
    """Counts how often the runs of each model ended a worker."""

    def __init__(self) -> None:
        self._ends: dict[ModelKey, list[float]] = {}

    def ended(self, model: ModelKey, now: float) -> bool:
        """Its run has ended a worker. True where that repeats, and then counting begins anew."""
        recent = [then for then in self._ends.get(model, []) if now - then < REPEATS_S]
        self._ends = {key: ends for key, ends in self._ends.items() if now - ends[-1] < REPEATS_S}
        self._ends[model] = [*recent, now]
        if len(recent) + 1 < REPEATS:
            return False
        del self._ends[model]
        return True
