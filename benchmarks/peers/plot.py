"""A dot plot as SVG, small enough to read: a panel a load, a row a server, a dot at the median, a line over the range.

Its colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 760, 190, 90
ROW, HEAD, GAP, FOOT = 26, 34, 18, 44

STYLE = """
  .bench { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  .bench .ground { fill: #ffffff; }
  .bench text { fill: #3d444d; }
  .bench .title { font-weight: 600; fill: #1f2328; }
  .bench .tick { font-size: 11px; fill: #59636e; }
  .bench .grid { stroke: #d1d9e0; stroke-width: 1; }
  .bench .range { stroke: #818b98; stroke-width: 2; stroke-linecap: round; }
  .bench .dot { fill: #818b98; }
  .bench .ours { fill: #0969da; }
  .bench .range.ours { stroke: #0969da; }
  .bench text.ours { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .bench .ground { fill: #0d1117; }
    .bench text { fill: #c9d1d9; }
    .bench .title { fill: #f0f6fc; }
    .bench .tick { fill: #9198a1; }
    .bench .grid { stroke: #30363d; }
    .bench .range { stroke: #8b949e; }
    .bench .dot { fill: #8b949e; }
    .bench .ours { fill: #4493f8; }
    .bench .range.ours { stroke: #4493f8; }
  }
"""


@dataclass(frozen=True, slots=True)
class Dot:
    label: str
    value: float
    low: float
    high: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    dots: Sequence[Dot]


def draw(panels: Sequence[Panel], axis: str) -> str:
    """All panels share one logarithmic axis. The title of each is its text alternative too."""
    shown = [panel for panel in panels if panel.dots]
    values = [value for panel in shown for dot in panel.dots for value in (dot.low, dot.high)] or [1.0, 10.0]
    low, high = min(values) / 1.25, max(values) * 1.25
    height = sum(HEAD + ROW * len(panel.dots) + GAP for panel in shown) + FOOT

    def x(value: float) -> float:
        share = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" class="bench" role="img">',
        f"<title>{escape('; '.join(panel.title for panel in shown))}: {escape(axis)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>',
    ]
    top = 0.0
    for panel in shown:
        lines.append(f'<text class="title" x="{LEFT}" y="{top + HEAD - 12}">{escape(panel.title)}</text>')
        bottom = top + HEAD + ROW * len(panel.dots)
        for tick in _ticks(low, high):
            lines.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{top + HEAD}" y2="{bottom}"/>')
        for row, dot in enumerate(panel.dots):
            lines += _row(dot, top + HEAD + ROW * (row + 0.5), x)
        top = bottom + GAP
    for tick in _ticks(low, high):
        lines.append(f'<text class="tick" x="{x(tick)}" y="{top}" text-anchor="middle">{tick:,.0f}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text class="tick" x="{middle}" y="{top + 20}" text-anchor="middle">{escape(axis)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _row(dot: Dot, y: float, x: object) -> Iterator[str]:
    assert callable(x)
    kind = " ours" if dot.ours else ""
    yield f'<text class="name{kind}" x="{LEFT - 14}" y="{y + 4}" text-anchor="end">{escape(dot.label)}</text>'
    yield f'<line class="range{kind}" x1="{x(dot.low)}" x2="{x(dot.high)}" y1="{y}" y2="{y}"/>'
    yield f'<circle class="dot{kind}" cx="{x(dot.value)}" cy="{y}" r="5"/>'
    yield f'<text class="tick{kind}" x="{x(dot.high) + 10}" y="{y + 4}">{dot.value:,.0f}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade within the axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
