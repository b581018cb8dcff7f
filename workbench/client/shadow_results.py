"""What a shadow has shown so far: how far its answers differ, output by output, and the rows that differ most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from workbench.client.formatting import counted, escape, text_lines
from workbench.client.results import Rows
from workbench.client.table import Column, Table, heading_html, output_html
from workbench.core.shadow_figures import DropReason, ShadowExample, ShadowFigures, ShadowOutput

if TYPE_CHECKING:
    import pandas as pd

_WHY = {
    DropReason.BUSY: "callers left no time for it",
    DropReason.LARGE: "larger than copies may be",
    DropReason.REFUSED: "the shadow does not take it",
}


class ShadowReport(Rows[ShadowOutput]):
    """The outputs of a shadow beside those that callers got, over the copies that it answered so far."""

    def __init__(self, figures: ShadowFigures, examples: Sequence[ShadowExample] = ()) -> None:
        super().__init__(figures.outputs)
        self.figures = figures
        """Also how many calls were copied, and what became of the copies."""
        self.examples = list(examples)
        """The rows whose answers differ most, the worst first, with their inputs; none without `keep_rows`."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per output."""
        import pandas as pd

        names = [each.name for each in fields(ShadowOutput)]
        return pd.DataFrame([{**asdict(each), "flips": each.flips} for each in self], columns=[*names, "flips"])

    def __repr__(self) -> str:
        table = [self._table().text()] if len(self) else []
        return "\n".join([text_lines([self._title()]), *table, text_lines(self._said())])

    def _repr_html_(self) -> str:
        table = self._table().html() if len(self) else ""
        said = "<br>".join(escape(line) for line in self._said())
        return output_html(f"{heading_html(self._title())}{table}<small>{said}</small>")

    def _table(self) -> Table:
        return Table(_HEAD, self._cells())

    def _title(self) -> str:
        each = self.figures
        by = f" by {each.by}" if each.by else ""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.since))
        return (
            f"{each.model} version {each.version} as a shadow of version {each.beside}: "
            f"a copy of {each.part * 100:g} % of the calls{by}, since {since}"
        )

    def _cells(self) -> list[list[str]]:
        return [
            [
                each.name,
                str(each.rows),
                _agreement(each),
                "-" if each.flips is None else str(each.flips),
                "-" if each.largest is None else f"{each.largest:.3g}",
                "-" if each.relative is None else f"{each.relative * 100:.3g} %",
                _notes(each),
            ]
            for each in self
        ]

    def _said(self) -> list[str]:
        each = self.figures
        dropped = sum(each.dropped.values())
        copies = [f"{counted(each.chosen, 'call')} to copy: {each.compared} compared", f"{each.failed} failed"]
        why = ", ".join(f"{count} since {_WHY.get(reason, reason)}" for reason, count in each.dropped.items())
        copies.append(f"{dropped} dropped" + (f" ({why})" if why else ""))
        copies.append(f"{each.waiting} waiting")
        lines = [", ".join(copies)]
        if each.rows:
            lines.append(f"{each.differing} of {counted(each.rows, 'row')} with another label, class or NaN")
        if each.last_error:
            lines.append(f"the last error: {each.last_error}")
        if each.examples:
            lines.append(
                f"{counted(each.examples, 'example')} in .examples: inputs, what the caller got, and the shadow's"
            )
        return lines


_HEAD: tuple[Column | str, ...] = (
    "output",
    *(
        Column(title, number=True)
        for title in ("rows", "agree", "flips", "largest difference", "of the largest number")
    ),
    Column("", width_em=12),
)


def _agreement(each: ShadowOutput) -> str:
    return "-" if each.same is None or not each.rows else f"{each.same / each.rows * 100:.4g} %"


def _notes(each: ShadowOutput) -> str:
    notes = []
    if each.nan:
        notes.append(f"{counted(each.nan, 'row')} with NaN in one alone")
    if each.unlike:
        notes.append(f"{counted(each.unlike, 'row')} not compared: {each.why_unlike}")
    return "; ".join(notes)
