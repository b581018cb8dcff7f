"""The versions of a model as a table, and what a change of the one that serves reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from workbench.client.audit_results import AuditTable
from workbench.client.formatting import counted, escape, milliseconds, text_lines
from workbench.client.results import Rows, state_cell
from workbench.client.summary import Card
from workbench.client.table import Cell, Column, Table, heading_html, output_html
from workbench.core.version_overview import VersionEntry, VersionOverview
from workbench.errors import InvalidInput
from workbench.protocols.control import LoadAnswer
from workbench.versions.labels import version_meant

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

    def _table(self) -> Table:
        rows: list[list[Cell | str]] = [
            [each.version, state_cell(each.state, _state(each)), _calls(each), _when(each.loaded_at)] for each in self
        ]
        return Table(("version", "state", Column("calls", width_em=28), "loaded"), rows)

    def _served(self) -> list[str]:
        return [f"{_when(each.at)}  {each.action}: {each.detail} ({each.who})" for each in self.history]

    def __repr__(self) -> str:
        title = f"{self.model}, versions={self.policy}"
        parts = [text_lines([title]), self._table().text(), text_lines(self._served())]
        return "\n".join(filter(None, parts))

    def _repr_html_(self) -> str:
        served = "".join(f"<br><small>{escape(line)}</small>" for line in self._served())
        title = heading_html(f"{self.model}, versions={self.policy}")
        return output_html(f"{title}{self._table().html()}{served.removeprefix('<br>')}")


def rollback_card(done: LoadAnswer) -> Card:
    """What a rollback did."""
    status = done.status
    if done.previous == status.version:
        title = f"{status.name} version {status.version} gets all calls without a version again: the split has ended"
        return Card(title, {"took": milliseconds(done.seconds)})
    how = "it was still loaded" if done.live else "it was loaded again, from its kept file"
    title = f"{status.name} version {status.version} serves again instead of version {done.previous}"
    return Card(title, {"took": milliseconds(done.seconds), "how": how})


def weights_from(weights: object) -> dict[str, float]:
    """Version -> part of the calls, of {"2": 0.1}, {"v2": "10%"}, or of a version that is to get all of them.

    Raises InvalidInput.
    """
    if isinstance(weights, str | int):
        return {str(weights): 1.0}
    if not isinstance(weights, Mapping):
        raise InvalidInput(f'route takes weights, as {{"2": 0.1}}, or a version, got {type(weights).__name__}')
    return {str(version): _weight(str(version), weight) for version, weight in weights.items()}


def _weight(version: str, weight: object) -> float:
    try:
        text = str(weight).strip()
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise InvalidInput(f"the weight of {version[:40]} must be from 0 to 1, or like 10%, got {str(weight)[:40]!r}")
    return found


def route_card(
    done: LoadAnswer, weights: Mapping[str, float], by: str, shadow: Mapping[str, float] | None = None
) -> Card:
    """Which version gets which part of the calls, or of their copies."""
    status = done.status
    copied = {
        _named(version): f"a copy of {part * 100:g} % of them" for version, part in (shadow or {}).items() if part
    }
    if shadow is not None and len(weights) < 2:
        copies = "a shadow gets copies" if copied else "no version gets copies"
        return Card(f"{status.name} version {status.version} serves calls without a version; {copies}", copied)
    if len(weights) < 2:
        before = f" instead of version {done.previous}" if done.previous not in (None, status.version) else ""
        return Card(f"{status.name} version {status.version} gets all calls without a version{before}", {})
    facts = {f"version {version}": f"{weight * 100:g} %" for version, weight in weights.items()}
    facts |= {f"shadow, {version}": each for version, each in copied.items()}
    return Card(f"{status.name}: calls without a version are split{f' by {by}' if by else ''}", facts)


def share_route_card(name: str, share: str, weights: Mapping[str, float]) -> Card:
    """Which version gets which part of the calls of a share."""
    given = {version: weight for version, weight in weights.items() if weight}
    if not given:
        return Card(f"{name}: calls of share {share} go where those of all others go", {})
    facts = {f"version {version.removeprefix('v')}": f"{weight * 100:g} %" for version, weight in given.items()}
    left = 1 - sum(given.values())
    if left > 1e-9:
        facts["the version that serves"] = f"{left * 100:g} %"
    elif len(given) == 1:
        return Card(
            f"{name} version {next(iter(given)).removeprefix('v')} gets all calls of share {share} without a version",
            {},
        )
    return Card(f"{name}: calls of share {share} without a version are split", facts)


def _named(version: str) -> str:
    """The version, or the label, that was asked for."""
    meant = version_meant(version)
    return f"version {meant}" if meant.isdecimal() else meant


def labels_card(name: str, labels: Mapping[str, str]) -> Card:
    """Which version each label of a model points to."""
    return Card(
        f"{name} has {counted(len(labels), 'label')}", {f"{name}:{each}": f"version {labels[each]}" for each in labels}
    )


def _state(each: VersionEntry) -> str:
    return f"{each.state}: {each.reason}" if each.reason else each.state


def _calls(each: VersionEntry) -> str:
    """Which calls it gets."""
    share = f"{each.weight * 100:g} % of those without a version"
    shares = [f"{'all' if part == 1 else f'{part * 100:g} %'} of share {name}" for name, part in each.shares.items()]
    of_shares = f"; {', '.join(shares)}" if shares else ""
    if each.routed:
        named = "".join(f", and that name {label}" for label in each.labels)
        return f"{'all without a version' if each.weight == 1 else share}{named}{of_shares}"
    named = f"those that name {' or '.join((each.version, *each.labels))}" if each.loaded_at else ""
    named = f"{share}, {named}" if each.weight else named
    if each.copies:
        named += f", and a copy of {each.copies * 100:g} % of those without a version"
    return f"{named or '-'}{of_shares}{'; a rollback goes back to it' if each.before else ''}".removeprefix("-; ")


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else "-"
