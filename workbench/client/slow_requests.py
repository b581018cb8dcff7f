"""A table of a model's slowest requests, with the stages of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import counted, escape, megabytes, milliseconds
from workbench.client.palette import STAGES, colour
from workbench.client.results import Rows
from workbench.client.table import Cell, Column, Table, heading_html, output_html
from workbench.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

TEXT_ROWS = 20

COLOURS = {stage: colour(stage) for stage in STAGES}
"""Stage -> colour, in order."""


class SlowRequests(Rows[Mapping[str, Any]]):
    """Requests, the slowest first, each with the fields of docs/metrics.md, "The slowest requests"."""

    def __init__(self, model: str, requests: Sequence[Mapping[str, Any]]) -> None:
        self.model = model
        super().__init__(requests)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per request; `time` is a timestamp in UTC, each stage a column such as `queue_s`."""
        import pandas as pd

        rows = []
        for request in self:
            row = {name: value for name, value in request.items() if name not in ("stages_s", "time", "pipeline")}
            stages = {f"{stage}_s": seconds for stage, seconds in request["stages_s"].items()}
            stages |= {
                f"{stage} took_s": _took(each) for each in request.get("pipeline", ()) for stage in [each["stage"]]
            }
            rows.append({"time": pd.Timestamp(request["time"], unit="s", tz="UTC"), **row, **stages})
        frame = pd.DataFrame(rows)
        # Without this, a stage that no request reached would be a column of objects.
        return frame.astype({name: float for name in frame if str(name).endswith("_s")})

    def plot(self) -> go.Figure:
        """Plot the stages of each request, the slowest first, as a plotly figure."""
        from workbench.client.plots import waterfall

        return waterfall(self.model, self, COLOURS, shares)

    def __repr__(self) -> str:
        if not self:
            return self._none()
        more = len(self) - TEXT_ROWS
        table, same = self[:TEXT_ROWS]._table()
        lines = [visible(f"{self._title()}. {same}".removesuffix(". ")), table.text()]
        lines += [f"... and {more} more; .to_pandas() has them all"] if more > 0 else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(self._none())}</div>"
        most = max(request["duration_s"] for request in self)
        table, same = self._table([Cell("", drawn=_bar(request, most)) for request in self])
        legend = " ".join(f'<span style="color:{each}">■</span> {stage}' for stage, each in COLOURS.items())
        return output_html(
            f"{heading_html(self._title())}{f'<div>{escape(same)}</div>' if same else ''}<small>{legend}</small>"
            f'<div style="max-height:28em;overflow:auto">{table.html()}</div>'
        )

    def _title(self) -> str:
        return f"{self.model}: the slowest {counted(len(self), 'request')} of the last 15 minutes"

    def _table(self, bars: Sequence[Cell] = ()) -> tuple[Table, str]:
        """The requests, with `bars` second; and in words what is the same of all, which then has no column."""
        table = Table(_HEAD, [self._row(request) for request in self])
        titled = [each.title for each in table.heads]
        columns = [place for place in table.constant() if place in _SAME]
        same = {place: str(table.rows[0][place]) for place in columns if len(self) > 1 or table.rows[0][place] == "-"}
        told = [f"{titled[place]} {text}" for place, text in same.items() if text not in ("", "-")]
        table = table.without(same)
        if bars:
            heads = [table.columns[0], "where the time went", *table.columns[1:]]
            table = Table(heads, [[row[0], bar, *row[1:]] for row, bar in zip(table.rows, bars, strict=True)])
        return table, f"Each: {', '.join(told)}." if told else ""

    def _none(self) -> str:
        return visible(f"{self.model} had no requests in the last 15 minutes")

    @staticmethod
    def _row(request: Mapping[str, Any]) -> list[Cell | str]:
        stages, size, mates = request["stages_s"], request["batch_size"], request["batch_rows"] or []
        batch = f"{size} of {counted(len(mates), 'request')}" if size else "-"
        sent = request["request_bytes"]
        return [
            time.strftime("%H:%M:%S", time.localtime(request["time"])),
            milliseconds(request["duration_s"]),
            _seconds(stages.get("queue")),
            _seconds(stages.get("compute")),
            "-" if request["rows"] is None else str(request["rows"]),
            batch,
            request["release_reason"] or "-",
            megabytes(sent) or "-",
            request["version"],
            request["outcome"],
            shares(request) or "-",
            request["request_id"],
        ]


_HEAD: tuple[Column | str, ...] = (
    "at",
    *(Column(title, number=True) for title in ("took", "queue", "compute", "rows", "rows in batch")),
    "released",
    Column("body", number=True),
    Column("version", width_em=8),
    Column("outcome", width_em=10),
    Column("stages", width_em=24),
    Column("request", width_em=10),
)

_SAME = range(4, len(_HEAD))
"""The columns that are left out where all requests have the same there."""


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else milliseconds(seconds)


def shares(request: Mapping[str, Any]) -> str:
    """What each stage of a pipeline took, in the order in which they ended; empty for a single model."""
    return ", ".join(f"{each['stage']} {milliseconds(_took(each))}" for each in request.get("pipeline", ()))


def _took(stage: Mapping[str, Any]) -> float:
    """Seconds of one stage of a pipeline."""
    return float(sum(stage["stages_s"].values()))


def _bar(request: Mapping[str, Any], most: float) -> str:
    """Draw the stages as lengths; `most` seconds fill the cell. Those of a pipeline come one after another."""
    parts = []
    for what, stage, seconds in _parts(request):
        if seconds and most > 0 and stage != "receive":  # not part of the request's duration
            width = min(100 * seconds / most, 100)
            title = escape(f"{what}: {milliseconds(seconds)}")
            style = f"display:inline-block;height:0.8em;width:{width:.2f}%;background:{COLOURS[stage]}"
            parts.append(f'<span title="{title}" style="{style}"></span>')
    return f'<div style="width:13em;white-space:nowrap;font-size:0.9em">{"".join(parts)}</div>'


def _parts(request: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    """(what a part is called, its stage, seconds), in the order of time."""
    inner, whole = request.get("pipeline") or (), request["stages_s"]
    within_s = sum(whole.get(stage) or 0.0 for stage in ("queue", "batch", "compute", "split"))
    left_s = within_s - sum(map(_took, inner))
    one_by_one = bool(inner) and left_s > -1e-6  # else some ran side by side
    for stage in COLOURS:
        if one_by_one and stage in ("batch", "compute"):
            continue
        if one_by_one and stage == "queue":
            for each in inner:
                yield from ((f"{each['stage']}, {part}", part, each["stages_s"].get(part)) for part in each["stages_s"])
        else:
            yield stage, stage, max(left_s, 0.0) if one_by_one and stage == "split" else whole.get(stage)
