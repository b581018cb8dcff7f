"""Runs load tests for this server's pages, and reports on them and on all kept runs.

Each test is the same job that a notebook has (`workbench.loadtest.bench`): a generator process that ends with this one,
and a run in the user's history.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from logging import Logger
from pathlib import Path
from typing import Any

import msgspec

from workbench.core.threads import in_thread
from workbench.errors import Conflict, Unavailable
from workbench.loadtest.analysis.aggregate import Second
from workbench.loadtest.analysis.compare import Comparison
from workbench.loadtest.bench import bench
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.option_schema import VALUES, Option
from workbench.loadtest.options import OPTIONS, SWEEP, VERSION, check_names, plan_of, searches
from workbench.loadtest.patterns import PATTERNS
from workbench.loadtest.plan import DURATION, ROWS, SLO, WARM_UP, Plan, Target
from workbench.loadtest.report import summary_text
from workbench.loadtest.report.charts import gathered
from workbench.loadtest.report.report import Report
from workbench.loadtest.store import records
from workbench.loadtest.store.history import RunSummary, history, summary_of
from workbench.loadtest.store.run import Point, Run, RunState
from workbench.protocols import control

TELL_S = 0.25
"""Seconds between two messages about a running test."""

LOOK_S = 1.0
"""Seconds between two checks for runs that other processes kept, while a page is open."""

BEGIN_S = 60.0
"""Seconds to wait until a run is kept as begun; other processes may be writing."""

POINTS = 120
"""The most points of a run's timeline; those of a longer run are of several seconds each."""

UNKEPT = 20
"""The most runs to remember here that could not be kept, as on a full disk."""

QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99, "p99_9_s": 0.999, "max_s": 1.0}


FORM_OPTIONS = {name: option for name, option in OPTIONS.items() if option.type is not VALUES}


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """A load test in a user's words, as `model.bench` takes them."""

    options: dict[str, Any]
    version: str | None = None
    sweep: str | None = None


def decode_request(body: bytes) -> BenchRequest:
    """Raises InvalidInput; `plan_of` judges the options' values."""
    given = control.decode_body(body, dict[str, Any])
    found = {option.name: given.pop(option.name, None) for option in (VERSION, SWEEP)}
    for option in (VERSION, SWEEP):
        if found[option.name] is not None:
            option.read(found[option.name])
    check_names(given, FORM_OPTIONS)
    return BenchRequest(given, **found)


def load_form() -> dict[str, Any]:
    """FORM of docs/jupyter.md: how requests can come, and what a form asks for each."""
    patterns = [
        {
            "kind": each.kind,
            "title": each.title,
            "hint": f"{_capital(each.options[0].help)}: {each.question}",
            "fields": [
                *map(_field, each.options),
                *([{**_field(DURATION), "text": each.duration}] if each.duration else []),
            ],
            "sweeps": True,
        }
        for each in PATTERNS
    ]
    search = {
        "kind": "search",
        "title": "Find the limit",
        "hint": "Searches the highest rate at which this holds; it takes several tests, about a minute.",
        "fields": [_field(SLO), _field(DURATION)],
        "sweeps": False,
    }
    return {"patterns": [*patterns, search], "options": [_field(ROWS), _field(WARM_UP)]}


def _field(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type.value,
        "labels": option.labels,
        "text": option.default or option.example,
        "hint": _capital(option.help),
        "range": option.range if option.is_ranged else "",
        "minimum": option.minimum,
        "zero": option.allows_minimum,
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(eq=False, slots=True)
class _Test:
    run: str
    summary: str
    handle: LoadTestJob[Report]
    ended: asyncio.Task[None] = field(init=False)


class LoadTests:
    """The running load tests of this server. Use it on the event loop only."""

    def __init__(
        self, told: Callable[[dict[str, Any]], None], log: Logger, attentive: Callable[[], bool] = lambda: False
    ) -> None:
        """`told` is called with each message; `attentive` says whether a page is open."""
        self._told = told
        self._log = log
        self._attentive = attentive
        self._looking: asyncio.Task[None] | None = None
        self._tests: dict[str, _Test] = {}
        """The running test of each model."""
        self._beginning: set[str] = set()
        self._closed = False
        self._unkept: dict[str, Run] = {}
        self._changes = 0

    def open(self) -> None:
        """Start to check for runs of other processes; a second call does nothing."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    def message(self) -> dict[str, Any]:
        """The message for pages: the running tests, and a number that changes with the list of runs."""
        return {"changes": self._changes, "running": [_progress(each) for each in self._tests.values()]}

    async def start(self, target: Target, asked: BenchRequest) -> str:
        """Start a load test and return its run's id. Raises what `model.bench` does, and Conflict."""
        plan, find = plan_of(target, **asked.options), searches(asked.options)
        model = target.model
        summary = f"{model}: the highest rate that holds {plan.slo}" if find else str(plan)
        if asked.sweep is not None:
            summary += f", with each setting of {asked.sweep}"
        self._check_free(model)
        self._beginning.add(model)
        try:
            handle, run = await in_thread(lambda: _begun(plan, find, asked.sweep))
        finally:
            self._beginning.discard(model)
        test = self._tests[model] = _Test(run or self._name(model), summary, handle)
        test.ended = asyncio.create_task(self._follow(test))
        if self._closed:
            handle.cancel()
        self._changed()
        return test.run

    async def stop(self, run: str) -> None:
        """Stop a test and wait for its end. Raises NotFound, and Conflict where another process runs it."""
        if (test := self._running(run)) is not None:
            test.handle.cancel()
            self._told(self.message())
            await asyncio.shield(test.ended)
        elif (await self.run(run)).state is RunState.RUNNING:
            raise Conflict(f"{run} was started by another process, as by a notebook: stop it there")

    async def close(self) -> None:
        """Stop all tests, and checking for others."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        tests = list(self._tests.values())
        for test in tests:
            test.handle.cancel()
        await asyncio.gather(*(test.ended for test in tests), return_exceptions=True)

    # Kept runs

    async def runs(self, model: str | None, limit: int) -> dict[str, Any]:
        """The kept runs, the latest first."""
        kept = history()
        listed = await in_thread(lambda: kept.list(model, limit))
        unkept = [_run(summary_of(run)) for run in self._unkept.values() if model in (None, run.model)]
        found = sorted([*unkept, *map(_run, listed)], key=lambda each: -each["started_at"])
        return {**self.message(), "runs": found[:limit], "notes": kept.notes}

    async def run(self, name: str) -> Run:
        """A run by its name. Raises NotFound."""
        if name in self._unkept:
            return self._unkept[name]
        return await in_thread(lambda: history().run(name))

    async def figures(self, name: str) -> dict[str, Any]:
        """RUN of docs/jupyter.md. Raises NotFound."""
        run = await self.run(name)
        return await in_thread(lambda: _figures(run))

    # Internals

    async def _follow(self, test: _Test) -> None:
        ended = asyncio.ensure_future(test.handle)
        while not ended.done():
            await asyncio.wait({ended}, timeout=TELL_S)
            self._told(self.message())
        del self._tests[test.handle.plan.target.model]
        if (error := ended.exception()) is not None:
            self._log.warning("the load test %s failed: %s", test.run, error)
        elif not ended.result().id:
            self._unkept[test.run] = replace(ended.result().run, id=test.run)
            for oldest in list(self._unkept)[:-UNKEPT]:
                del self._unkept[oldest]
        self._changed()

    async def _look(self) -> None:
        path = history().path
        seen = await in_thread(lambda: _stamp(path))
        while True:
            await asyncio.sleep(LOOK_S)
            if self._attentive() and (now := await in_thread(lambda: _stamp(path))) != seen:
                seen = now
                self._changed()

    def _check_free(self, model: str) -> None:
        if self._closed:
            raise Unavailable("this Jupyter server is shutting down")
        if model in self._beginning or model in self._tests:
            run = f" ({self._tests[model].run})" if model in self._tests else ""
            raise Conflict(
                f"a load test of {model!r} is under way{run}, and two at once would measure each other: "
                "stop it, or wait for its end"
            )

    def _changed(self) -> None:
        self._changes += 1
        self._told(self.message())

    def _running(self, run: str) -> _Test | None:
        return next((test for test in self._tests.values() if test.run == run), None)

    def _name(self, model: str) -> str:
        """A name for a run that could not be kept."""
        return f"{model}-unkept-{self._changes + 1}"


def compared(comparison: Comparison) -> dict[str, Any]:
    """COMPARISON of docs/jupyter.md."""
    return {
        "sentence": comparison.headline,
        "ratios": [
            {"name": each.name, "a": each.a, "b": each.b, "ratio": each.ratio if each.a else None}
            | {"low": each.low, "high": each.high, "shown": each.shown, "better": each.better}
            for each in comparison.ratios
        ],
        "differences": comparison.differences,
        "cautions": comparison.cautions,
    }


def timeline(seconds: Sequence[Second]) -> list[dict[str, Any]]:
    """POINTS at most; those of a longer run are of several seconds each."""
    points, every = gathered(seconds, POINTS)
    found = []
    for number, point in enumerate(points):
        each = min(every, len(seconds) - number * every)
        found.append(
            {
                "at_s": point.at_s,
                "warm_up": point.phase == records.WARM_UP,
                "due_per_s": point.due / each,
                "answered_per_s": point.answered / each,
                "errors_per_s": point.errors / each,
                "p50_s": point.latency.quantile(0.5),
                "p99_s": point.latency.quantile(0.99),
            }
        )
    return found


def _stamp(path: Path) -> object:
    """A value that changes when the file is written."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _begun(plan: Plan, find: bool, grid: str | None) -> tuple[LoadTestJob[Report], str]:
    """Start a test on a thread, since that checks the target and the inputs."""
    kept = history()
    kept.list(limit=1)  # a history of a newer version is better refused now
    named: concurrent.futures.Future[str] = concurrent.futures.Future()
    handle = bench(plan, kept, find=find, grid=grid, began=named.set_result)
    try:
        return handle, named.result(BEGIN_S)
    except TimeoutError:
        return handle, ""


def _progress(test: _Test) -> dict[str, Any]:
    return {
        "run": test.run,
        "model": test.handle.plan.target.model,
        "summary": test.summary,
        "stopping": test.handle.cancelled,
        **msgspec.to_builtins(test.handle.progress),
    }


def _figures(run: Run) -> dict[str, Any]:
    whole = run.whole
    return {
        **_run(summary_of(run)),
        "sentence": summary_text.headline(run),
        "details": list(summary_text.details(run)),
        "generator": summary_text.health(run),
        "offered_per_s": whole.offered_per_s if run.open_loop and not run.points else None,
        "due": whole.due,
        "errors": whole.errors,
        "duration_s": whole.duration_s,
        "quantiles": {each: whole.quantile(q) for each, q in QUANTILES.items()},
        "seconds": timeline(run.seconds),
        "points": [_point(each) for each in run.points],
    }


def _run(summary: RunSummary) -> dict[str, Any]:
    """KEPT of docs/jupyter.md."""
    found: dict[str, Any] = msgspec.to_builtins(summary)
    return {"run": found.pop("id"), **found}


def _point(point: Point) -> dict[str, Any]:
    return {
        "label": point.label,
        "offered_per_s": point.offered_per_s or None,
        "answered_per_s": point.figures.answered_per_s,
        "p50_s": point.figures.quantile(0.5),
        "p99_s": point.figures.quantile(0.99),
        "error_share": point.figures.error_share,
        "held": point.held,
        "why": point.why,
    }
