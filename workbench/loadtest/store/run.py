"""`Run`: everything that is kept of one load test, and its JSON.

    Recording ── run_of ──► Run ── encode ──► history.sqlite ── decode ──► Run ──► Report, Comparison

A run holds figures, not requests: histograms of each second and of the whole, from which reports read every percentile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from workbench.core.histogram import Histogram
from workbench.errors import InvalidInput, Unsupported
from workbench.loadtest.analysis import latency_histogram
from workbench.loadtest.analysis.aggregate import Aggregate, Second, Stretch, Window
from workbench.loadtest.analysis.thresholds import Threshold, Verdict, judge, parse_thresholds
from workbench.loadtest.analysis.why_failed import why_failed
from workbench.loadtest.machine_info import this_machine, versions
from workbench.loadtest.patterns import Stairs, Users
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.recording import Generator, Mark, Recording, ServerSecond

SCHEMA = 1
"""Version of the JSON. A new field with a default keeps it; a change of meaning raises it."""


class RunState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CUT_SHORT = "cut short"
    """Stopped, or its process died; it has what was measured until then."""


@dataclass(frozen=True, slots=True)
class Point:
    """One test of several: a stair, a probe of a search, or a combination of a sweep."""

    label: str
    """ "200/s", or "batch=8". """
    offered_per_s: float
    """The planned rate; 0 for users."""
    figures: Stretch
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The model's settings, where a sweep set them."""
    verdicts: tuple[Verdict, ...] = ()
    held: bool = True
    """Whether every bound held and the server kept up with the rate."""
    limit: str = ""
    """One sentence where the generator was the limit."""
    why: str = ""
    """Why it does not hold, in a few words."""


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """The service's own figures of the model over an interval."""

    requests: int = 0
    """Answered requests."""
    stages_s: Mapping[str, float] = field(default_factory=dict)
    """Mean seconds a request, by stage."""
    batch_sizes: Mapping[int, int] = field(default_factory=dict)
    release_reasons: Mapping[str, int] = field(default_factory=dict)
    queued_most: int = 0
    busy: float = 0.0
    """Runners at work, on average."""

    @property
    def batches(self) -> int:
        return sum(self.batch_sizes.values())

    @property
    def rows_a_batch(self) -> float | None:
        rows = sum(size * count for size, count in self.batch_sizes.items())
        return rows / self.batches if self.batches else None


@dataclass(frozen=True, slots=True)
class Run:
    """One load test, or a search, stairs or sweep of several."""

    id: str
    """Short and readable, as "digits-4"; empty for one that was not kept."""
    kind: str
    """"bench", "stairs", "search" or "sweep"."""
    started_at: float
    """Unix time."""
    state: RunState
    plan: Mapping[str, Any]
    """`Plan.described()`."""
    summary: str
    """The plan in words."""
    whole: Stretch
    """Figures of the measured part; of a search, those of the highest rate that held."""
    seconds: tuple[Second, ...] = ()
    points: tuple[Point, ...] = ()
    server: tuple[ServerSecond, ...] = ()
    """On the clock of `seconds`: 0 is the beginning of the measured part."""
    marks: tuple[Mark, ...] = ()
    """On the same clock."""
    generator: Generator = field(default_factory=Generator)
    limit: str = ""
    """One sentence where the generator was the limit."""
    reason: str = ""
    """One sentence where the run did not finish."""
    notes: tuple[str, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)
    """Outcome -> the message of its first request."""
    verdicts: tuple[Verdict, ...] = ()
    target: Mapping[str, Any] = field(default_factory=dict)
    """As found: version, digest, device, settings of the model; name and version of the server."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """The generator's machine."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return str(self.plan.get("target", {}).get("model", ""))

    @property
    def url(self) -> str:
        return str(self.plan.get("target", {}).get("url", ""))

    @property
    def open_loop(self) -> bool:
        return bool(self.plan.get("pattern", {}).get("kind") != Users.kind)

    @property
    def held(self) -> bool:
        """Whether it finished and every bound holds, of a search whether it found a rate; decides the exit status."""
        found = self.kind != "search" or any(point.held for point in self.points)
        return self.state is RunState.DONE and found and all(verdict.held for verdict in self.verdicts)

    def server_figures(self, window: Window | None = None) -> ServerFigures:
        """The service's figures over a window of the timeline; by default over the measured part."""
        begin_s, end_s = window or (0.0, self.whole.duration_s if self.kind == "bench" else float("inf"))
        return summed([each for each in self.server if begin_s < each.at_s and each.at_s - each.interval_s < end_s])


def run_of(recording: Recording, *, state: RunState | None = None) -> Run:
    """The run of a recording; without an id, since it is not kept yet."""
    fold = Aggregate(recording.window_s[0])
    fold.add(recording.rows)
    return run_from(recording, fold, state=state)


def run_from(recording: Recording, fold: Aggregate, *, state: RunState | None = None) -> Run:
    """The same from an aggregate that has the recording's rows already, as during a run."""
    plan, begin_s = recording.plan, recording.window_s[0]
    whole = fold.whole(recording.measured_s)
    stopped = recording.ended in ("cancelled", "cut short")
    thresholds = parse_thresholds(plan.slo) if plan.slo else ()
    points = _stairs(plan.pattern, recording, fold, thresholds) if isinstance(plan.pattern, Stairs) else ()
    return Run(
        id="",
        kind="stairs" if points else "bench",
        started_at=recording.started_at,
        state=state or (RunState.CUT_SHORT if stopped else RunState.DONE),
        plan=plan.described(),
        summary=str(plan),
        whole=whole,
        seconds=fold.seconds(),
        points=points,
        server=tuple(replace(each, at_s=each.at_s - begin_s) for each in recording.server),
        marks=tuple(replace(each, at_s=each.at_s - begin_s) for each in recording.marks),
        generator=recording.generator,
        limit=recording.limit,
        reason=recording.reason,
        notes=recording.notes,
        examples=recording.examples,
        verdicts=() if points else judge(thresholds, whole),
        target=recording.target,
        machine=this_machine(),
        versions=versions(),
    )


def run_of_series(
    kind: str, plan: Plan, points: Sequence[tuple[Point, Run]], best: int | None, reason: str = ""
) -> Run:
    """A search or a sweep: its tests one after another, with the figures of the `best` one."""
    if not points:
        raise InvalidInput(f"a {kind} needs at least one test, got none")
    runs = [run for _, run in points]
    first, chosen = runs[0], runs[best if best is not None else -1]
    seconds: list[Second] = []
    server: list[ServerSecond] = []
    marks: list[Mark] = []
    for point, run in points:
        shift_s = run.started_at - first.started_at
        seconds += [replace(each, at_s=each.at_s + shift_s) for each in run.seconds]
        server += [replace(each, at_s=each.at_s + shift_s) for each in run.server]
        marks += [Mark(shift_s, "point", point.label), *(replace(each, at_s=each.at_s + shift_s) for each in run.marks)]
    return replace(
        chosen,
        kind=kind,
        started_at=first.started_at,
        plan=plan.described(),
        summary=str(plan),
        seconds=tuple(seconds),
        points=tuple(point for point, _ in points),
        server=tuple(server),
        marks=tuple(marks),
        limit=next((run.limit for run in runs if run.limit), ""),
        reason=reason or chosen.reason,
        state=RunState.CUT_SHORT if any(run.state is RunState.CUT_SHORT for run in runs) else RunState.DONE,
    )


def step_windows(recording: Recording) -> dict[int, Window]:
    """The window of each phase of the plan, on the clock of the rows."""
    begin_s, end_s = recording.window_s
    pattern = recording.plan.pattern
    if not isinstance(pattern, Stairs):
        return {0: (begin_s, end_s)}
    windows: dict[int, Window] = {}
    while begin_s < end_s:
        windows[len(windows)] = (begin_s, min(begin_s + pattern.every_s, end_s))
        begin_s += pattern.every_s
    return windows


def summed(server: Sequence[ServerSecond]) -> ServerFigures:
    """Figures of several intervals together; means are weighted by their requests."""
    answered = sum(each.requests.get("ok", 0) for each in server)
    stages_s: dict[str, float] = {}
    sizes: Counter[int] = Counter()
    reasons: Counter[str] = Counter()
    lasted_s = busy_s = 0.0
    for each in server:
        for stage, mean_s in each.stages_s.items():
            stages_s[stage] = stages_s.get(stage, 0.0) + mean_s * each.requests.get("ok", 0)
        sizes.update(each.batch_sizes)
        reasons.update(each.release_reasons)
        lasted_s += each.interval_s
        busy_s += each.busy * each.interval_s
    return ServerFigures(
        requests=answered,
        stages_s={stage: total_s / answered for stage, total_s in stages_s.items()} if answered else {},
        batch_sizes=dict(sorted(sizes.items())),
        release_reasons=dict(reasons),
        queued_most=max((each.queued for each in server), default=0),
        busy=busy_s / lasted_s if lasted_s else 0.0,
    )


def _stairs(
    pattern: Stairs, recording: Recording, fold: Aggregate, thresholds: Sequence[Threshold]
) -> tuple[Point, ...]:
    points = []
    windows, seconds = step_windows(recording), fold.seconds()
    for number, each in fold.steps(windows).items():
        rate = pattern.rate_of(number)
        verdicts = judge(thresholds, each)
        held = each.kept_up and all(verdict.held for verdict in verdicts)
        begin_s, end_s = (at - recording.window_s[0] for at in windows[number])
        within = [second for second in seconds if begin_s - 1e-9 <= second.at_s < end_s - 1e-9]
        why = "" if held else why_failed(each, verdicts, within)
        points.append(Point(f"{rate:g}/s", rate, each, {}, verdicts, held, why=why))
    return tuple(points)


# JSON


class _Kept(msgspec.Struct):
    schema: int
    run: msgspec.Raw


def encode(run: Run) -> bytes:
    """JSON, as `decode` reads it."""
    return msgspec.json.encode({"schema": SCHEMA, "run": run}, enc_hook=_plain)


def decode(text: bytes) -> Run:
    """Decode `encode`. Raises Unsupported for a run of a newer version, InvalidInput for anything else."""
    try:
        kept = msgspec.json.decode(text, type=_Kept)
        if kept.schema > SCHEMA:
            raise Unsupported(
                f"this run was kept by a newer version (its form is {kept.schema}, this version knows {SCHEMA}): "
                "open it with that version"
            )
        run = msgspec.json.decode(kept.run, type=Run, dec_hook=_from_plain)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"this is no run of a load test: {error}") from None
    # Runs kept before patterns had their name called them attacks.
    plan = {"pattern" if name == "attack" else name: value for name, value in run.plan.items()}
    return replace(run, plan=plan)


def _plain(value: object) -> object:
    if isinstance(value, Histogram):
        return latency_histogram.encode(value)
    if hasattr(value, "item"):  # a number of numpy's
        return value.item()
    raise NotImplementedError(f"a run cannot keep a {type(value).__name__}")


def _from_plain(kind: type, value: Any) -> object:
    if kind is Histogram:
        return latency_histogram.decode(value)
    raise NotImplementedError(kind.__name__)
