"""The kept runs as a table, as `%infer history` and the command line list them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workbench.client.formatting import milliseconds
from workbench.client.palette import EITHER
from workbench.client.results import Rows
from workbench.client.table import Cell, Column, Table
from workbench.loadtest.store.history import RunSummary, frame_of
from workbench.loadtest.store.run import RunState

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: tuple[Column | str, ...] = (
    Column("run", width_em=10),
    "started",
    Column("version", width_em=6),
    Column("what", width_em=17),
    Column("state", width_em=11),
    *(Column(title, number=True) for title in ("answered", "p50", "p99", "errors")),
)


class RunTable(Rows[RunSummary]):
    """Summaries of kept runs, the latest first."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per run, indexed by its id."""
        return frame_of(self)

    def _table(self) -> Table:
        return Table(_COLUMNS, list(map(_row, self)))

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()


def _row(each: RunSummary) -> list[Cell | str]:
    share = each.error_share
    times = ["-" if seconds is None else milliseconds(seconds) for seconds in (each.p50_s, each.p99_s)]
    return [
        each.id,
        time.strftime("%Y-%m-%d %H:%M", time.localtime(each.started_at)),
        each.version or "-",
        each.summary.partition(": ")[2] or each.summary,
        _state(each),
        "-" if each.found_nothing else f"{each.answered_per_s:,.{1 if each.answered_per_s < 100 else 0}f}/s",
        *times,
        "-" if share is None else "0" if not share else f"{share:.2%}".replace("%", " %"),
    ]


def _state(each: RunSummary) -> Cell:
    """Green where all held, red where it did not, and grey where the figures stop short of an answer."""
    hue = "grey" if each.state is not RunState.DONE else "green" if each.held else "red"
    if each.limited and not each.found_nothing:
        hue = "orange"
    return Cell(each.standing, f'<span aria-hidden="true" style="color:{EITHER[hue]}">●</span> ')
