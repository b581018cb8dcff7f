"""The versions of a model as a table, and what a change of the one that serves reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from workbench.client.audit_results import AuditTable
from workbench.client.formatting import counted, escape, html_table, milliseconds, text_lines, text_table
from workbench.client.results import Rows
from workbench.client.summary import Card
from workbench.core.version_overview import VersionEntry, VersionOverview
from workbench.protocols.control import LoadAnswer

if TYPE_CHECKING:
    import pandas as pd


class VersionTable(Rows[VersionEntry]):
    """The versions of one model that are loaded or kept, by number; `history` says which served when."""

    def __init__(self, found: VersionOverview) -> None:
        super().__init__(found.versions)
        self.model = found.model
        self.policy = found.policy
        """The model's setting `versions`."""
        self.history = AuditTable(found.history)
        """Who had which version serve, when and how, the oldest first."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per version."""
        import pandas as pd

        return pd.DataFrame([asdict(each) for each in self], columns=[each.name for each in fields(VersionEntry)])

    _HEAD = ("version", "state", "calls", "loaded")

    def _cells(self) -> list[list[str]]:
        return [[each.version, _state(each), _calls(each), _when(each.loaded_at)] for each in self]

    def _served(self) -> list[str]:
        return [f"{_when(each.at)}  {each.action}: {each.detail} ({each.who})" for each in self.history]

    def __repr__(self) -> str:
        title = f"{self.model}, versions={self.policy}"
        return "\n".join([text_lines([title]), text_table([self._HEAD, *self._cells()]), text_lines(self._served())])

    def _repr_html_(self) -> str:
        rows = [[escape(cell) for cell in row] for row in self._cells()]
        served = "".join(f"<br><small>{escape(line)}</small>" for line in self._served())
        title = f"{escape(self.model)}, versions={escape(self.policy)}"
        return f"<div><b>{title}</b>{html_table(list(self._HEAD), rows)}{served}</div>"


def rollback_card(done: LoadAnswer) -> Card:
    """What a rollback did."""
    status = done.status
    how = "it was still loaded" if done.live else "it was loaded again, from its kept file"
    title = f"{status.name} version {status.version} serves again instead of version {done.previous}"
    return Card(title, {"took": milliseconds(done.seconds), "how": how})


def labels_card(name: str, labels: Mapping[str, str]) -> Card:
    """Which version each label of a model points to."""
    return Card(
        f"{name} has {counted(len(labels), 'label')}", {f"{name}:{each}": f"version {labels[each]}" for each in labels}
    )


def _state(each: VersionEntry) -> str:
    return f"{each.state}: {each.reason}" if each.reason else each.state


def _calls(each: VersionEntry) -> str:
    """Which calls it gets."""
    if each.routed:
        named = "".join(f", and that name {label}" for label in each.labels)
        return f"all without a version{named}"
    named = f"those that name {' or '.join((each.version, *each.labels))}" if each.loaded_at else ""
    return f"{named or '-'}{'; a rollback goes back to it' if each.before else ''}".removeprefix("-; ")


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else "-"
