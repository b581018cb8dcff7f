"""Formats arrays as aligned tables, for a terminal and a notebook: the first rows, and how many more there are.

Outputs with the same rows are shown side by side, so a line shows all outputs of one sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.client.formatting import escape
from workbench.core.tensor import Array
from workbench.visible_text import visible

MOST_ROWS = 6
MOST_COLUMNS = 10
"""Most columns of an output. Of more, all but two of these are shown, then an ellipsis and the last."""
MOST_CHARACTERS = 40
"""Most characters of one text."""


@dataclass(frozen=True, slots=True)
class Group:
    """Columns under one name: an output, or the labels of the rows."""

    name: str
    heads: tuple[str, ...]
    """The index of each column; one empty text if there is only one column."""
    rows: tuple[tuple[str, ...], ...]
    right: bool = True
    """Whether its cells are right-aligned, as numbers are."""

    def text(self) -> list[str]:
        """Return the name, the heads and the rows as lines of one width."""
        cells = [self.heads, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.heads))]
        lines = ["  ".join(map(self._padded, row, widths)) for row in cells]
        width = max(len(self.name), len(lines[0]))
        name = self._padded(self.name, width) if len(widths) == 1 else self.name.ljust(width)
        return [name, *(self._padded(line, width) for line in lines)]

    def html(self) -> list[str]:
        """Return the same as escaped table cells."""
        name = self._cell("th", self.name, span=len(self.heads))
        heads = [self._cell("th", head, first=i == 0) for i, head in enumerate(self.heads)]
        rows = [[self._cell("td", cell, first=i == 0) for i, cell in enumerate(row)] for row in self.rows]
        return [name, *("".join(row) for row in (heads, *rows))]

    def _padded(self, cell: str, width: int) -> str:
        return cell.rjust(width) if self.right else cell.ljust(width)

    def _cell(self, tag: str, text: str, first: bool = True, span: int = 1) -> str:
        align = "right" if self.right and span == 1 else "left"
        style = f"text-align:{align};font-variant-numeric:tabular-nums;white-space:pre"
        if first:
            style += ";padding-left:1.5em"
        wide = f' colspan="{span}"' if span > 1 else ""
        return f'<{tag}{wide} style="{style}">{escape(text)}</{tag}>'


@dataclass(frozen=True, slots=True)
class ArrayTable:
    """Groups of columns that share their rows."""

    groups: tuple[Group, ...]
    more: int
    """Rows that are not shown."""

    def text(self) -> list[str]:
        lines = ["   ".join(parts).rstrip() for parts in zip(*(group.text() for group in self.groups), strict=True)]
        if not lines[1].strip():
            del lines[1]
        return [*lines, f"⋮ {self._said_more()}"] if self.more else lines

    def html(self) -> str:
        """Return a table and a note below it."""
        names, heads, *rows = ("".join(parts) for parts in zip(*(group.html() for group in self.groups), strict=True))
        headed = any(head for group in self.groups for head in group.heads)
        top = f"<tr>{names}</tr>" + (f"<tr>{heads}</tr>" if headed else "")
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f"<table><thead>{top}</thead><tbody>{body}</tbody></table>"
        table = f'<div style="overflow-x:auto;max-width:100%">{table}</div>'
        return table + (f"<div><small>⋮ {self._said_more()}</small></div>" if self.more else "")

    def _said_more(self) -> str:
        return f"{self.more} more row{'' if self.more == 1 else 's'}"


def grids(
    outputs: Mapping[str, Array],
    index: Sequence[Any] | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[ArrayTable]:
    """Yield one table if all outputs have the same rows, else one table each. `index` names the rows, `names` the
    columns of some outputs."""
    names = names or {}
    lengths = {array.shape[0] if array.ndim else None for array in outputs.values()}
    if len(lengths) == 1:
        yield _grid(outputs, index, names)
    else:
        for name, array in outputs.items():
            yield _grid({name: array}, None, names)


def _grid(outputs: Mapping[str, Array], index: Sequence[Any] | None, names: Mapping[str, Sequence[str]]) -> ArrayTable:
    groups = tuple(_group(name, array, names.get(name, ())) for name, array in outputs.items())
    first = next(iter(outputs.values()))
    if not first.ndim:
        return ArrayTable(groups, 0)
    shown = min(len(first), MOST_ROWS)
    labels = tuple((_clipped(str(i if index is None else index[i])),) for i in range(shown))
    return ArrayTable((Group("", ("",), labels), *groups), len(first) - shown)


def _group(name: str, array: Array, names: Sequence[str]) -> Group:
    head = array[:MOST_ROWS] if array.ndim else array.reshape(1, 1)
    values = head.reshape(len(head), math.prod(head.shape[1:]))
    count = values.shape[1]
    chosen = list(range(count)) if count <= MOST_COLUMNS else [*range(MOST_COLUMNS - 2), -1]
    show = _formatter(values[:, chosen])
    rows = [[show(item) for item in row] for row in values[:, chosen]]
    if count > MOST_COLUMNS:
        chosen.insert(-1, -2)
        for row in rows:
            row.insert(-1, "…")
    numbered = array.ndim == 2 and count > 1
    known = list(map(_clipped, names)) if len(names) == count else list(map(str, range(count)))
    heads = [("…" if i == -2 else known[i]) if numbered else "" for i in chosen]
    if not count:
        heads, rows = [""], [["-"] for _ in rows]  # a row without values is still a row
    return Group(_clipped(name), tuple(heads), tuple(map(tuple, rows)), array.dtype != object)


def _formatter(values: Array) -> Callable[[Any], str]:
    """Return a function that formats one value of `values`; all numbers get the same places, so that they align."""
    if values.dtype == object:
        return lambda item: _clipped(item if isinstance(item, str) else repr(item))
    if values.dtype.kind in "iub":
        return str
    magnitudes = np.abs(values.astype(np.float64))
    largest = float(magnitudes.max(initial=0.0, where=np.isfinite(magnitudes)))
    if largest >= 1e6 or 0.0 < largest < 1e-3:
        return lambda item: f"{float(item):.3e}"
    places = 3 if largest <= 1.001 else max(3 - math.floor(math.log10(largest)), 1)  # 1.001: a share, rounded
    return lambda item: f"{float(item):.{places}f}"


def _clipped(text: str) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
