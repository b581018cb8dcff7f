"""The engine's Observer: takes note in a tenth of a microsecond, and counts when somebody looks.

`request_done` and `batch_done` append a tuple; `fold` turns what gathered into figures with numpy, a few hundred at a
time, so that neither an unwatched service grows nor the event loop is held up for long.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Outcome
from workbench.telemetry.changes import Changes
from workbench.telemetry.figures import Figures

FOLD_AT = 512
"""Noted requests, or batches, at which they are folded unasked: some 0.3 ms of work."""

KEPT_AFTER_GONE = 64
"""Versions whose figures are kept after they are gone, so that the last requests before a swap are still scraped."""

ModelVersion = tuple[str, str]

log = logging.getLogger("workbench.models")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What this process has used."""

    cpu_s: float
    """User and system time since it began."""
    resident_bytes: int
    started_at: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that was counted up to one moment. The figures are copies."""

    taken_at: float
    """Unix time."""
    figures: Mapping[ModelVersion, Figures]
    statuses: Sequence[ModelStatus]
    process: ProcessUse
    changes: int = 0
    """Of the models' states, routing and settings."""


class Metrics:
    """Implements core.ports.Observer. Every method belongs to the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.changes = Changes()
        """Of the models' states, routing and settings."""
        self._clock = clock
        self._requests: list[tuple[str, str, Outcome, Timings | None]] = []
        self._batches: list[tuple[str, str, int, ReleaseReason, float]] = []
        self._figures: dict[ModelVersion, Figures] = {}
        self._states: dict[ModelVersion, ModelState] = {}
        self._statuses: Callable[[], Sequence[ModelStatus]] = list
        self._process = psutil.Process()

    def watch(self, statuses: Callable[[], Sequence[ModelStatus]]) -> None:
        """Ask `statuses` (Engine.statuses) for the models' states and queues whenever somebody looks.

        Asked rather than noted from `model_changed`: while a version is reloaded in place, two deployments of the
        same name and version report, and the one that goes reports last.
        """
        self._statuses = statuses

    # Observer

    def request_done(self, model: str, version: str, outcome: Outcome, timings: Timings | None) -> None:
        noted = self._requests
        noted.append((model, version, outcome, timings))
        if len(noted) >= FOLD_AT:
            self.fold()

    def batch_done(
        self, model: str, version: str, rows: int, requests: int, reason: ReleaseReason, ran_s: float
    ) -> None:
        noted = self._batches
        noted.append((model, version, rows, reason, ran_s))
        if len(noted) >= FOLD_AT:
            self.fold()

    def model_changed(self, status: ModelStatus) -> None:
        self.changes.note()
        key = (status.name, status.version)
        if self._states.get(key) is status.state:
            return
        self._states[key] = status.state
        level = logging.ERROR if status.state is ModelState.FAILED else logging.INFO
        fields = {"model": status.name, "version": status.version, "state": status.state.value}
        fields |= {"device": status.device} if status.device else {}
        fields |= {"reason": status.reason} if status.reason else {}
        log.log(level, "model %s version %s is %s", status.name, status.version, status.state, extra={"fields": fields})
        if status.state is ModelState.GONE:
            del self._states[key]
            self.fold()
            self._figures.setdefault(key, Figures())
            self._prune()

    # Looking

    def fold(self) -> None:
        """Count what was noted since the last time."""
        requests, self._requests = self._requests, []
        batches, self._batches = self._batches, []
        ended = defaultdict(list)
        for model, version, outcome, timings in requests:
            ended[model, version].append((outcome, timings))
        for key, of_version in ended.items():
            self._of(key).add_requests(of_version)
        ran = defaultdict(list)
        for model, version, rows, reason, ran_s in batches:
            ran[model, version].append((rows, reason, ran_s))
        for key, batches_of_version in ran.items():
            self._of(key).add_batches(batches_of_version)

    def state(self) -> State:
        """Everything counted up to now."""
        self.fold()
        statuses = self._statuses()
        for status in statuses:
            self._of((status.name, status.version))
        memory, cpu = self._process.memory_info(), self._process.cpu_times()
        return State(
            taken_at=self._clock(),
            figures={key: figures.copy() for key, figures in self._figures.items()},
            statuses=statuses,
            process=ProcessUse(cpu.user + cpu.system, memory.rss, self._process.create_time()),
            changes=self.changes.count,
        )

    def _of(self, key: ModelVersion) -> Figures:
        figures = self._figures.get(key)
        if figures is None:
            figures = self._figures[key] = Figures()
        return figures

    def _prune(self) -> None:
        present = {(status.name, status.version) for status in self._statuses()}
        gone = [key for key in self._figures if key not in present]
        for key in gone[: max(0, len(gone) - KEPT_AFTER_GONE)]:
            del self._figures[key]
