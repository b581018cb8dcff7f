"""The charts of a report as plain values; `plotly_charts` and `svg` draw them. Pure.

No chart averages percentiles: where seconds are merged, percentiles are read from the merged histograms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.client.palette import colour
from workbench.core.histogram import Histogram
from workbench.loadtest.analysis.aggregate import Second, together
from workbench.loadtest.analysis.knee import METHOD, knee
from workbench.loadtest.analysis.latency_breakdown import BREAKDOWN, stages_of
from workbench.loadtest.store.run import Point, Run

MOST_POINTS = 300
"""The most points of a timeline; those of longer runs cover several seconds each."""

_PERCENTILES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


@dataclass(frozen=True, slots=True)
class Axis:
    title: str
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    """(value, text); empty: the renderer chooses."""


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    """None leaves a gap."""
    colour: str = colour("throughput")
    kind: str = "line"
    """"line", "bars", "points" (a line with marks), "marks" (without a line), "front" (joins the best)."""
    labels: tuple[str, ...] = ()
    """A label for each point; those of the first series of marks are always visible."""
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One pair of axes."""

    name: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    marks: tuple[tuple[float, str], ...] = ()
    """(x, words): moments, or the knee."""
    shaded: tuple[tuple[float, float, str], ...] = ()
    """(from, to, words): the warm-up."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Parts of a whole, in the order in which a request passes them."""

    name: str
    title: str
    parts: tuple[tuple[str, float, str], ...]
    """(what, milliseconds, colour)."""
    note: str = ""


def charts(run: Run) -> tuple[Chart | Breakdown, ...]:
    """The charts for which the run has figures, in the order of a report."""
    found = (curve(run), percentiles(run), rate(run), latency(run), breakdown(run), batch_sizes(run))
    return tuple(each for each in found if each is not None)


def percentiles(run: Run) -> Chart | None:
    """Latency by percentile, with an axis in 1 / (1 - p) as HdrHistogram has it, which shows the tail."""
    whole = run.whole
    if whole.latency.count < 2:
        return None
    series = [_percentile_series("from when it was due", whole.latency, colour("throughput"))]
    if run.open_loop:
        series.append(_percentile_series("from when it was sent", whole.service, colour("due"), thin=True))
    ticks = [(1 / (1 - p), f"{p * 100:.6g}%") for p in _PERCENTILES if 1 / (1 - p) <= whole.latency.count * 1.001]
    values = [value for value in series[0].y if value]
    spread = max(values) / values[len(values) // 2] if values else 1.0
    return Chart(
        "percentiles",
        "Latency by percentile",
        Axis("percentile of requests", log=True, ticks=tuple(ticks)),
        Axis("ms", log=spread > 30),
        tuple(series),
        note="Where the lines part, requests waited before they could be sent." if len(series) > 1 else "",
    )


def rate(run: Run) -> Chart | None:
    """Due and answered requests in each second."""
    seconds, every = gathered(_drawn(run))
    if not seconds:
        return None
    x, drawn = _times(run, seconds, every)

    def a_second(of: Callable[[Second], int]) -> tuple[float | None, ...]:
        return tuple(None if each is None else of(each) / every for each in drawn)

    series = [Series("answered", x, a_second(lambda each: each.answered), colour("throughput"))]
    if run.open_loop:
        series.insert(0, Series("due", x, a_second(lambda each: each.due), colour("due"), thin=True))
    if any(each.errors for each in seconds):
        series.append(Series("errors", x, a_second(lambda each: each.errors), colour("errors")))
    return Chart("rate", "Requests a second", Axis("s"), Axis("requests/s"), tuple(series), _marks(run), _shaded(run))


def latency(run: Run) -> Chart | None:
    """Percentiles of the requests that were due in each second."""
    seconds, every = gathered(_drawn(run))
    if not any(each.latency.count for each in seconds):
        return None
    x, drawn = _times(run, seconds, every)
    series = tuple(
        Series(
            name,
            x,
            tuple(None if each is None else _ms(each.latency.quantile(q)) for each in drawn),
            colour(name),
            thin=name == "max",
        )
        for name, q in (("max", 1.0), ("p99", 0.99), ("p50", 0.5))
    )
    values = [value for each in series for value in each.y if value]
    log = max(values) / min(values) > 100
    return Chart("latency", "Latency over time", Axis("s"), Axis("ms", log=log), series, _marks(run), _shaded(run))


def breakdown(run: Run) -> Breakdown | None:
    """Time of an average request by stage, on the client's side and on the service's."""
    found = stages_of(run)
    if not found:
        return None
    parts = tuple((stage, found[stage] * 1e3, ink) for stage, ink in BREAKDOWN.items() if stage in found)
    return Breakdown("stages", "Where the time went, of an average request", parts)


def batch_sizes(run: Run) -> Chart | None:
    """Batches by their number of rows."""
    sizes = run.server_figures().batch_sizes
    if not sizes:
        return None
    total = sum(sizes.values())
    x, y = tuple(map(float, sizes)), tuple(100 * count / total for count in sizes.values())
    labels = tuple(f"{count} batches" for count in sizes.values())
    ticks = tuple((float(size), str(size)) for size in sizes) if len(sizes) <= 16 else ()
    return Chart(
        "batch sizes",
        "Batch sizes",
        Axis("rows", ticks=ticks),
        Axis("% of batches"),
        (Series("batches", x, y, colour("full"), "bars", labels),),
    )


def curve(run: Run) -> Chart | None:
    """Throughput and p99 of the points of stairs, a search or a sweep; a knee is marked where only rates differ."""
    points = [point for point in run.points if point.figures.quantile(0.99) is not None]
    if len(points) < 2:
        return None
    by_rate = all(point.offered_per_s > 0 for point in points) and not any(point.settings for point in points)
    if by_rate:
        points.sort(key=lambda point: point.offered_per_s)
    else:
        points.sort(key=lambda point: point.figures.answered_per_s)
    x = tuple(point.figures.answered_per_s for point in points)
    series = tuple(
        Series(
            name,
            x,
            tuple(_ms(point.figures.quantile(q)) for point in points),
            colour(name),
            "marks" if any(point.settings for point in points) else "points",
            tuple(point.label + ("" if point.held else ", did not hold") for point in points),
        )
        for name, q in (("p99", 0.99), ("p50", 0.5))
    )
    values = [value for each in series for value in each.y if value]
    at = knee_of(run)
    if any(point.settings for point in points) and len(best := unbeaten(points)) > 1:
        y = tuple(_ms(point.figures.quantile(0.99)) for point in best)
        x = tuple(point.figures.answered_per_s for point in best)
        series = (*series, Series("none is better in both", x, y, colour("other"), "front", thin=True))
    return Chart(
        "curve",
        "Throughput and latency",
        Axis("answers/s"),
        Axis("ms", log=max(values) / min(values) > 30),
        series,
        () if at is None else ((run.points[at].figures.answered_per_s, f"knee: {run.points[at].label}"),),
        note="" if at is None else f"The knee is found with {METHOD}.",
    )


def unbeaten(points: Sequence[Point]) -> list[Point]:
    """The Pareto front of a sweep, by throughput: no other setting that held answers more with a p99 as low."""
    held = [point for point in points if point.held] or list(points)
    found: list[Point] = []
    least = math.inf
    for point in sorted(held, key=lambda each: (-each.figures.answered_per_s, each.figures.quantile(0.99) or 0.0)):
        p99_s = point.figures.quantile(0.99)
        if p99_s is not None and p99_s < least:
            least = p99_s
            found.append(point)
    return found[::-1]


def knee_of(run: Run) -> int | None:
    """The index of the point beyond which more load adds mostly waiting; None if there is none. Tests in which the
    generator was the limit do not count."""
    if any(point.settings or point.offered_per_s <= 0 for point in run.points):
        return None
    numbered = [
        (point.offered_per_s, p99_s, number)
        for number, point in enumerate(run.points)
        if (p99_s := point.figures.quantile(0.99)) is not None and not point.limit
    ]
    latest = {rate: (rate, p99_s, number) for rate, p99_s, number in numbered}  # a search asks for a rate again
    ordered = [latest[rate] for rate in sorted(latest)]
    at = knee([each[0] for each in ordered], [each[1] for each in ordered])
    return None if at is None else ordered[at][2]


def gathered(seconds: Sequence[Second], most: int = MOST_POINTS) -> tuple[list[Second], int]:
    """The timeline merged into at most `most` points, and the seconds in each."""
    every = max(math.ceil(len(seconds) / most), 1)
    if every == 1:
        return list(seconds), 1
    return [together(seconds[start : start + every]) for start in range(0, len(seconds), every)], every


def _drawn(run: Run) -> Sequence[Second]:
    """The seconds to draw: without a last fraction in which nothing was due."""
    if _is_series(run):
        return [each for each in run.seconds if each.due]
    last = run.seconds[-1:]
    if last and not last[0].due and last[0].at_s < run.whole.duration_s + 1:
        return run.seconds[:-1]
    return run.seconds


def _percentile_series(name: str, histogram: Histogram, colour: str, thin: bool = False) -> Series:
    x = np.unique(np.concatenate([np.geomspace(1, max(histogram.count, 2), 120), [2.0, 10.0, 100.0, 1000.0]]))
    x = x[x <= histogram.count]
    y = tuple(_ms(histogram.quantile(1 - 1 / each if each > 1 else 0.0)) for each in x)
    return Series(name, tuple(x.tolist()), y, colour, thin=thin)


def _times(run: Run, seconds: Sequence[Second], every: int) -> tuple[tuple[float, ...], tuple[Second | None, ...]]:
    """Times and seconds to draw, with a gap (None) between one test and the next."""
    x: list[float] = []
    drawn: list[Second | None] = []
    for each in seconds:
        if _is_series(run) and x and each.at_s - x[-1] > 1.05 * every:
            x.append((x[-1] + each.at_s) / 2)
            drawn.append(None)
        x.append(each.at_s)
        drawn.append(each)
    return tuple(x), tuple(drawn)


def _marks(run: Run) -> tuple[tuple[float, str], ...]:
    return tuple((mark.at_s, mark.text) for mark in run.marks)


def _shaded(run: Run) -> tuple[tuple[float, float, str], ...]:
    drawn, end_s = _drawn(run), run.whole.duration_s
    if not drawn or _is_series(run):
        return ()
    found = [(drawn[0].at_s, 0.0, "warm-up")] if drawn[0].at_s < 0 else []
    if drawn[-1].at_s > end_s:
        found.append((end_s, drawn[-1].at_s, "last answers"))
    return tuple(found)


def _is_series(run: Run) -> bool:
    return run.kind in ("search", "sweep")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
