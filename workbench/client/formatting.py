"""Formats numbers and tables as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from workbench.visible_text import visible


def milliseconds(seconds: float) -> str:
    """Format `0.0042` as `4.2 ms`; from 1 s on in seconds."""
    if seconds >= 1.0:
        return f"{seconds:.2f} s"
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 0.095 else f"{value:.2f} ms"


def counted(count: int, what: str, plural: str = "s") -> str:
    """Format a count with its noun: `1 row`, `2 rows`."""
    return f"{count} {what}{'' if count == 1 else plural}"


def megabytes(size: int) -> str:
    if size <= 0:
        return ""
    if size >= 10_000_000_000:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def text_lines(parts: Iterable[object]) -> str:
    """Join texts, each on a line of its own, whatever is in them."""
    return "\n".join(visible(str(part)) for part in parts)


def text_table(rows: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """Align cells below each other, a row a line; those of the columns that `right` marks to the right."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = right or [False] * len(widths)

    def padded(row: Sequence[str]) -> str:
        cells = zip(row, widths, right, strict=True)
        return "  ".join(cell.rjust(width) if numbers else cell.ljust(width) for cell, width, numbers in cells).rstrip()

    return "\n".join(map(padded, rows))


def escape(value: object) -> str:
    """Return text as HTML that shows it, each harmful character visibly."""
    return html.escape(visible(str(value)))
