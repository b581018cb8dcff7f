"""A share as its owner sees it, and the table of all shares. Neither shows a token."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import escape, megabytes, milliseconds
from workbench.client.results import Rows
from workbench.client.summary import Card
from workbench.client.table import Cell, Column, Table
from workbench.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd

NO_SHARES = "nothing is shared; %infer share NAME --with LABEL shares a model"


@dataclass(frozen=True, slots=True)
class Share:
    """What `share` made: give the teammate its `link`, or its `token` where that was asked for."""

    id: str
    label: str
    models: tuple[str, ...]
    url: str
    """Of the service."""
    link: str
    """Gives the token once, within an hour: its secret is in the fragment. Empty where the token was asked for."""
    expires_at: float
    """Unix time."""
    rate: float | None = None
    """Requests each second; None: as many as the service takes."""
    max_in_flight: int = 0
    row_rate: float | None = None
    """Rows each second; None: as many as the service takes."""
    quota: int | None = None
    """Inferences each UTC day; None: any number."""
    row_quota: int | None = None
    """Their rows each UTC day; None: any number."""
    version: str | None = None
    """The only version of its model that it calls; None: the one that serves."""
    max_body: int | None = None
    """Bytes of a body; None: as many as the service takes."""
    metrics: bool = False
    """It may read the metrics of its models."""
    token: str | None = field(default=None, repr=False)
    """Only where it was asked for; the service gives it once. No display shows it."""
    env_file: str = ""
    """The file that was made of the url and the token; empty: none."""

    def _card(self) -> Card:
        return Card(
            f"{', '.join(self.models)} shared with {self.label}",
            {
                "link": self.link,
                "token": "in .token of this object, and nowhere else" if self.token and not self.env_file else "",
                "file": self.env_file and f"{self.env_file}, with the url and the token; only you can read it",
                "url": self.url,
                "limits": ", ".join(_limits(self, " requests")),
                "version": self.version or "",
                "body": "" if self.max_body is None else f"{self.max_body} bytes at most",
                "metrics": "of these models" if self.metrics else "",
                "at once": f"{self.max_in_flight} requests",
                "until": clock_time(self.expires_at),
                "ends with": f"%infer revoke {self.label}",
            },
        )

    def __repr__(self) -> str:
        return repr(self._card())

    def _repr_html_(self) -> str:
        return self._card()._repr_html_()


@dataclass(frozen=True, slots=True)
class SharedAccess:
    """One share and its use since the service started."""

    id: str
    label: str
    models: tuple[str, ...]
    state: str
    """unclaimed, holds, revoked or expired."""
    rate: float | None
    max_in_flight: int
    created_at: float
    """Unix time, as `expires_at`, `revoked_at` and `last_seen`."""
    expires_at: float
    revoked_at: float | None
    requests: int
    """That were let in."""
    refused: int
    """That were over a limit of the share."""
    in_flight: int
    last_seen: float | None
    row_rate: float | None = None
    """This and what follows, a service of an older version does not say."""
    quota: int | None = None
    row_quota: int | None = None
    version: str | None = None
    """The only one that it calls; None: the one that serves."""
    max_body: int | None = None
    """Bytes; None: as many as the service takes."""
    metrics: bool = False
    day_requests: int = 0
    """Inferences that count for the quota of this day, and below their rows; 0 without a quota."""
    day_rows: int = 0
    day_ends_at: float | None = None
    """When both begin again: 00:00 UTC; None: it has no quota."""
    first_call_at: float | None = None
    """When it was first used for an inference; None: not yet."""
    answered: int = 0
    """Inferences that were answered with outputs."""
    errors: int = 0
    """Inferences that were let in and failed. One whose caller left is none."""
    rows: int = 0
    """Of the answered ones, as all below."""
    request_bytes: int = 0
    response_bytes: int = 0
    p50_s: float | None = None
    """Seconds from the body's arrival until the answer had left; None: there was none."""
    p99_s: float | None = None
    by_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same by model, from `answered` on, and `last_at`, Unix time of its last one."""
    suspended: Mapping[str, str] = field(default_factory=dict)
    """Models that it may not call any more, since its requests ended the service, and how."""


class ShareTable(Rows[SharedAccess]):
    """All shares, those that have ended for 30 days, displayed as a table."""

    _HEAD: tuple[Column | str, ...] = (
        *(Column("id", width_em=6), Column("with", width_em=8), Column("models", width_em=8), Column("state")),
        Column("limits", width_em=8),
        *(Column(title, number=True) for title in ("requests", "refused", "errors", "rows", "in", "out", "p50", "p99")),
        *("first call", "last seen", "until"),
    )

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per share."""
        import pandas as pd

        columns = SharedAccess.__slots__
        return pd.DataFrame([[getattr(each, name) for name in columns] for each in self], columns=list(columns))

    def __repr__(self) -> str:
        if not self:
            return NO_SHARES
        return "\n".join([Table(self._HEAD, list(map(_cells, self))).text(), *map(visible, self._suspensions())])

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(NO_SHARES)}</div>"
        table = Table(self._HEAD, list(map(_cells, self)))
        unused = {place for place in table.constant() if table.rows[0][place] in ("-", "0")}
        shown = table.without({*unused, *_IN_THE_FRAME}).html()
        return "".join([shown, *(f"<div>{escape(said)}</div>" for said in self._suspensions())])

    def _suspensions(self) -> list[str]:
        """Why shares are suspended, and what ends that."""
        return [
            f"{each.label} may not call {model} any more: {why}. It may again once you load {model}."
            for each in self
            if each.state in ("holds", "unclaimed")
            for model, why in each.suspended.items()
        ]


_IN_THE_FRAME = (0, 9, 10, 13)
"""Columns that are not in a notebook, where lines must fit: id, bytes in and out, first call. `.df` has them."""


def share_of(answer: Mapping[str, Any]) -> Share:
    """Decode the service's answer to a new share."""
    return Share(**{"link": "", **_known(Share, answer)})


def table_of(answer: list[Mapping[str, Any]]) -> ShareTable:
    """Decode the service's list of shares."""
    return ShareTable([SharedAccess(**_known(SharedAccess, each)) for each in answer])


def _known(kind: type[Share | SharedAccess], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `kind` that a service says: a newer one says more, and one of an older version less."""
    return {**{name: answer[name] for name in kind.__slots__ if name in answer}, "models": tuple(answer["models"])}


def clock_time(unix_s: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s)) if unix_s else "-"


def _limits(each: Share | SharedAccess, requests: str = "") -> list[str]:
    """Its rates and quotas, of requests and of rows; `requests` is what the first are called."""
    used = (f"{each.day_requests} of ", f"{each.day_rows} of ") if isinstance(each, SharedAccess) else ("", "")
    rates = (each.rate, requests), (each.row_rate, " rows")
    quotas = (used[0], each.quota, requests), (used[1], each.row_quota, " rows")
    return [f"{rate:g}{of}/s" for rate, of in rates if rate is not None] + [
        f"{so_far}{quota}{of}/day" for so_far, quota, of in quotas if quota is not None
    ]


def _cells(each: SharedAccess) -> list[Cell | str]:
    limits = ", ".join(_limits(each)) or "-"
    first, seen = clock_time(each.first_call_at), clock_time(each.last_seen)
    figures = [str(count) for count in (each.requests, each.refused, each.errors, each.rows)]
    sizes = [megabytes(size) or "-" for size in (each.request_bytes, each.response_bytes)]
    times = ["-" if seconds is None else milliseconds(seconds) for seconds in (each.p50_s, each.p99_s)]
    return [
        each.id,
        each.label,
        ", ".join(each.models) + (f", version {each.version}" if each.version else ""),
        each.state + (f", suspended for {', '.join(each.suspended)}" if each.suspended else ""),
        limits,
        *figures,
        *sizes,
        *times,
        first,
        seen,
        clock_time(each.expires_at),
    ]
