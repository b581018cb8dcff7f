"""Static plotly figures, which a saved notebook keeps; live plots are in notebook.live."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import milliseconds
from workbench.core.histogram import SERVICE

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_REQUESTS = 25
"""Most requests that are drawn: more could not be told apart."""

_BARS = 20
"""Bars per decade of latency."""

_MARGIN = {"l": 70, "r": 20, "t": 50, "b": 50}


def latencies(buckets: Mapping[str, Mapping[str, int]], window_s: float) -> go.Figure:
    """Plot a latency histogram, one curve per version with requests, on a logarithmic time axis.

    `buckets` maps a version's name to the filled buckets of its histogram.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, counts in buckets.items():
        if not (bars := _bars(counts)):
            continue
        first, last = min(bars), max(bars)
        steps = range(first - 1, last + 2)
        # A bar reaches from its lower edge to the next one's.
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


def waterfall(
    model: str,
    requests: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    shares: Callable[[Mapping[str, Any]], str],
) -> go.Figure:
    """Plot the stages of the slowest requests: one bar each, the slowest on top. `colours` maps stages to colours,
    `shares` tells what the stages of a pipeline of models took."""
    import plotly.graph_objects as go

    shown = requests[:MOST_REQUESTS]
    labels = [f"{i}: {milliseconds(request['duration_s'])}" for i, request in enumerate(shown, 1)]
    mates = [
        f"{request['rows'] or '?'} rows among {request['batch_size'] or '?'} of its batch"
        + (f"<br>{told}" if (told := shares(request)) else "")
        for request in shown
    ]
    figure = go.Figure()
    for stage, colour in colours.items():
        if stage == "receive":  # not part of the request's duration
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
    """Count requests by bar; bar i begins at 10^(i / _BARS) seconds."""
    bars: Counter[int] = Counter()
    for bucket, count in buckets.items():
        middle_s = SERVICE.middles[max(int(bucket), 1)]
        bars[math.floor(math.log10(middle_s) * _BARS)] += count
    return bars
