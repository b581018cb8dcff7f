"""Finished figures as Plotly draws them, which a saved notebook keeps; live plots are in notebook.live."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import milliseconds
from workbench.client.palette import EITHER
from workbench.client.plotly_figures import Trace, axis, figure, moment, plain, short
from workbench.core.description import RunTimes
from workbench.core.histogram import SERVICE

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_REQUESTS = 25
"""Most requests that are drawn: more could not be told apart."""

_BARS = 20
"""Bars per decade of latency."""

_SIDE_BY_SIDE = ("blue", "orange", "green", "purple", "red", "sky", "brown", "olive", "violet", "grey")
"""The hues of lines whose number is not known before."""

_MARKED = 4
"""The most lines of which the best point is written beside it."""


def latencies(versions: Sequence[tuple[str, str, Mapping[str, int]]], title: str) -> go.Figure:
    """Plot latency histograms, one curve per version with requests, on a logarithmic time axis.

    `versions` are (model, version, the filled buckets of its histogram).
    """
    traces: list[Trace] = []
    found = [(model, version, bars) for model, version, counts in versions if (bars := _bars(counts))]
    for number, (model, version, bars) in enumerate(found):
        first, last = min(bars), max(bars)
        steps = range(first - 1, last + 2)
        # A bar reaches from its lower edge to the next one's.
        seconds = [10 ** (step / _BARS) for step in steps]
        ink = _SIDE_BY_SIDE[number % len(_SIDE_BY_SIDE)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [round(1e3 * second, 6) for second in seconds],
                "y": [bars.get(step, 0) for step in steps],
                "name": f"{short(model)}, version {plain(version)}",
                "line": {"shape": "hv", "color": EITHER[ink]},
                "fill": "tozeroy" if len(found) == 1 else "none",
                "hovertemplate": "%{y} requests from %{x:.3g} ms on",
            }
        )
    layout = {
        "height": 340,
        "showlegend": True,
        "xaxis": axis("ms", log=True),
        "yaxis": {**axis("requests"), "rangemode": "tozero"},
        "legend": {"orientation": "h", "y": -0.25, "yanchor": "top", "x": 0},
        "margin": {"l": 60, "r": 20, "t": 60, "b": 90},
    }
    return figure(title, traces, layout)


def waterfall(
    model: str,
    requests: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    shares: Callable[[Mapping[str, Any]], str],
) -> go.Figure:
    """Plot the stages of the slowest requests: one bar each, the slowest on top. `colours` maps stages to colours,
    `shares` tells what the stages of a pipeline of models took."""
    shown = requests[:MOST_REQUESTS]
    labels = [f"{i}: {milliseconds(request['duration_s'])}" for i, request in enumerate(shown, 1)]
    mates = [
        f"{request['rows'] or '?'} rows among {request['batch_size'] or '?'} of its batch"
        + (f"<br>{plain(told)}" if (told := shares(request)) else "")
        for request in shown
    ]
    traces: list[Trace] = [
        {
            "type": "bar",
            "x": [round(1e3 * (request["stages_s"].get(stage) or 0.0), 6) for request in shown],
            "y": labels,
            "name": stage,
            "orientation": "h",
            "marker": {"color": colour},
            "customdata": mates,
            "hovertemplate": f"{stage} %{{x:.3g}} ms<br>%{{customdata}}<extra></extra>",
        }
        for stage, colour in colours.items()
        if stage != "receive"  # not part of the request's duration
    ]
    layout = {
        "barmode": "stack",
        "height": max(260, 120 + 22 * len(shown)),
        "margin": {"l": 100, "r": 20, "t": 90, "b": 45},
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "xaxis": axis("ms"),
        "yaxis": {**axis(""), "autorange": "reversed", "type": "category"},
    }
    return figure(f"{short(model)}: the slowest requests of the last 15 minutes", traces, layout)


def run_times(model: str, times: Sequence[RunTimes]) -> go.Figure:
    """Plot t(b): the time of one run by the rows of its batch, a line a shape; the batch with the most rows a second is
    marked."""
    traces: list[Trace] = []
    words: list[dict[str, Any]] = []
    sizes = sorted({size for each in times for size in each.run_s})
    for number, each in enumerate(times):
        rows = sorted(each.run_s)
        ink = EITHER[_SIDE_BY_SIDE[number % len(_SIDE_BY_SIDE)]]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": rows,
                "y": [1e3 * each.run_s[size] for size in rows],
                "name": plain(" ".join(str(list(shape)) for shape in each.shape)) or "rows",
                "customdata": [_rows_per_s(size, each) for size in rows],
                "hovertemplate": "%{x} rows in %{y:.3g} ms, %{customdata} rows/s",
                "line": {"color": ink},
            }
        )
        if rows and len(times) <= _MARKED:
            best = max(rows, key=lambda size: size / each.run_s[size])
            words.append(
                {
                    "x": math.log10(best),
                    "y": 1e3 * each.run_s[best],
                    "text": f"{best} rows: {_rows_per_s(best, each)} rows/s",
                    "ax": -50,
                    "ay": -28,
                    "arrowcolor": ink,
                    "font": {"size": 11},
                }
            )
    layout = {
        "xaxis": axis("rows of a batch", log=True, ticks=[(size, str(size)) for size in sizes]),
        "yaxis": {**axis("ms"), "rangemode": "tozero"},
        "showlegend": len(times) > 1,
        "annotations": words,
        "hovermode": "x unified",
    }
    return figure(f"{short(model)}: the time of a run by its rows", traces, layout)


@dataclass(frozen=True, slots=True)
class RatioBar:
    """One figure of two that are compared: how many times as much the second is."""

    name: str
    ratio: float
    low: float | None
    """The interval of 95 %; None where there is none."""
    high: float | None
    hue: str
    """Of the palette: what it means."""
    said: str


def ratios(title: str, bars: Sequence[RatioBar], second: str, first: str) -> go.Figure:
    """Plot ratios with their intervals: where an interval crosses 1, no difference is shown."""
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [each.ratio],
            "y": [plain(each.name)],
            "marker": {"size": 10, "color": EITHER[each.hue]},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [0.0 if each.high is None else each.high - each.ratio],
                "arrayminus": [0.0 if each.low is None else each.ratio - each.low],
                "color": EITHER[each.hue],
                "thickness": 2,
            },
            "hovertemplate": f"{plain(each.name)}: {plain(each.said)}<extra></extra>",
            "showlegend": False,
        }
        for each in bars
    ]
    layout = {
        "height": 140 + 32 * len(bars),
        "margin": {"l": 110, "r": 20, "t": 60, "b": 50},
        "xaxis": axis(f"times as much in {short(second)} as in {short(first)}", log=True),
        "yaxis": {**axis(""), "autorange": "reversed", "type": "category"},
        "shapes": [moment(1.0)],
        "hovermode": "closest",
    }
    return figure(title, traces, layout)


def _bars(buckets: Mapping[str, int]) -> Counter[int]:
    """Count requests by bar; bar i begins at 10^(i / _BARS) seconds."""
    bars: Counter[int] = Counter()
    for bucket, count in buckets.items():
        middle_s = SERVICE.middles[max(int(bucket), 1)]
        bars[math.floor(math.log10(middle_s) * _BARS)] += count
    return bars


def _rows_per_s(rows: int, times: RunTimes) -> str:
    """To three digits: more were not measured."""
    return f"{float(f'{rows / times.run_s[rows]:.3g}'):,.0f}"
