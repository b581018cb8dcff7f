"""Charts as Plotly figures: static ones, without Plotly's widget and its template, so that a notebook stays small.

Plotly is imported when a figure is asked for. Backgrounds are left to the page, for light and dark themes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.loadtest.report.charts import Breakdown, Chart, Series

if TYPE_CHECKING:
    import plotly.graph_objects as go

_INK = "#808691"
_GRID = "rgba(128,134,145,0.25)"


def figure(chart: Chart | Breakdown) -> go.Figure:
    """One chart."""
    import plotly.graph_objects as go

    traces, layout = _stack(chart) if isinstance(chart, Breakdown) else _axes(chart)
    stacked = isinstance(chart, Breakdown)
    below = {"orientation": "h", "y": -0.35, "yanchor": "top", "x": 0, "traceorder": "normal"}
    above = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    base = {
        "title": {"text": chart.title, "font": {"size": 15}, "x": 0.01, "xanchor": "left"},
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": _INK, "size": 12},
        "margin": {"l": 60, "r": 20, "t": 60, "b": 80 if stacked else 65 if chart.note else 45},
        "height": 220 if stacked else 320 if chart.note else 300,
        "legend": below if stacked else above,
        "hovermode": "closest" if stacked else "x unified",
    }
    return go.Figure(data=traces, layout={**base, **layout})


def _axes(chart: Chart) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    x, y = _axis(chart.x), _axis(chart.y)
    if not chart.y.log:
        y["rangemode"] = "tozero"
    shapes: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    for begin, end, text in chart.shaded:
        box = {"type": "rect", "x0": begin, "x1": end, "yref": "paper", "y0": 0, "y1": 1}
        shapes.append({**box, "fillcolor": _GRID, "line": {"width": 0}, "layer": "below"})
        words.append(_words((begin + end) / 2, text))
    for at, text in chart.marks:
        place = math.log10(at) if chart.x.log else at
        line = {"type": "line", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1}
        shapes.append({**line, "line": {"dash": "dot", "width": 1, "color": _INK}})
        words.append(_words(place, text))
    if chart.note:
        below = {"x": 0, "xanchor": "left", "xref": "paper", "y": 0, "yshift": -64, "yanchor": "bottom"}
        words.append({**_words(0, chart.note), **below})
    layout = {"xaxis": x, "yaxis": y, "shapes": shapes, "annotations": words}
    return [_trace(each, chart) for each in chart.series], layout


def _trace(series: Series, chart: Chart) -> dict[str, Any]:
    hover = f"%{{y:.4g}} {chart.y.title}" + (", %{text}" if series.labels else "")
    shared: dict[str, Any] = {
        "name": series.name,
        "x": list(series.x),
        "y": list(series.y),
        "text": list(series.labels) or None,
        "textposition": "none",
        "hovertemplate": hover,
    }
    if series.kind == "bars":
        width = {"width": 0.4} if len(series.x) == 1 else {}
        return {**shared, **width, "type": "bar", "marker": {"color": series.colour}}
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
        "line": {"color": series.colour, "width": 1 if series.thin else 2},
        "connectgaps": False,
    }


def _stack(chart: Breakdown) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    total = sum(part for _, part, _ in chart.parts) or 1.0
    traces = [
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
        "xaxis": {**_axis_of(""), "ticksuffix": " ms"},
        "yaxis": {"visible": False},
        "showlegend": True,
    }


def _axis(axis: Any) -> dict[str, Any]:
    found = _axis_of(axis.title)
    if axis.log:
        found["type"] = "log"
    if axis.ticks:
        found |= {"tickvals": [at for at, _ in axis.ticks], "ticktext": [text for _, text in axis.ticks]}
    return found


def _axis_of(title: str) -> dict[str, Any]:
    return {"title": {"text": title, "standoff": 6}, "gridcolor": _GRID, "zeroline": False, "linecolor": _INK}


def _words(x: float, text: str) -> dict[str, Any]:
    return {"x": x, "y": 1, "yref": "paper", "yanchor": "top", "text": text, "showarrow": False, "font": {"size": 10}}
