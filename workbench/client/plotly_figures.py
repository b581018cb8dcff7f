"""Makes Plotly figures that a notebook can keep: data and a layout, without Plotly's template and its library.

A figure is some kilobytes. Its background is the page's own and its words are grey, so that it can be read in light and
dark themes. Plotly is imported when a figure is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.palette import WORDS
from workbench.errors import Unsupported

if TYPE_CHECKING:
    import plotly.graph_objects as go

MISSING = 'figures are drawn by Plotly, which is not installed here: pip install "plotly>=6", and restart the kernel'

GRID = "rgba(128,134,145,0.25)"

Trace = dict[str, Any]

MOST_OF_NAME = 24
"""The most characters of a name in a title or a legend, so that what else it says has room."""


def figure(title: str, traces: Sequence[Trace], layout: Mapping[str, Any]) -> go.Figure:
    """A figure in our style; `layout` goes over it. Raises Unsupported where Plotly is not installed."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise Unsupported(MISSING) from None
    base: dict[str, Any] = {
        "title": {"text": title, "font": {"size": 15}, "x": 0.01, "xanchor": "left"},
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": WORDS, "size": 12},
        "margin": {"l": 60, "r": 20, "t": 60, "b": 45},
        "height": 300,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    }
    return go.Figure(data=list(traces), layout={**base, **layout})


def axis(title: str, *, log: bool = False, ticks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
    """An axis with a faint grid; `ticks` are (value, text), else Plotly chooses."""
    found: dict[str, Any] = {
        "title": {"text": title, "standoff": 6},
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": WORDS,
    }
    if log:
        found["type"] = "log"
    if ticks:
        found |= {"tickvals": [at for at, _ in ticks], "ticktext": [text for _, text in ticks]}
    return found


def moment(at: float, *, log: bool = False) -> dict[str, Any]:
    """A dotted line across the figure at one x."""
    place = math.log10(at) if log else at
    line = {"dash": "dot", "width": 1, "color": WORDS}
    return {"type": "line", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def words(x: float, text: str, *, log: bool = False) -> dict[str, Any]:
    """Words at the upper end of one x."""
    place = math.log10(x) if log else x
    return {
        "x": place,
        "y": 1,
        "yref": "paper",
        "yanchor": "top",
        "text": plain(text),
        "showarrow": False,
        "font": {"size": 10},
    }


def plain(text: str) -> str:
    """Text that Plotly shows as it is: it would take tags of its own out of names."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def short(name: str) -> str:
    """A name for a title or a legend, its end left out where it is too long."""
    return plain(name if len(name) <= MOST_OF_NAME else f"{name[: MOST_OF_NAME - 1]}…")
