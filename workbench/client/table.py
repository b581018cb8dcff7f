"""`Table`: columns and rows, written as aligned text and as HTML. Each row is one line, whatever is in it.

All style is inline, since not every notebook lets a style sheet through, and each cell says what pages set otherwise:
JupyterLab lets cells wrap and aligns all of them to the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workbench.client.formatting import escape, text_table

NAME_EM = 15.0
"""The width of a column of names, from which on they end in an ellipsis."""

_CELL = "padding:.3em .4em;white-space:nowrap"
_CLIPPED = "overflow:hidden;text-overflow:ellipsis"


@dataclass(frozen=True, slots=True)
class Column:
    """What heads a column, and how its cells are set."""

    title: str
    number: bool = False
    """Numbers, with their unit: aligned to the right, and never cut, but for what heads them."""
    width_em: float = NAME_EM
    """The most that a text takes; of a longer one the rest is in the cell's title."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with more to it than a text shows."""

    text: str
    before: str = ""
    """HTML that stands before the text, as a dot in a state's colour."""
    more: str = ""
    """A reason that a click unfolds."""
    drawn: str = ""
    """HTML in place of the text."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts and cells below their columns. A title in place of a Column heads texts."""

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell | str]] = field(default_factory=list)

    @property
    def heads(self) -> list[Column]:
        return [each if isinstance(each, Column) else Column(each) for each in self.columns]

    def __bool__(self) -> bool:
        return bool(self.rows)

    def without(self, places: Iterable[int]) -> Table:
        """The same without these columns."""
        left = [place for place in range(len(self.columns)) if place not in set(places)]
        return Table([self.columns[place] for place in left], [[row[place] for place in left] for row in self.rows])

    def constant(self) -> list[int]:
        """The places of columns that say the same in every row."""
        return [place for place in range(len(self.columns)) if len({_text(row[place]) for row in self.rows}) <= 1]

    def text(self) -> str:
        """Lines of one row each, numbers aligned to the right. What a click unfolds is left out."""
        heads = self.heads
        rows = [[each.title for each in heads], *([_text(cell) for cell in row] for row in self.rows)]
        return text_table(rows, right=[each.number for each in heads])

    def html(self) -> str:
        """A table that scrolls sideways where it is too wide, already escaped."""
        heads = self.heads
        titles = "".join(_cell("th", each, each.title) for each in heads)
        top = f"<thead><tr>{titles}</tr></thead>" if any(each.title for each in heads) else ""
        body = "".join(
            "<tr>" + "".join(_cell("td", head, cell) for head, cell in zip(heads, row, strict=True)) + "</tr>"
            for row in self.rows
        )
        table = f'<table style="margin:.2em 0;font-variant-numeric:tabular-nums">{top}<tbody>{body}</tbody></table>'
        return f'<div style="overflow-x:auto;max-width:100%">{table}</div>'


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Names and what is said of each, as an HTML table. What is said wraps between words; no name does."""
    if not facts:
        return ""
    name, said = ("padding:.2em .6em;text-align:left;vertical-align:top" + more for more in (";white-space:nowrap", ""))
    rows = "".join(
        f'<tr><td style="{name}"><b>{escape(each)}</b></td>'
        f'<td style="{said};white-space:normal;overflow-wrap:break-word;max-width:60em">{escape(value)}</td></tr>'
        for each, value in facts
    )
    return (
        f'<div style="overflow-x:auto;max-width:100%"><table style="margin:.2em 0"><tbody>{rows}</tbody></table></div>'
    )


def heading_html(text: str) -> str:
    """A line in bold."""
    return f"<div><b>{escape(text)}</b></div>"


def output_html(inner: str) -> str:
    """An output as a whole. Only a word that is wider than the page is broken."""
    return f'<div style="overflow-wrap:break-word">{inner}</div>'


def _text(cell: Cell | str) -> str:
    return cell if isinstance(cell, str) else cell.text


def _cell(tag: str, column: Column, cell: Cell | str) -> str:
    text = _text(cell)
    style = f"text-align:{'right' if column.number else 'left'};{_CELL}"
    drawn, more, before = (cell.drawn, cell.more, cell.before) if isinstance(cell, Cell) else ("", "", "")
    shown = drawn or before + escape(text)
    if more:
        shown = (
            f'<details style="margin:0"><summary style="display:list-item;margin:0">{shown}</summary>'
            f'<div style="white-space:normal;max-width:26em;min-width:14em">{escape(more)}</div></details>'
        )
    title = ""
    if tag == "th" or not (column.number or drawn or more):
        style += f";max-width:{column.width_em:g}em;{_CLIPPED}"
        title = f' title="{escape(text)}"' if len(text) > column.width_em else ""
    return f'<{tag}{title} style="{style}">{shown}</{tag}>'
