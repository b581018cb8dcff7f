"""The audit as a table: who did what to the service, and from where."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import escape
from workbench.client.results import Lines, Rows
from workbench.client.table import Column, Table
from workbench.core.audit_entry import AuditEntry
from workbench.core.durations import parse_seconds
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

MOST = 10_000
"""Rows that are asked for, the latest."""

NOTHING_DONE = "nothing is written down for that time"

_UNITS = ("s", "m", "min", "h", "d")


class AuditTable(Rows[AuditEntry]):
    """What was done, the oldest first, displayed as a table."""

    _HEAD = (
        *(("time", 12), ("action", 8), ("of", 9), ("detail", 13)),
        *(("outcome", 9), ("who", 8), ("from", 9), ("with", 9)),
    )

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per entry; `at` and `since` are timestamps in UTC."""
        import pandas as pd

        table = pd.DataFrame([asdict(each) for each in self], columns=[each.name for each in fields(AuditEntry)])
        table["at"] = pd.to_datetime(table["at"], unit="s", utc=True)
        table["since"] = pd.to_datetime(table["since"].where(table["since"] > 0), unit="s", utc=True)
        return table

    @property
    def json_lines(self) -> Lines:
        """One JSON object per entry, with the fields of AuditEntry."""
        return Lines(json.dumps(asdict(each), ensure_ascii=False) for each in self)

    def __repr__(self) -> str:
        return self._table().text() if self else NOTHING_DONE

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(NOTHING_DONE)}</div>"
        return self._table().html()

    def _table(self) -> Table:
        return Table([Column(title, width_em=width) for title, width in self._HEAD], list(map(_cells, self)))


def seconds_back(last: float | str) -> float:
    """Seconds of a number, or of a text such as "7d" or "12h". Raises InvalidInput."""
    back_s = parse_seconds("last", last, _UNITS)
    if not back_s > 0:
        raise InvalidInput(f"last must be a time that lies behind, as 7d or 12h, got {str(last)[:40]!r}")
    return back_s


def audit_of(answer: Sequence[Mapping[str, Any]]) -> AuditTable:
    """Decode the service's answer."""
    names = [each.name for each in fields(AuditEntry)]
    return AuditTable([AuditEntry(*(each[name] for name in names)) for each in answer])


def _cells(each: AuditEntry) -> list[str]:
    outcome = f"{each.outcome} ({each.count} times)" if each.count > 1 else each.outcome
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
    where = f"{each.address}, {each.way}" if each.address else each.way
    return [when, each.action, each.subject, each.detail, outcome, each.who, where, each.agent]
