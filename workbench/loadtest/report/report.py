"""`Report`: a run to look at, in a terminal, in a notebook, in a file, and as a DataFrame to go on with."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.client.formatting import escape, milliseconds, text_lines
from workbench.client.table import Column, Table
from workbench.errors import InvalidInput, StorageError
from workbench.loadtest.analysis.compare import Comparison, compare
from workbench.loadtest.report import plotly_charts, summary_text
from workbench.loadtest.report.charts import Breakdown, Chart, charts
from workbench.loadtest.report.svg import svg
from workbench.loadtest.store.history import History
from workbench.loadtest.store.recording import ServerSecond
from workbench.loadtest.store.records import OUTCOMES, WARM_UP, Records
from workbench.loadtest.store.run import Point, Run, encode, summed

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SHOWN = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ vertical-align: top; }}
thead {{ border-bottom: 1px solid #8888; }}
</style></head><body>
{body}
</body></html>
"""


class Report:
    """What a load test found. `run` is what is kept of it; `requests` are there only in the process that made it."""

    def __init__(self, run: Run, rows: Records | None = None, history: History | None = None) -> None:
        self.run = run
        self._rows = rows
        self._history = history
        self.not_kept = ""
        """Why the run is not in the history, or what was wrong with that; empty where all is well."""

    @property
    def id(self) -> str:
        """Under which it is kept, as "digits-4"; empty where it is not."""
        return self.run.id

    @property
    def held(self) -> bool:
        """Whether the run finished and all that was asked for holds."""
        return self.run.held

    @property
    def sentence(self) -> str:
        """What it found, in plain words; where the generator was the limit, that comes first."""
        return summary_text.headline(self.run)

    # Figures to go on with

    @property
    def df(self) -> pd.DataFrame:
        """A row a second, by its beginning (warm-up below 0): requests, latencies in ms, and the service's own figures
        of that second where they are known."""
        import pandas as pd

        own_at: dict[int, list[ServerSecond]] = {}
        for each in self.run.server:  # a stretch is of the second in which its middle lies
            own_at.setdefault(math.floor(each.at_s - each.interval_s / 2), []).append(each)
        rows = []
        for second in self.run.seconds:
            row: dict[str, Any] = {
                "warm_up": second.phase == WARM_UP,
                "due": second.due,
                "answered": second.answered,
                "errors": second.errors,
            }
            row |= {f"{name}_ms": _ms(second.latency.quantile(q)) for name, q in SHOWN}
            if self.run.server:
                own = summed(own_at.get(math.floor(second.at_s), []))
                row |= {"batches": own.batches, "rows_a_batch": own.rows_a_batch, "queued": own.queued_most}
                row |= {f"{stage}_ms": mean_s * 1e3 for stage, mean_s in own.stages_s.items()}
            rows.append(row)
        index = pd.Index([second.at_s for second in self.run.seconds], name="second", dtype="float64")
        return pd.DataFrame(rows, index=index)

    def to_pandas(self) -> pd.DataFrame:
        """`.df`."""
        return self.df

    @property
    def points(self) -> pd.DataFrame:
        """Of stairs, a search or a sweep: a row a test."""
        import pandas as pd

        rows = [
            {
                "offered_per_s": point.offered_per_s or None,
                "answered_per_s": point.figures.answered_per_s,
                **{f"{name}_ms": _ms(point.figures.quantile(q)) for name, q in SHOWN},
                "errors": point.figures.error_share,
                "held": point.held,
                "why": point.why,
                **point.settings,
            }
            for point in self.run.points
        ]
        return pd.DataFrame(rows, index=pd.Index([point.label for point in self.run.points], name="test", dtype="str"))

    @property
    def requests(self) -> pd.DataFrame:
        """A row a request, in the order in which they ended; times in seconds since the run began.

        InvalidInput for a run from the history: what is kept of a run are its figures.
        """
        import pandas as pd

        if self._rows is None:
            raise InvalidInput(
                "the single requests of this run are not here any more: they are kept in memory only, by the report "
                "that the load test itself gave; .df has its seconds"
            )
        data = self._rows.data
        frame = pd.DataFrame({name: data[name] for name in data.dtype.names or ()})
        frame["outcome"] = pd.Categorical(np.asarray(OUTCOMES)[data["outcome"]], categories=list(OUTCOMES))
        frame["latency_s"] = self._rows.latency_s
        frame["service_s"] = self._rows.done_s - self._rows.sent_s
        frame.insert(0, "warm_up", frame.pop("phase") == WARM_UP)
        return frame

    def compare(self, other: Report | Run) -> Comparison:
        """This run against an earlier one: ratios of this to that."""
        return compare(other.run if isinstance(other, Report) else other, self.run)

    # Drawings

    @property
    def charts(self) -> Mapping[str, Chart | Breakdown]:
        """What can be drawn, by name: "percentiles", "rate", "latency", "stages", "batch sizes", "curve"."""
        return {chart.name: chart for chart in charts(self.run)}

    @property
    def figures(self) -> dict[str, go.Figure]:
        """The charts as Plotly figures, by name. Raises Unsupported where Plotly is not installed."""
        return {name: plotly_charts.figure(chart) for name, chart in self.charts.items()}

    def figure(self, name: str) -> go.Figure:
        """One of them."""
        found = self.charts
        if name not in found:
            raise InvalidInput(f"this run has no figure {name[:40]!r}; there are {', '.join(found) or 'none'}")
        return plotly_charts.figure(found[name])

    def plot(self, name: str | None = None) -> go.Figure:
        """One of the figures; without a name the one that says most: "curve" of stairs, a search or a sweep, else
        "percentiles". Raises InvalidInput where nothing was answered, and so nothing can be drawn."""
        first = next((each for each in ("curve", "percentiles", "rate") if each in self.charts), "")
        if name is None and not first:
            raise InvalidInput("this run has no figures: nothing was asked")
        return self.figure(name or first)

    # Keeping and handing on

    def keep(self) -> str:
        """Keep the run in the history, where that failed before; its id."""
        if self._history is None:
            raise InvalidInput("this report is of no history; to_json(FILE) keeps its run in a file")
        if self.run.id:
            self._history.save(self.run)
        else:
            self.run = self._history.begin(self.run)
        self.not_kept = ""
        return self.run.id

    def to_json(self, path: str | Path | None = None) -> str:
        """The run as JSON, also written to `path`; `workbench.loadtest.store.run.decode` reads it."""
        return _written(encode(self.run).decode(), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """A page of its own, also written to `path`: drawings included, no script, nothing fetched."""
        return _written(_PAGE.format(title=escape(self._title()), body=self._repr_html_()), path)

    # Showing

    def __repr__(self) -> str:
        knee = summary_text.knee_words(self.run)
        below = ["", *summary_text.details(self.run), *([knee] if knee else []), summary_text.health(self.run)]
        below += [self._title(), *([self.not_kept] if self.not_kept else [])]
        return "\n".join([text_lines([self.sentence, ""]), self._table().text(), text_lines(below)])

    def _repr_html_(self) -> str:
        knee = summary_text.knee_words(self.run)
        said = [*summary_text.details(self.run), *([knee] if knee else []), *([self.not_kept] if self.not_kept else [])]
        drawn = "".join(f'<div style="flex:1 1 460px;max-width:560px">{svg(each)}</div>' for each in charts(self.run))
        return (
            f'<div style="overflow-wrap:break-word"><div style="font-size:1.15em"><b>{escape(self.sentence)}</b></div>'
            + "".join(f"<div>{escape(each)}</div>" for each in said)
            + self._table().html()
            + f'<div style="display:flex;flex-wrap:wrap;gap:0.5em 1.5em">{drawn}</div>'
            + f"<small>{escape(summary_text.health(self.run))}<br>{escape(self._title())}</small></div>"
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _title(self) -> str:
        run = self.run
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started_at))
        version = run.target.get("version")
        named = f"{run.id}: " if run.id else ""
        on = f"version {version}" if version else ""
        device = f"on {run.target['device']}" if run.target.get("device") else ""
        name = _server(run.target.get("server"))
        return f"{named}{run.summary}; {' '.join(filter(None, (on, device, name)))}, {when}".replace("; ,", ",")

    def _table(self) -> Table:
        head: list[Column | str] = [Column(name, number=True) for name in ("asked", "answered", "errors", *dict(SHOWN))]
        run = self.run
        if not run.points:
            rows = [_row("", run.whole.offered_per_s if run.open_loop else None, run.whole)]
            return Table(head, [row[1:] for row in rows])
        rows = [
            [*_row(point.label, point.offered_per_s or None, point.figures), "yes" if point.held else _why_not(point)]
            for point in run.points
        ]
        table = Table([Column("", width_em=24), *head, Column("holds", width_em=30)], rows)
        # Of tests at different rates, the label is the rate that was asked.
        return table.without([0]) if all(point.offered_per_s and not point.settings for point in run.points) else table


def _why_not(point: Point) -> str:
    return f"no: {point.why}" if point.why else "no"


def _row(label: str, offered: float | None, stretch: Any) -> list[str]:
    share = stretch.error_share
    errors = "-" if share is None else "0" if not share else f"{share:.2%}"
    asked = "-" if offered is None else f"{offered:,.4g}/s" if offered < 1000 else f"{offered:,.0f}/s"
    quantiles = [stretch.quantile(q) for _, q in SHOWN]
    shown = ["-" if each is None else milliseconds(each) for each in quantiles]
    answered = f"{stretch.answered_per_s:,.{1 if stretch.answered_per_s < 100 else 0}f}/s"
    return [label, asked, answered, errors, *shown]


def _server(found: object) -> str:
    if not isinstance(found, Mapping) or not found.get("name"):
        return ""
    return f"at {found['name']} {found.get('version', '')}".strip()


def _ms(seconds: float | None) -> float:
    return float("nan") if seconds is None else seconds * 1e3


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        try:
            Path(path).expanduser().write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"{str(path)!r} cannot be written ({error.strerror}); the figures are still here"
            ) from None
    return text
