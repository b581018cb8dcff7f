"""Draws the last minutes of one model as an SVG, which a saved notebook shows where nothing can be live.

It must be readable on white and on black, on GitHub and in nbconvert, without scripts, fonts or style sheets. So its
colours are of medium brightness, its background is transparent, and each line has a label.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.client.formatting import counted, escape
from workbench.client.palette import WORDS, colour
from workbench.core.round_numbers import next_round

Column = Sequence[float | None]
"""One value per point, None where there is none."""

History = Mapping[str, Column]
"""`time` (Unix s, ascending) and the columns of docs/jupyter.md, all of one length; a column may be missing."""

WIDTH = 640
HEIGHT = 190
MOST_OF_TITLE = 44
"""The most characters of a model's name that stand beside the time; the picture's description has the whole."""

HEIGHT_OF_WORDS = 44
"""Height of a picture with nothing but a note."""

_FONT = "font-family='system-ui, sans-serif'"
_TOP, _BOTTOM = 64.0, 168.0
_GUTTER = 20.0
_GAP = 2.5
"""Points further apart than this many times the usual distance are not joined."""


@dataclass(frozen=True, slots=True)
class _Line:
    column: str
    label: str
    colour: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    seconds: bool
    """Whether its values are durations; plain numbers otherwise."""
    lines: tuple[_Line, ...]


_PLOTS = (
    _Plot("Requests per second", False, (_Line("requests_per_s", "answered", colour("throughput"), "/s"),)),
    _Plot(
        "Latency",
        True,
        tuple(_Line(f"{q}_s", q, colour(q)) for q in ("p50", "p95", "p99")),
    ),
    _Plot(
        "Waiting, and errors per second",
        False,
        (_Line("queued", "waiting", colour("queued")), _Line("errors_per_s", "errors", colour("errors"), "/s")),
    ),
)


def picture(model: str | None, history: History, window_s: float, words: str = "") -> str:
    """Return the SVG. `words` is a note: why there is nothing to draw, or what must be known."""
    times = [moment for moment in history.get("time", ()) if moment is not None]
    until = times[-1] if times else 0.0
    title = "Live figures" if model is None else model
    about = f"{span(window_s)} until {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(until))}" if times else ""
    label = escape(described(model, history, window_s, words))
    height = HEIGHT if len(times) > 1 else HEIGHT_OF_WORDS
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' "
        f"role='img' aria-label='{label}' {_FONT} font-size='11' fill='{WORDS}'>",
        f"<title>{label}</title>",
        _text(0, 16, _clipped(title), "font-size='14' font-weight='600'"),
        _text(WIDTH, 16, about, "text-anchor='end'"),
    ]
    if words:
        parts.append(_text(0, 34, words[:120]))
    if len(times) > 1:
        width = (WIDTH - _GUTTER * (len(_PLOTS) - 1)) / len(_PLOTS)
        for number, plot in enumerate(_PLOTS):
            parts += _drawn(plot, number * (width + _GUTTER), width, times, history, window_s)
    elif not words:
        parts.append(_text(0, 34, "No requests yet."))
    return "".join([*parts, "</svg>"])


def described(model: str | None, history: History, window_s: float, words: str = "") -> str:
    """Return the latest values in one line of text."""
    found = [f"{line.label} {_said(plot, value)}{line.unit}" for plot, line, value in _latest(history)]
    name = "live figures" if model is None else model
    said = "; ".join(each for each in (words, ", ".join(found)) if each)
    return f"{name}, {span(window_s)}: {said or 'no figures yet'}"


def span(seconds: float) -> str:
    """Return a window in words."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"the last {seconds / 60:g} minutes"
    return f"the last {counted(round(seconds), 'second')}"


def shown_s(seconds: float) -> str:
    """Format a duration with three digits and its unit."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def shown(value: float) -> str:
    """Format a number with three digits; thousands as k."""
    return f"{value / 1e3:.3g} k" if value >= 9999.5 else f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def _latest(history: History) -> list[tuple[_Plot, _Line, float]]:
    found = []
    for plot in _PLOTS:
        for line in plot.lines:
            values = [value for value in history.get(line.column, ()) if value is not None]
            if values:
                found.append((plot, line, values[-1]))
    return found


def _said(plot: _Plot, value: float) -> str:
    return shown_s(value) if plot.seconds else shown(value)


def _drawn(
    plot: _Plot, left: float, width: float, times: Sequence[float], history: History, window_s: float
) -> list[str]:
    there = [line for line in plot.lines if any(value is not None for value in history.get(line.column, ()))]
    highest = max(
        (value for line in there for value in history[line.column] if value is not None and math.isfinite(value)),
        default=0.0,
    )
    top = next_round(highest) if highest > 0 else (1e-3 if plot.seconds else 1.0)
    start = times[-1] - window_s
    parts = [_text(left, 50, plot.title, "font-weight='600'")]
    for y, value in ((_TOP, top), ((_TOP + _BOTTOM) / 2, top / 2), (_BOTTOM, 0.0)):
        parts.append(f"<path d='M{left:.1f} {y:.1f}h{width:.1f}' stroke='{WORDS}' stroke-opacity='.3'/>")
        if value:
            parts.append(_text(left, y - 3, _said(plot, value), "font-size='9'"))
    at = left
    for line in there:
        points = [
            (left + max(0.0, (moment - start) / window_s) * width, _BOTTOM - min(value / top, 1.0) * (_BOTTOM - _TOP))
            for moment, value in zip(times, history[line.column], strict=False)
            if value is not None and moment >= start
        ]
        parts.append(_path(points, width / max(len(times), 1), line.colour))
        last = next(value for value in reversed(history[line.column]) if value is not None)
        legend = f"{line.label} {_said(plot, last)}{line.unit}"
        parts.append(_text(at, 184, legend, f"fill='{line.colour}' font-size='10'"))
        at += 5.6 * len(legend) + 8
    return parts


def _path(points: Sequence[tuple[float, float]], usual: float, colour: str) -> str:
    """Draw a line through the points, broken where some are missing."""
    steps: list[str] = []
    before = -math.inf
    for x, y in points:
        steps.append(f"{'L' if x - before <= max(usual * _GAP, 6.0) else 'M'}{x:.1f} {y:.1f}")
        before = x
    return f"<path d='{''.join(steps)}' fill='none' stroke='{colour}' stroke-width='1.5' stroke-linejoin='round'/>"


def _clipped(title: str) -> str:
    return title if len(title) <= MOST_OF_TITLE else f"{title[: MOST_OF_TITLE - 1]}…"


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' {attributes}>{escape(text)}</text>" if text else ""
