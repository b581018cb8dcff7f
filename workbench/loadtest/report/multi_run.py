"""Load tests of several runs: the search for the highest rate that holds, and the sweep over settings.

Each run has its own generator. The service lends settings for as long as a connection lasts, so it restores them itself
however this process ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from workbench.client import sync
from workbench.client.formatting import counted
from workbench.core.cores import usable_cores
from workbench.errors import Conflict, InvalidInput
from workbench.loadtest.analysis.limits import limit_words
from workbench.loadtest.analysis.slo import LEAST_PER_S, ProbeResult, RateSearch
from workbench.loadtest.analysis.sweep_grid import Settings, grid_of, label_of, short_name
from workbench.loadtest.analysis.thresholds import Verdict
from workbench.loadtest.analysis.why_failed import why_failed
from workbench.loadtest.generator.target import PreparedTarget, control_client
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.patterns import Constant, Users
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.recording import Recording
from workbench.loadtest.store.run import Point, Run, run_of, run_of_series

SCOUTS = 8
"""A first run with this many users gives the rate at which a search begins."""

SCOUT_S = 1.0
PROBE_PART = 4
"""A run that only looks for the rate takes the plan's duration divided by this; confirming runs take all of it."""

PROBE_S = (1.0, 10.0)
PROBE_WARM_UP_S = 0.5

LEND_WAIT_S = 5.0
"""How long the service may take to notice that the previous borrower has gone."""

Kept = Callable[[Run], None]
"""Called with the series so far after each run."""


@dataclass(frozen=True, slots=True)
class _ProbeRun:
    point: Point
    run: Run
    recording: Recording


def search(job: LoadTestJob[Any], prepared: PreparedTarget, kept: Kept = lambda run: None) -> tuple[Run, Recording]:
    """Find the highest rate that holds the plan's `slo`; the figures are those of its last, longest run.

    Runs on the job's thread. Cancelling it ends the search with what was found.
    """
    plan = prepared.spec.plan
    if not plan.slo:
        raise InvalidInput("a search needs to know what must hold, as p99<20ms,errors<0.1%")
    poisson = plan.pattern.poisson if isinstance(plan.pattern, Constant) else False
    probe_s = min(max(plan.duration_s / PROBE_PART, PROBE_S[0]), PROBE_S[1], plan.duration_s)
    quick = replace(plan, duration_s=probe_s, warm_up_s=min(plan.warm_up_s, PROBE_WARM_UP_S))
    scout = job.record(_with(prepared, replace(quick, pattern=Users(SCOUTS), duration_s=SCOUT_S)), "a first look")
    seen_per_s = len(scout.measured_rows.ok) / SCOUT_S
    rate_search = RateSearch(max(seen_per_s / 2, 1.0), least_per_s=max(LEAST_PER_S, 1 / probe_s))
    probes: list[_ProbeRun] = []
    while not job.cancelled and (probe := rate_search.next()) is not None:
        rate = probe.rate_per_s
        used = replace(plan if probe.confirming else quick, pattern=Constant(rate, poisson=poisson))
        probes.append(_probe(job, prepared, used, f"{rate:.4g}/s", searching=True))
        point = probes[-1].point
        rate_search.record(ProbeResult(rate, point.held, _excess(point), not point.limit))
        kept(_searched(plan, probes, rate_search))
    if not probes:  # cancelled during the first look
        return run_of(scout), scout
    found = _searched(plan, probes, rate_search)
    best = _best_of(probes, rate_search)
    return found, probes[-1 if best is None else best].recording


def sweep(
    job: LoadTestJob[Any], prepared: PreparedTarget, grid: Sequence[Settings], kept: Kept = lambda run: None
) -> tuple[Run, Recording]:
    """Run the plan once with each combination of settings; the figures are those of the best run.

    The best of those that held has the most answers for users, and the least p99 for an open loop.
    """
    plan = prepared.spec.plan
    probes: list[_ProbeRun] = []
    for number, settings in enumerate(grid, 1):
        if job.cancelled and probes:
            break
        with lent(prepared, settings):
            place = number, len(grid)
            probes.append(_probe(job, prepared, plan, label_of(settings), settings, place=place))
        kept(_swept(plan, probes))
    best = _best_settings(plan, probes)
    return _swept(plan, probes), probes[best].recording


def grid_for(prepared: PreparedTarget, asked: str | Mapping[str, Sequence[object]]) -> list[Settings]:
    """The settings to try, around those in force. Raises InvalidInput where the target is not a service of ours."""
    from workbench.config import model_config

    if not prepared.controlled:
        raise InvalidInput(
            "a sweep changes the model's settings, which takes a service of the workbench and its owner's token"
        )
    return grid_of(asked, model_config(prepared.facts.get("config", {})), usable_cores())


@contextmanager
def lent(prepared: PreparedTarget, settings: Mapping[str, object]) -> Iterator[None]:
    """Apply `settings` for the duration; the service restores the earlier ones, also if this process dies."""
    target = prepared.spec.plan.target
    client = control_client(target)
    assert client is not None
    end = threading.Event()
    for attempt in range(int(LEND_WAIT_S / 0.05)):
        lending = client.lend(target.model, settings)
        try:
            sync.run(lending.__aenter__())
            break
        except Conflict:
            if attempt == int(LEND_WAIT_S / 0.05) - 1:
                sync.run(client.close())
                raise
            end.wait(0.05)
    try:
        yield
    finally:
        with suppress(Exception):  # a service that died has lost them anyway
            sync.run(lending.__aexit__(None, None, None))
        sync.run(client.close())


def _with(prepared: PreparedTarget, plan: Plan) -> PreparedTarget:
    return replace(prepared, spec=replace(prepared.spec, plan=plan))


def _probe(
    job: LoadTestJob[Any],
    prepared: PreparedTarget,
    plan: Plan,
    label: str,
    settings: Mapping[str, object] | None = None,
    *,
    place: tuple[int, int] = (0, 0),
    searching: bool = False,
) -> _ProbeRun:
    recording = job.record(_with(prepared, plan), label, place)
    run = run_of(recording)
    asked = plan.pattern.rate_per_s if isinstance(plan.pattern, Constant) else 0.0
    verdicts = run.verdicts
    if searching:  # a bound on the rate is for the answer, not for the runs on the way
        verdicts = tuple(verdict for verdict in verdicts if verdict.threshold.metric != "rate")
    held = recording.ended == "finished" and run.whole.kept_up and all(verdict.held for verdict in verdicts)
    why = ""
    if not held:
        late = limit_words(recording.limit, recording.generator)
        why = why_failed(run.whole, verdicts, run.seconds, late=late, ended=recording.ended)
    point = Point(label, asked, run.whole, dict(settings or {}), verdicts, held, recording.limit, why)
    return _ProbeRun(point, run, recording)


def _excess(point: Point) -> float:
    """The factor by which the worst figure is over its bound."""
    if not point.figures.kept_up or not point.figures.ok:
        return float("inf")
    return max((_over(verdict) for verdict in point.verdicts if not verdict.held), default=0.0)


def _over(verdict: Verdict) -> float:
    value, limit = verdict.value, verdict.threshold.limit
    if value is None or not limit or not value:
        return float("inf")
    return limit / value if verdict.threshold.metric == "rate" else value / limit


def _best_of(probes: Sequence[_ProbeRun], rate_search: RateSearch) -> int | None:
    """The last run of the answer; while it is looked for, of the highest rate that held; none where there is none."""
    rate = rate_search.answer or (0.0 if rate_search.why else rate_search.candidate)
    found = [at for at, probe in enumerate(probes) if probe.point.held and probe.point.offered_per_s == rate]
    return found[-1] if found else None


def _searched(plan: Plan, probes: Sequence[_ProbeRun], rate_search: RateSearch) -> Run:
    best = _best_of(probes, rate_search)
    most = probes[best].point.offered_per_s if best is not None else 0.0
    points = [(_judged(probe.point, most, probes), probe.run) for probe in probes]
    found = run_of_series("search", plan, points, best, rate_search.why)
    # Above the answer the generator may well have been the limit; of the answer itself it was not, or it says so.
    limit = probes[best].point.limit if best is not None else probes[-1].point.limit
    above = [probe.point for probe in probes if probe.point.limit and probe.point.offered_per_s > most]
    if above and not limit and rate_search.answer is not None:
        least = min(point.offered_per_s for point in above)
        said = (
            f"from {least:.4g} requests/s on the load generator was the limit: the model may take more than was found"
        )
        found = replace(found, notes=(*found.notes, said))
    return replace(found, limit=limit, summary=f"{plan.target.model}: the highest rate with {plan.slo}")


def _judged(point: Point, most: float, probes: Sequence[_ProbeRun]) -> Point:
    """A point beside the answer `most`: what held once above it did not hold again, so it did not hold."""
    if not point.held or point.offered_per_s <= most:
        return point
    again = any(not each.point.held and each.point.offered_per_s == point.offered_per_s for each in probes)
    why = "it held once, but not again" if again else "it held once, but a lower rate did not"
    return replace(point, held=False, why=why)


def _best_settings(plan: Plan, probes: Sequence[_ProbeRun]) -> int:
    held = [at for at, probe in enumerate(probes) if probe.point.held] or list(range(len(probes)))
    if plan.open_loop:
        return min(held, key=lambda at: probes[at].point.figures.quantile(0.99) or float("inf"))
    return max(held, key=lambda at: probes[at].point.figures.answered_per_s)


def _swept(plan: Plan, probes: Sequence[_ProbeRun]) -> Run:
    points = [(probe.point, probe.run) for probe in probes]
    found = run_of_series("sweep", plan, points, _best_settings(plan, probes))
    names = " and ".join(map(short_name, probes[0].point.settings))
    return replace(found, summary=f"{plan}, with {counted(len(probes), 'setting')} of {names}")
