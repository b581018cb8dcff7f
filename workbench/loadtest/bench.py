"""`bench`: runs a load test from its plan to its report, and keeps the run in the history. Every verb uses it.

    bench(plan, history) ──► LoadTestJob[Report]    kept as running at the start, saved now and then, and at the end

Where the history cannot be written, the test goes on and its report says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from workbench.client import sync
from workbench.errors import InvalidInput, StorageError, WorkbenchError
from workbench.loadtest.analysis.aggregate import Aggregate
from workbench.loadtest.generator.target import prepare
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.options import plan_of, searches
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.report.multi_run import grid_for, search, sweep
from workbench.loadtest.report.report import Report
from workbench.loadtest.store.history import SAVE_EVERY_S, History, history
from workbench.loadtest.store.recording import Recording
from workbench.loadtest.store.records import Records
from workbench.loadtest.store.run import Run, RunState, run_from, run_of

Sweep: TypeAlias = str | Mapping[str, Sequence[object]] | None
"""Settings to try in all combinations: "batch=1:8:32,delay" or {"batch": [1, 8, 32]}."""


def bench_target(target: Target, inputs: object = None, *, sweep: Sweep = None, **options: Any) -> LoadTestJob[Report]:
    """Load-test `target` with a user's options, those of `plan_of`, and keep the run in the user's history."""
    plan = plan_of(target, inputs=inputs, **options)
    return bench(plan, history(), find=searches(options), grid=sweep)


def bench(
    plan: Plan,
    history: History | None = None,
    *,
    find: bool = False,
    grid: Sweep = None,
    began: Callable[[str], object] = lambda run: None,
) -> LoadTestJob[Report]:
    """Start a load test; the result of the job is its report, also where it was cancelled.

    `find`: search the highest rate that holds the plan's `slo`. `grid`: run the plan once with each combination of
    these settings of the model, as "batch=1:8:32,delay". `began` is called on another thread with the id of the kept
    run, or "" where it could not be kept. Raises at once what the first request would raise: ModelNotFound,
    InvalidInput, Unavailable and so on.
    """
    if find and grid is not None:
        raise InvalidInput("a sweep runs one load with many settings: say which load, as rate=200 or users=32")
    prepared = sync.run(prepare(plan))
    settings = None if grid is None else grid_for(prepared, grid)

    def work(job: LoadTestJob[Report]) -> Report:
        with RunRecorder(plan, history) as recorder:
            began(recorder.id)
            if find:
                return recorder.report(*search(job, prepared, recorder.so_far))
            if settings is not None:
                return recorder.report(*sweep(job, prepared, settings, recorder.so_far))
            recorder.follow(job)
            recording = job.record(prepared)
            return recorder.report(recorder.run_of(recording), recording)

    return LoadTestJob(plan, work)


class RunRecorder:
    """Keeps one run in the history from beginning to end; without a history it only aggregates."""

    def __init__(self, plan: Plan, history: History | None) -> None:
        self._plan = plan
        self._history = history
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._aggregate = Aggregate(plan.warm_up_s)
        self._latest = run_of(_nothing(plan), state=RunState.RUNNING)
        """The run as it was kept last."""
        self.trouble = ""
        """Why the run could not be kept; empty if it was."""

    def __enter__(self) -> RunRecorder:
        self._attempt(self._begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stop_saving()
        if error is not None and self.id:
            reason = error.message if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {error}"
            cut = replace(self._latest, state=RunState.CUT_SHORT, reason=reason)
            self._attempt(lambda history: history.save(cut))

    def follow(self, job: LoadTestJob[Report]) -> None:
        """Aggregate the job's rows, and save the run now and then until it ends."""
        job.on_rows = self._take
        self._thread = threading.Thread(target=self._save_on, args=(job,), name="infer-workbench-history", daemon=True)
        self._thread.start()

    def run_of(self, recording: Recording, state: RunState | None = None) -> Run:
        """The run of a recording, with what was aggregated while it came."""
        with self._lock:
            return run_from(recording, self._aggregate, state=state)

    def so_far(self, run: Run) -> None:
        """Save an unfinished run."""
        if self.id:
            running = self._latest = replace(run, id=self.id, state=RunState.RUNNING)
            self._attempt(lambda history: history.save(running))

    @property
    def id(self) -> str:
        """The id of the kept run; empty where it is not kept."""
        return self._latest.id

    def report(self, run: Run, recording: Recording) -> Report:
        """Keep the finished run, and make its report."""
        self._stop_saving()
        self._latest = replace(run, id=self.id)
        # A run that could not be kept at the beginning may be now.
        self._attempt((lambda history: history.save(self._latest)) if self.id else self._begin)
        report = Report(self._latest, recording.rows, self._history)
        report.not_kept = " ".join(filter(None, (self.trouble, *(self._history.notes if self._history else ()))))
        return report

    def _begin(self, history: History) -> None:
        self._latest = history.begin(self._latest)

    def _take(self, rows: Records) -> None:
        with self._lock:
            self._aggregate.add(rows)

    def _save_on(self, job: LoadTestJob[Report]) -> None:
        while not self._over.wait(SAVE_EVERY_S):
            if not self.trouble and (recording := job.so_far()) is not None:
                self.so_far(self.run_of(recording, RunState.RUNNING))

    def _stop_saving(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _attempt(self, work: Callable[[History], object]) -> None:
        if self._history is None:
            return
        try:
            work(self._history)
        except StorageError as error:
            self.trouble = error.message
        else:
            self.trouble = ""


def _nothing(plan: Plan) -> Recording:
    """The recording of a run that has not begun."""
    return Recording(plan, Records.of(), time.time(), 0.0, plan.duration_s, ended="running")
