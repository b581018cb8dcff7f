"""What a run says, in plain words: one sentence first, then what a reader must know to trust it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.client.formatting import counted, milliseconds
from workbench.loadtest.analysis.aggregate import Stretch
from workbench.loadtest.analysis.latency_breakdown import longest_stage
from workbench.loadtest.analysis.thresholds import Verdict
from workbench.loadtest.analysis.why_failed import error_words
from workbench.loadtest.report.charts import knee_of
from workbench.loadtest.store.records import WARM_UP
from workbench.loadtest.store.run import Point, Run, RunState

OMISSION = 1.5
"""A report mentions the wait if p99 from when requests were due is this many times p99 from when they were sent."""

MANY_ERRORS = 0.01
"""The first line mentions errors from this share on."""

_GREW = "the queue grew without bound"


def headline(run: Run) -> str:
    """The first line; it says so where the generator was the limit."""
    if _unknown(run):
        return answer(run)
    if run.limit:
        return _sentence(run.limit)
    return answer(run)


def answer(run: Run) -> str:
    """The result of the run in one or two sentences."""
    if run.kind == "search":
        return _found(run)
    if run.kind == "sweep":
        return _best(run)
    if run.kind == "stairs" and run.points:
        return _climbed(run)
    return _took(run, run.whole)


def details(run: Run) -> Iterator[str]:
    """The sentences below the first line."""
    if run.limit:
        yield _sentence(run.limit) if _unknown(run) else answer(run)
    if run.state is RunState.RUNNING:
        yield "This run is still under way; the figures are those so far."
    elif run.state is RunState.CUT_SHORT:
        why = f": {run.reason}" if run.reason else ""
        yield _sentence(f"This run was cut short{why}; the figures are those until then")
    elif run.reason and not (run.kind == "search" and run.reason.startswith(("not even", "the load generator"))):
        yield _sentence(run.reason)  # the first line of a search has those
    yield from (f"{verdict}." for verdict in _unsaid(run))
    if run.whole.errors:
        yield _failed(run)
    if silence := _silence(run):
        yield silence
    if (omission := _omission(run)) is not None:
        yield omission
    if (longest := longest_stage(run)) is not None:
        most = "Most" if longest[1] > 0.5 else "The largest part"
        yield f"{most} of the time, {longest[1]:.0%}, went into {_place(longest[0])}."
    yield from (_sentence(note) for note in run.notes)
    for mark in run.marks:
        if mark.kind != "point":
            yield f"At {mark.at_s:.1f} s: {_sentence(mark.text)}"


def health(run: Run) -> str:
    """The generator's figures of itself in one line."""
    own = run.generator
    parts = [f"{own.cpu_share:.0%} of its core"]
    if run.open_loop:
        parts.insert(0, f"99 % of the requests left within {milliseconds(own.lag_p99_s)} of when they were due")
    if own.connections:
        parts.append(counted(own.connections, "connection"))
    if own.connect_errors:
        parts.append(f"{counted(own.connect_errors, 'connection')} could not be opened")
    if own.reconnects:
        parts.append(f"{counted(own.reconnects, 'connection')} broke or were closed")
    return "The generator: " + ", ".join(parts) + "."


def _unknown(run: Run) -> bool:
    """Whether a search tells nothing of the model, since the generator was the limit wherever it failed."""
    failed = [point for point in run.points if not point.held]
    return run.kind == "search" and len(failed) == len(run.points) > 0 and all(point.limit for point in failed)


def _unsaid(run: Run) -> Iterator[Verdict]:
    """The verdicts that no other line has: a search's first line names its bounds and p99, its rows why they failed."""
    for verdict in run.verdicts:
        metric = verdict.threshold.metric
        if run.kind == "search" and metric != "rate":
            if not any(point.held for point in run.points):
                continue
            if verdict.held and (metric == "p99" or (metric == "errors" and not verdict.value)):
                continue
        yield verdict


def _took(run: Run, whole: Stretch) -> str:
    model, answered = run.model, f"{_rate(whole.answered_per_s)} requests/s"
    if not whole.due:
        return f"Nothing was asked of {model}: the run ended before its first request."
    if not whole.ok:
        return f"{model} answered none of {whole.due} requests: {error_words(whole) or 'all were cancelled'}."
    p99, most = milliseconds(whole.quantile(0.99) or 0.0), milliseconds(whole.quantile(1.0) or 0.0)
    if not run.open_loop:
        users = run.plan.get("pattern", {}).get("count", 0)
        said = f"With {counted(int(users), 'user')} {model} answers {answered}, with p99 {p99} and {most} at most"
        return f"{said}; other requests failed." if (whole.error_share or 0.0) >= MANY_ERRORS else f"{said}."
    if whole.kept_up or run.state is not RunState.DONE:
        p50 = milliseconds(whole.quantile(0.5) or 0.0)
        return f"{model} takes {answered} with p99 {p99}: half were answered within {p50}, the slowest took {most}."
    offered = f"{_rate(whole.offered_per_s)} requests/s"
    if whole.errors:
        return f"{model} does not take {offered}: {answered} were answered, with p99 {p99}, and others failed."
    return (
        f"{model} does not take {offered}: {answered} were answered and {_GREW}; p99 {p99} says how long the test was."
    )


def _climbed(run: Run) -> str:
    good = [point for point in run.points if point.held]
    bad = next((point for point in run.points if not point.held), None)
    if not good:
        assert bad is not None  # there are points
        return f"{run.model} does not even take {_rate(bad.offered_per_s)} requests/s: {_broke(bad)}."
    # What held after a stair that did not is luck.
    best = (
        good[-1] if bad is None else next((p for p in reversed(good) if p.offered_per_s < bad.offered_per_s), good[0])
    )
    said = f"{run.model} takes {_rate(best.offered_per_s)} requests/s with p99 {_p99(best)}"
    if bad is None:
        return f"{said}, and was not brought to its limit."
    return f"{said}; at {_rate(bad.offered_per_s)}/s {_broke(bad)}."


def _found(run: Run) -> str:
    asked = run.plan.get("slo") or "what was asked for"
    good = [point for point in run.points if point.held]
    if _unknown(run):
        least = min(run.points, key=lambda point: point.offered_per_s)
        return (
            f"Whether {run.model} holds {asked} is not known: the load generator was the limit in each of "
            f"{counted(len(run.points), 'test')}, down to {_rate(least.offered_per_s)} requests/s."
        )
    if not good:
        tested = [point for point in run.points if point.figures.due] or run.points
        least = min(tested, key=lambda point: point.offered_per_s)
        return f"{run.model} does not hold {asked} even at {_rate(least.offered_per_s)} requests/s: {_broke(least)}."
    best = max(good, key=lambda point: point.offered_per_s)
    above = [point for point in run.points if not point.held and point.offered_per_s > best.offered_per_s]
    said = f"{run.model} takes {_rate(best.offered_per_s)} requests/s with {asked}: p99 was {_p99(best)}"
    if not above:
        return f"{said}; no higher rate was tried."
    first = min(above, key=lambda point: (point.offered_per_s, all(verdict.held for verdict in point.verdicts)))
    return f"{said}; at {_rate(first.offered_per_s)}/s {_broke(first)}."


def _best(run: Run) -> str:
    held = [point for point in run.points if point.held] or list(run.points)
    best = max(held, key=lambda point: point.figures.answered_per_s)
    least = min(held, key=lambda point: point.figures.quantile(0.99) or float("inf"))
    said = f"{run.model} answers most with {best.label}: {_rate(best.figures.answered_per_s)}/s, p99 {_p99(best)}"
    if least is best:
        return f"{said}, which is also the least p99."
    return f"{said}; p99 is least with {least.label}: {_p99(least)}, {_rate(least.figures.answered_per_s)}/s."


def _broke(point: Point) -> str:
    missed = [verdict for verdict in point.verdicts if not verdict.held]
    if not point.figures.due:
        return "no request was due in its time"
    if not point.figures.ok:
        return f"nothing was answered ({error_words(point.figures) or 'all were cancelled'})"
    if not point.figures.kept_up and not point.figures.errors:
        return _GREW
    if missed:
        return f"{missed[0]}"
    return point.why or error_words(point.figures) or point.limit or "it broke"


def _failed(run: Run) -> str:
    whole = run.whole
    share = whole.error_share or 0.0
    percent = f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
    first = next((f"; the first said: {said}" for word, said in run.examples.items() if word != "ok" and said), "")
    return _sentence(f"{percent} of the requests failed ({error_words(whole)}){first}")


def _silence(run: Run) -> str:
    """The longest interval of whole seconds in which every request failed."""
    longest: tuple[float, float] | None = None
    begun: float | None = None
    for second in run.seconds:
        if second.phase == WARM_UP or second.answered:
            begun = None
        if not second.errors or second.phase == WARM_UP or second.answered:
            continue
        begun = second.at_s if begun is None else begun
        if longest is None or second.at_s + 1 - begun > longest[1] - longest[0]:
            longest = begun, second.at_s + 1
    if longest is None or not run.whole.ok:
        return ""
    first, last = longest
    return (
        f"Nothing was answered from {first:.0f} s on."
        if last >= run.whole.duration_s
        else (f"Nothing was answered from {first:.0f} to {last:.0f} s.")
    )


def _omission(run: Run) -> str | None:
    due, sent = run.whole.latency.quantile(0.99), run.whole.service.quantile(0.99)
    if not run.open_loop or due is None or sent is None or due < OMISSION * sent:
        return None
    return (
        f"Counted from when requests were sent, p99 would be {milliseconds(sent)} instead of {milliseconds(due)}: "
        "the rest of the time they waited for their turn."
    )


def knee_words(run: Run) -> str | None:
    """Names the knee of the curve, if it has one and the first line has not named it."""
    at = knee_of(run)
    if at is not None and run.kind == "search":
        answer_per_s = max((point.offered_per_s for point in run.points if point.held), default=0.0)
        if run.points[at].offered_per_s >= answer_per_s:
            return None
    return None if at is None else f"The curve turns at {run.points[at].label}: more load buys mostly waiting."


def _place(stage: str) -> str:
    return {
        "unsent": "waiting to be sent",
        "network": "the network and both ends of it",
        "receive": "reading the request (receive)",
        "decode": "reading the request (decode)",
        "queue": "waiting for the model (queue)",
        "batch": "forming the batch (batch)",
        "compute": "the model (compute)",
        "split": "taking the batch apart (split)",
        "encode": "writing the answer (encode)",
        "send": "writing the answer (send)",
    }.get(stage, stage)


def _p99(point: Point) -> str:
    found = point.figures.quantile(0.99)
    return "unknown" if found is None else milliseconds(found)


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 20 else f"{per_s:.1f}".removesuffix(".0")


def _sentence(text: str) -> str:
    words = text[:1].upper() + text[1:]
    return words if words.endswith((".", "!", "?")) else f"{words}."
