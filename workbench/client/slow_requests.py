"""A table of a model's slowest requests, with the stages of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.formatting import counted, escape, html_table, megabytes, milliseconds, text_table
from workbench.client.results import Rows
from workbench.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

TEXT_ROWS = 20

COLOURS = {
    "receive": "#9ecae1",
    "decode": "#6baed6",
    "queue": "#fdae6b",
    "batch": "#c7e9c0",
    "compute": "#31a354",
    "split": "#a1d99b",
    "encode": "#3182bd",
    "send": "#c6dbef",
}
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
        shown = [self._cells(request) for request in self[:TEXT_ROWS]]
        more = len(self) - len(shown)
        lines = [text_table([self._head(), *shown])]
        lines += [f"... and {more} more; .to_pandas() has them all"] if more else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(self._none())}</div>"
        most = max(request["duration_s"] for request in self)
        rows = [[*map(escape, self._cells(request)), _bar(request, most)] for request in self]
        table = html_table([*map(escape, self._head()), "where the time went"], rows)
        legend = " ".join(f'<span style="color:{colour}">■</span> {stage}' for stage, colour in COLOURS.items())
        title = f"<b>{escape(self.model)}</b>: the slowest {counted(len(self), 'request')} of the last 15 minutes"
        return f'<div>{title}<br><small>{legend}</small><div style="max-height:28em;overflow:auto">{table}</div></div>'

    @property
    def _has_stages(self) -> bool:
        """True where one is of a pipeline of models."""
        return any(request.get("pipeline") for request in self)

    def _head(self) -> list[str]:
        return [*_HEAD, *(["stages"] if self._has_stages else [])]

    def _cells(self, request: Mapping[str, Any]) -> list[str]:
        return [*self._row(request), *([shares(request)] if self._has_stages else [])]

    def _none(self) -> str:
        return visible(f"{self.model} had no requests in the last 15 minutes")

    @staticmethod
    def _row(request: Mapping[str, Any]) -> list[str]:
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
            request["request_id"],
        ]


_HEAD = ("at", "took", "queue", "compute", "rows", "rows in batch", "released", "body", "version", "outcome", "request")


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
    return f'<div style="width:16em;white-space:nowrap;font-size:0.9em">{"".join(parts)}</div>'


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
