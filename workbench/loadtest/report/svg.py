"""Draws charts as SVG: a few kilobytes each, without a script, the same in a notebook, a file and a mail.

Texts and axes have the colour of the page's text, so that one drawing fits light and dark themes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.client.formatting import escape
from workbench.core.round_numbers import nearest_round
from workbench.loadtest.report.charts import Axis, Breakdown, Chart, Series

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 46, 40
_LETTER = 6.0
"""The average width of a letter in the font below."""
_FONT = "font-family:system-ui,sans-serif;font-size:11px"


def svg(chart: Chart | Breakdown) -> str:
    """A chart as an `<svg>` element that shrinks with its page."""
    return _stack(chart) if isinstance(chart, Breakdown) else _axes(chart)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps values to positions along one side."""

    low: float
    high: float
    begin: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return self.begin + (self.end - self.begin) * (at - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        if self.log:
            return [(at, _number(at)) for at in _decades(self.low, self.high)]
        step = nearest_round((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(number * step, _number(number * step)) for number in range(first, last + 1)]


def _axes(chart: Chart) -> str:
    values = [value for each in chart.series for value in each.y if value is not None]
    xs = [value for each in chart.series for value in each.x]
    bars = any(each.kind == "bars" for each in chart.series)
    x = _scale(xs, chart.x.log, LEFT, WIDTH - RIGHT, room=0.5 if bars else 0.0, from_zero=False)
    y = _scale(values, chart.y.log, HEIGHT - BOTTOM, TOP, from_zero=True)
    parts = [_title(chart), *_frame(chart, x, y)]
    for begin, end, text in chart.shaded:
        left, right = x(max(begin, x.low)), x(min(end, x.high))
        box = f'<rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 0):.1f}" height="{HEIGHT - BOTTOM - TOP}"'
        parts.append(f'{box} fill="currentColor" opacity="0.08"/>{_text(left + 3, TOP + 10, text, "start")}')
    for series in chart.series:
        parts += _bars(series, x, y) if series.kind == "bars" else _line(series, x, y)
    if chart.series and chart.series[0].kind == "marks":
        parts += _labels(chart.series[0], x, y)
    parts += _marks([(x(at), text) for at, text in chart.marks if x.low <= at <= x.high])
    return _element(HEIGHT, parts, chart.title)


def _frame(chart: Chart, x: _Scale, y: _Scale) -> Iterator[str]:
    floor = HEIGHT - BOTTOM
    for at, text in y.ticks():
        place = y(at)
        yield (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}" stroke="currentColor" '
            'opacity="0.15"/>'
        )
        yield _text(LEFT - 6, place + 4, text, "end")
    free = 0.0
    for at, text in _shown_ticks(chart.x, x):
        half = 3.2 * len(text)
        if x(at) - half >= free:  # else it would overlap the one before
            yield _text(x(at), floor + 15, text, "middle")
            free = x(at) + half + 4
    yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="currentColor" opacity="0.5"/>'
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, chart.x.title, "middle")
    yield _text(14, TOP - 10, chart.y.title, "start")


def _shown_ticks(axis: Axis, scale: _Scale) -> list[tuple[float, str]]:
    ticks = list(axis.ticks) or scale.ticks()
    return [(at, text) for at, text in ticks if scale.low <= at <= scale.high * (1 + 1e-9)]


def _line(series: Series, x: _Scale, y: _Scale) -> Iterator[str]:
    for run in _unbroken(series) if series.kind != "marks" else ():
        if len(run) == 1:  # a line of one point cannot be seen
            yield f'<circle cx="{x(run[0][0]):.1f}" cy="{y(run[0][1]):.1f}" r="2.5" fill="{series.colour}"/>'
            continue
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in run)
        width = 1 if series.thin else 1.8
        dash = ' stroke-dasharray="2 3"' if series.kind == "front" else ""
        yield f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="{width}"{dash}/>'
    if series.kind in ("points", "marks"):
        labels = series.labels or ("",) * len(series.x)
        for at, value, label in zip(series.x, series.y, labels, strict=True):
            if value is not None:
                hint = f"<title>{escape(f'{series.name} {value:.4g} at {at:.4g} {label}')}</title>"
                yield f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="3.5" fill="{series.colour}">{hint}</circle>'


def _bars(series: Series, x: _Scale, y: _Scale) -> Iterator[str]:
    width = max(min((WIDTH - LEFT - RIGHT) / (x.high - x.low) * 0.8, 40), 1.5)
    for at, value in zip(series.x, series.y, strict=True):
        if value is not None:
            top, hint = y(value), f"<title>{_number(at)}: {value:.3g}</title>"
            box = f'x="{x(at) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{y.begin - top:.1f}"'
            yield f'<rect {box} fill="{series.colour}">{hint}</rect>'


def _stack(chart: Breakdown) -> str:
    total = sum(part for _, part, _ in chart.parts) or 1.0
    parts, left = [_title(chart)], float(LEFT)
    for what, part, colour in chart.parts:
        width = (WIDTH - LEFT - RIGHT) * part / total
        hint = f"<title>{escape(f'{what}: {part:.3g} ms')}</title>"
        parts.append(f'<rect x="{left:.1f}" y="34" width="{width:.1f}" height="26" fill="{colour}">{hint}</rect>')
        left += width
    at, row = LEFT, 0
    for what, part, colour in chart.parts:
        said = f"{what} {_number(part)} ms, {part / total:.0%}"
        needed = 22 + 6.2 * len(said)
        if at + needed > WIDTH and at > LEFT:
            at, row = LEFT, row + 1
        parts.append(f'<rect x="{at}" y="{72 + 18 * row}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(at + 14, 81 + 18 * row, said, "start"))
        at += round(needed)
    return _element(94 + 18 * row, parts, chart.title)


def _title(chart: Chart | Breakdown) -> str:
    words = f'<text x="{LEFT}" y="18" fill="currentColor" font-weight="600" font-size="13">{escape(chart.title)}</text>'
    if isinstance(chart, Breakdown):
        return words
    at, legend = float(WIDTH - RIGHT), []
    for series in reversed(chart.series):
        at -= 6.2 * len(series.name)
        legend.append(_text(at, 32, series.name, "start"))
        at -= 16
        legend.append(f'<rect x="{at:.1f}" y="27" width="12" height="3" fill="{series.colour}"/>')
        at -= 12
    return words + "".join(legend)


def _labels(series: Series, x: _Scale, y: _Scale) -> Iterator[str]:
    """The label of each mark, above it or else below, where there is room."""
    placed: list[tuple[float, float, float]] = []
    for at, value, label in zip(series.x, series.y, series.labels, strict=True):
        if value is None:
            continue
        half = _LETTER * len(label) / 2
        middle = min(max(x(at), LEFT + half), WIDTH - RIGHT - half)
        for height in (y(value) - 8, y(value) + 16):
            if all(abs(middle - m) > half + h or abs(height - other) > 11 for m, h, other in placed):
                placed.append((middle, half, height))
                yield _text(middle, height, label, "middle")
                break


def _marks(marks: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Moments as dashed lines, with texts in three rows; texts that would overlap are left out."""
    ends = [0.0] * 3
    for at, text in marks:
        line = (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="currentColor" '
            f'opacity="0.6" stroke-dasharray="3 3"><title>{escape(text)}</title></line>'
        )
        yield line
        width = _LETTER * len(text)
        side = "end" if at + width > WIDTH else "start"
        begin = at - 4 - width if side == "end" else at + 4
        row = next((number for number, end in enumerate(ends) if begin >= end), None)
        if row is not None:
            ends[row] = begin + width + 6
            yield _text(at + (-4 if side == "end" else 4), TOP + 10 + 12 * row, text, side)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    said = escape(text if len(text) <= 70 else f"{text[:69]}…")
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor" opacity="0.85" text-anchor="{anchor}">{said}</text>'


def _element(height: int, parts: Sequence[str], title: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" style="width:100%;max-width:{WIDTH}px;{_FONT}">'
    )
    return head + "".join(parts) + "</svg>"


def _unbroken(series: Series) -> Iterator[list[tuple[float, float]]]:
    """Runs of points without a gap."""
    run: list[tuple[float, float]] = []
    for at, value in zip(series.x, series.y, strict=True):
        if value is not None:
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _scale(
    values: Sequence[float], log: bool, begin: float, end: float, *, room: float = 0.0, from_zero: bool
) -> _Scale:
    positive = [value for value in values if value > 0]
    if log and positive:
        low, high = min(positive), max(positive)
        if from_zero:  # of latencies: to the next round number
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high) + 1e-9)
        return _Scale(low, high if high > low else low * 10, begin, end, True)
    low, high = min(values, default=0.0) - room, max(values, default=1.0) + room
    if from_zero:
        low, high = 0.0, max(high, 0.0) * 1.12  # with room for words above the lines
    return _Scale(low, high if high > low else low + 1.0, begin, end, False)


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    return [10.0**power for power in range(first, last + 1) if low * (1 - 1e-9) <= 10.0**power <= high * (1 + 1e-9)]


def _number(value: float) -> str:
    if value and abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
