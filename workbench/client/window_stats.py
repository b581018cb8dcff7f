"""A table of the models' figures over the last minutes, which the service keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.client.formatting import escape, milliseconds
from workbench.client.results import NO_MODELS, Rows, state_cell
from workbench.client.table import Cell, Column, Table, output_html
from workbench.core.durations import parse_seconds
from workbench.core.ports import errors_in
from workbench.errors import InvalidInput, WorkbenchError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

LONGEST_S = 900.0


class VersionFigures(msgspec.Struct, frozen=True):
    """One version of one model over a window (docs/http.md, RECENT). None where nothing was run."""

    name: str
    version: str
    state: str
    device: str = ""
    routed: bool = False
    queued: int = 0
    """Requests that are waiting now."""
    requests: dict[str, int] = {}
    """Requests by outcome."""
    requests_per_s: float = 0.0
    rows_per_s: float = 0.0
    batches_per_s: float = 0.0
    busy: float = 0.0
    """Mean number of busy runners."""
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    batch_rows: float | None = None
    """Mean rows of a batch."""
    queue_s: float | None = None
    """Mean seconds that a request waited for its batch."""
    compute_s: float | None = None
    latency: Mapping[str, Any] = {}
    """`{"count", "sum_s", "buckets": {BUCKET: COUNT}}`, as in docs/metrics.md."""

    @property
    def errors(self) -> int:
        return errors_in(self.requests)


class RecentFigures(Rows[VersionFigures]):
    """The figures of every version over one window, as a table."""

    def __init__(self, window_s: float, asked_s: float, versions: Sequence[VersionFigures]) -> None:
        self.window_s = window_s
        """Seconds that were really covered; less than requested if the service started later."""
        self.asked_s = asked_s
        super().__init__(versions)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per version; durations in seconds, NaN where nothing was run."""
        import pandas as pd

        rows = [
            {
                "model": each.name,
                "version": each.version,
                "state": each.state,
                "device": each.device,
                "requests": sum(each.requests.values()),
                "requests_per_s": each.requests_per_s,
                "rows_per_s": each.rows_per_s,
                "p50_s": each.p50_s,
                "p95_s": each.p95_s,
                "p99_s": each.p99_s,
                "errors": each.errors,
                "queued": each.queued,
                "queue_s": each.queue_s,
                "compute_s": each.compute_s,
                "batch_rows": each.batch_rows,
                "busy": each.busy,
            }
            for each in self
        ]
        frame = pd.DataFrame(rows)
        # A figure that none of them has would be a column of objects.
        return frame.astype({name: float for name in frame if str(name).endswith("_s") or name == "batch_rows"})

    def plot(self) -> go.Figure:
        """Plot how long requests took, by model: a histogram of the window, as a Plotly figure."""
        from workbench.client.plots import latencies

        versions = [(each.name, each.version, each.latency.get("buckets", {})) for each in self]
        return latencies(versions, f"Requests of the last {self.window_s:.0f} s by how long they took")

    def __repr__(self) -> str:
        if not self:
            return NO_MODELS
        return "\n".join([self._title(), Table(_HEAD, list(map(_row, self))).text()])

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(NO_MODELS)}</div>"
        return output_html(escape(self._title()) + Table(_HEAD, list(map(_row, self))).html())

    def _title(self) -> str:
        shorter = self.window_s < self.asked_s - 1
        why = f"; the service has counted for no longer, {self.asked_s:.0f} s were asked for" if shorter else ""
        return f"the last {self.window_s:.0f} s{why}"


_HEAD: tuple[Column | str, ...] = (
    Column("model", width_em=8.5),
    Column("version", width_em=5),
    "state",
    *(Column(title, number=True) for title in ("requests/s", "rows/s", "p50", "p95", "p99", "errors")),
    *(Column(title, number=True) for title in ("waiting", "queue", "rows/batch")),
)


def _row(each: VersionFigures) -> list[Cell | str]:
    errors = each.errors
    return [
        each.name,
        each.version,
        state_cell(each.state),
        rate(each.requests_per_s),
        rate(each.rows_per_s),
        *("-" if value is None else milliseconds(value) for value in (each.p50_s, each.p95_s, each.p99_s)),
        f"{errors} of {sum(each.requests.values())}" if errors else "0",
        str(each.queued),
        "-" if each.queue_s is None else milliseconds(each.queue_s),
        "-" if each.batch_rows is None else f"{each.batch_rows:.1f}",
    ]


def rate(per_s: float) -> str:
    """Format a rate: `1,230`, `45.6`, `0.05`."""
    if per_s == 0:
        return "0"
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}" if per_s >= 1 else f"{per_s:.2f}"


def window_s(window: float | str) -> float:
    """Return the seconds of 60, "60s" or "5m". Raises InvalidInput."""
    seconds = parse_seconds("window", window, ("s", "m", "min"), bare=True)
    if not 1 <= seconds <= LONGEST_S:
        raise InvalidInput(f"window must be from 1s to {LONGEST_S / 60:.0f}m, got {window}")
    return seconds


def decode(found: object, asked_s: float) -> RecentFigures:
    """Decode the parsed JSON of /control/figures. Raises WorkbenchError if it does not fit."""
    try:
        answer = msgspec.convert(found, _Answer)
    except msgspec.ValidationError as error:
        raise WorkbenchError(f"the service's answer could not be read: {str(error)[:200]}") from None
    return RecentFigures(answer.window_s, asked_s, answer.models)


class _Answer(msgspec.Struct):
    window_s: float
    models: list[VersionFigures]
