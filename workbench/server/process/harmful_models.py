"""Decides what is to blame for the end of a worker, and when a model is set aside, or a share is kept from it.

Inputs can crash a model. Where the runs that did were all of one share's, that share is to blame and the model is not:
else a share could close the model to its owner and to other shares. Starts and reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.run_marks import Culprit, MarkedRun, ModelKey

REPEATS = 2
"""With so many ends of a worker within REPEATS_S a model is quarantined, or a share suspended for it."""

REPEATS_S = 3600.0


def culprit_of(runs: Sequence[MarkedRun], thread: int | None) -> Culprit | None:
    """The model and caller whose run ended a worker: that of the thread which died, or the only one. None: unknown."""
    found = {Culprit(run.model, run.caller) for run in runs if run.thread == thread}
    found = found or {Culprit(run.model, run.caller) for run in runs}
    if len({each.model for each in found}) != 1:
        return None
    return found.pop() if len(found) == 1 else Culprit(found.pop().model)


class HarmfulModels:
    """Counts how often the runs of each model ended a worker: those of each share, and all others."""

    def __init__(self) -> None:
        self._ends: dict[Culprit, list[float]] = {}

    def ended(self, culprit: Culprit, now: float) -> bool:
        """Such a run has ended a worker. True where that repeats, and then counting begins anew."""
        recent = self._recent(culprit, now)
        self._ends = {key: ends for key, ends in self._ends.items() if now - ends[-1] < REPEATS_S}
        self._ends[culprit] = [*recent, now]
        if len(recent) + 1 < REPEATS:
            return False
        del self._ends[culprit]
        return True

    def suspects(self, now: float) -> list[tuple[ModelKey, float]]:
        """The models with a run that ended a worker and was not all of one share's, and for how many seconds their
        callers are to have runs of their own: the next such end then tells whose it was."""
        ends = {each.model: self._recent(each, now) for each in self._ends if not each.caller}
        return [(model, then[-1] + REPEATS_S - now) for model, then in ends.items() if then]

    def _recent(self, culprit: Culprit, now: float) -> list[float]:
        return [then for then in self._ends.get(culprit, []) if now - then < REPEATS_S]
