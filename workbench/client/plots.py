"""Finished figures as static plotly figures, which a saved notebook keeps; what moves is drawn elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import milliseconds
from workbench.core.histogram import SERVICE

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_REQUESTS = 25
"""Drawn of the slowest: more could not be told apart."""

_BARS = 20
"""A decade of latency, as it is drawn."""

_MARGIN = {"l": 70, "r": 20, "t": 50, "b": 50}


def latencies(buckets: Mapping[str, Mapping[str, int]], window_s: float) -> go.Figure:
    """How many requests took how long, a curve a version that had any; the axis of time is logarithmic.

    `buckets`: of each version by its name, those of its histogram that hold something.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, counts in buckets.items():
        if not (bars := _bars(counts)):
            continue
        first, last = min(bars), max(bars)
        steps = range(first - 1, last + 2)
        # A bar stands from its lower edge up to the next one's.
        seconds = [10 ** (step / _BARS) for step in steps]
        figure.add_scatter(
            x=[1e3 * second for second in seconds],
            y=[bars.get(step, 0) for step in steps],
            name=name,
            line={"shape": "hv"},
            fill="tozeroy",
            hovertemplate="%{y} requests from %{x:.3g} ms on",
        )
    title = f"Requests of the last {window_s:.0f} s by how long they took"
    figure.update_layout(title=title, height=340, margin=_MARGIN, showlegend=True)
    figure.update_xaxes(title="milliseconds", type="log")
    figure.update_yaxes(title="requests", rangemode="tozero")
    return figure


def waterfall(model: str, requests: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> go.Figure:
    """Where the time of each of the slowest requests went: a bar each, the slowest on top. `colours`: of the stages."""
    import plotly.graph_objects as go

    shown = requests[:MOST_REQUESTS]
    labels = [f"{i}: {milliseconds(request['duration_s'])}" for i, request in enumerate(shown, 1)]
    mates = [f"{request['rows'] or '?'} rows among {request['batch_size'] or '?'} of its batch" for request in shown]
    figure = go.Figure()
    for stage, colour in colours.items():
        if stage == "receive":  # which is not part of what it took
            continue
        milli = [1e3 * (request["stages_s"].get(stage) or 0.0) for request in shown]
        figure.add_bar(
            x=milli,
            y=labels,
            name=stage,
            orientation="h",
            marker={"color": colour},
            customdata=mates,
            hovertemplate=f"{stage} %{{x:.3g}} ms<br>%{{customdata}}<extra></extra>",
        )
    title = f"{model}: the slowest requests of the last 15 minutes"
    figure.update_layout(
        title=title, barmode="stack", height=max(260, 120 + 22 * len(shown)), margin={**_MARGIN, "l": 100}
    )
    figure.update_xaxes(title="milliseconds")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def _bars(buckets: Mapping[str, int]) -> Counter[int]:
    """Requests by the bar they are drawn in: bar i begins at 10^(i / _BARS) seconds."""
    bars: Counter[int] = Counter()
    for bucket, count in buckets.items():
        middle_s = SERVICE.middles[max(int(bucket), 1)]
        bars[math.floor(math.log10(middle_s) * _BARS)] += count
    return bars
