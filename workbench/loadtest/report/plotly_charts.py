"""Charts as Plotly figures, for users who want to look closer or go on with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.client import plotly_figures
from workbench.client.plotly_figures import GRID, Trace, axis, moment, plain, words
from workbench.loadtest.report.charts import Axis, Breakdown, Chart, Series

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_WORDS = 70
"""The most characters of what stands beside a moment."""


def figure(chart: Chart | Breakdown) -> go.Figure:
    """One chart. Raises Unsupported where Plotly is not installed."""
    if isinstance(chart, Breakdown):
        traces, layout = _stack(chart)
        below = {"orientation": "h", "y": -0.35, "yanchor": "top", "x": 0, "traceorder": "normal"}
        layout |= {"margin": {"l": 60, "r": 20, "t": 60, "b": 80}, "height": 220, "legend": below}
        return plotly_figures.figure(chart.title, traces, {**layout, "hovermode": "closest"})
    traces, layout = _axes(chart)
    if chart.note:
        layout |= {"margin": {"l": 60, "r": 20, "t": 60, "b": 65}, "height": 320}
    marks = chart.series and chart.series[0].kind == "marks"
    return plotly_figures.figure(chart.title, traces, {**layout, "hovermode": "closest" if marks else "x unified"})


def _axes(chart: Chart) -> tuple[list[Trace], dict[str, Any]]:
    x, y = _axis(chart.x), _axis(chart.y)
    if not chart.y.log:
        y["rangemode"] = "tozero"
    shapes: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for begin, end, text in chart.shaded:
        box = {"type": "rect", "x0": begin, "x1": end, "yref": "paper", "y0": 0, "y1": 1}
        shapes.append({**box, "fillcolor": GRID, "line": {"width": 0}, "layer": "below"})
        said.append(words((begin + end) / 2, text))
    for at, text in chart.marks:
        shapes.append(moment(at, log=chart.x.log))
        shown = text if len(text) <= _MOST_WORDS else f"{text[: _MOST_WORDS - 1]}…"
        said.append(words(at, shown, log=chart.x.log))
    if chart.note:
        below = {"x": 0, "xanchor": "left", "xref": "paper", "y": 0, "yshift": -64, "yanchor": "bottom"}
        said.append({**words(0, chart.note), **below})
    layout = {"xaxis": x, "yaxis": y, "shapes": shapes, "annotations": said}
    return [_trace(each, chart) for each in chart.series], layout


def _trace(series: Series, chart: Chart) -> Trace:
    hover = f"%{{y:.4g}} {chart.y.title}" + (", %{text}" if series.labels else "")
    shared: Trace = {
        "name": series.name,
        "x": list(series.x),
        "y": list(series.y),
        "text": [plain(each) for each in series.labels] or None,
        "textposition": "none",
        "hovertemplate": hover,
    }
    if series.kind == "bars":
        width = {"width": 0.4} if len(series.x) == 1 else {}
        return {**shared, **width, "type": "bar", "marker": {"color": series.colour}}
    dash = {"dash": "dot"} if series.kind == "front" else {}
    # A line of one point between two gaps cannot be seen.
    mode = "lines+markers" if series.kind == "points" or None in series.y else "lines"
    if series.kind == "marks":
        written = series is chart.series[0]
        mode = "markers+text" if written else "markers"
        shared |= {"textposition": "top center", "cliponaxis": False, "textfont": {"size": 10}}
    else:
        del shared["textposition"]
    return {
        **shared,
        "type": "scatter",
        "mode": mode,
        "line": {"color": series.colour, "width": 1 if series.thin else 2, **dash},
        "connectgaps": False,
    }


def _stack(chart: Breakdown) -> tuple[list[Trace], dict[str, Any]]:
    total = sum(part for _, part, _ in chart.parts) or 1.0
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": what,
            "x": [part],
            "y": [""],
            "marker": {"color": colour},
            "hovertemplate": f"{what}: {part:.3g} ms, {part / total:.0%}<extra></extra>",
        }
        for what, part, colour in chart.parts
    ]
    return traces, {
        "barmode": "stack",
        "xaxis": {**axis(""), "ticksuffix": " ms"},
        "yaxis": {"visible": False},
        "showlegend": True,
    }


def _axis(found: Axis) -> dict[str, Any]:
    return axis(found.title, log=found.log, ticks=found.ticks)
