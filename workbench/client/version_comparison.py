"""Compares two versions of a model: by the calls that they get, or by rows that both are asked."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workbench.client.client import AsyncClient
from workbench.client.formatting import counted, text_lines
from workbench.client.load_progress import LoadProgress
from workbench.client.predict import Predictor
from workbench.client.results import Rows
from workbench.client.table import Column, Table, heading_html, output_html
from workbench.core.durations import parse_seconds
from workbench.core.model import ModelStatus
from workbench.errors import InvalidInput
from workbench.versions.live_comparison import NOTHING, LiveComparison, VersionCounts, compare_live
from workbench.versions.output_agreement import OutputAgreement, agreement
from workbench.versions.sequential_test import LEAST_CALLS, LEAST_SECONDS, ShareDifference

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

LIVE_S: Final = 60.0
"""How long live traffic is watched where nothing is said."""

ROWS_S: Final = 5.0
"""How long both versions are asked rows for their times, where nothing is said."""

LEAST_PAIRS: Final = 30
"""Pairs of calls, whatever the time, so that a mean of them is nearly normal."""

LONGEST_S: Final = 3600.0

_TOO_LITTLE: Final = f"too little to tell: each needs {LEAST_CALLS} calls, over {LEAST_SECONDS} s"

_Z: Final = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a comparison."""

    figure: str
    first: str
    second: str
    difference: str
    """The interval of the difference, or of the ratio."""
    verdict: str
    """What it means, and whether chance explains it."""


class VersionComparison(Rows[Figure]):
    """Two versions of a model beside each other."""

    def __init__(
        self,
        model: str,
        versions: tuple[str, str],
        title: str,
        figures: Sequence[Figure],
        *,
        live: LiveComparison | None = None,
        outputs: tuple[OutputAgreement, ...] = (),
        ratio: tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__(figures)
        self.model = model
        self.versions = versions
        self.title = title
        self.live = live
        """Of live traffic; None where rows were given."""
        self.outputs = outputs
        """Of rows that were given: how the answers agree."""
        self.ratio = ratio
        """Of rows that were given: how many times as long a call of the second version takes, and the interval of 95 %
        of that."""

    def plot(self) -> go.Figure:
        """Plot, of live traffic, how long calls of either version took; of rows, the ratio of the times.

        Raises InvalidInput where neither was called.
        """
        from workbench.client.plotly_figures import short
        from workbench.client.plots import RatioBar, latencies, ratios

        if self.ratio is not None:
            middle, low, high = self.ratio
            hue = "red" if low > 1 else "green" if high < 1 else "grey"
            bar = RatioBar("time of a call", middle, low, high, hue, f"{middle:.2f}x ({low:.2f}x to {high:.2f}x)")
            first, second = (f"version {version}" for version in self.versions)
            return ratios(f"{short(self.model)}: ratio, with an interval of 95 %", [bar], second, first)
        found = () if self.live is None else (self.live.first, self.live.second)
        if not any(each.calls for each in found):
            raise InvalidInput(f"neither version of {self.model} was called, so there is nothing to plot")
        versions = [
            (self.model, version, each.latency.encode()["buckets"])
            for version, each in zip(self.versions, found, strict=True)
        ]
        return latencies(versions, "Calls by how long they took")

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per figure."""
        import pandas as pd

        return pd.DataFrame(self._cells(), columns=["figure", *self._columns(), "difference", "verdict"])

    def _columns(self) -> tuple[str, str]:
        first, second = self.versions
        return f"version {first}", f"version {second}"

    def _cells(self) -> list[list[str]]:
        return [[each.figure, each.first, each.second, each.difference, each.verdict] for each in self]

    def __repr__(self) -> str:
        return "\n".join([text_lines([self.title]), self._table().text()])

    def _repr_html_(self) -> str:
        return output_html(heading_html(self.title) + self._table().html())

    def _table(self) -> Table:
        values = (Column(title, number=True) for title in self._columns())
        return Table(("", *values, Column("", width_em=22), Column("", width_em=30)), self._cells())


def seconds_to_compare(value: float | str | None, otherwise: float) -> float:
    """The time of a comparison: seconds, or a text like "5m". Raises InvalidInput."""
    seconds = otherwise if value is None else parse_seconds("the time to compare for", value, ("s", "m", "h"))
    if not 0 < seconds <= LONGEST_S:
        raise InvalidInput(f"the time to compare for must be over 0 s and at most {LONGEST_S:.0f} s, got {seconds:g} s")
    return seconds


async def two_versions(client: AsyncClient, model: str, first: str, second: str) -> tuple[ModelStatus, ModelStatus]:
    """The two versions. Raises ModelNotFound, and InvalidInput where both are the same one."""
    one, other = await asyncio.gather(*(client.status(model, each) for each in (first, second)))
    if one.version == other.version:
        raise InvalidInput(f"{first} and {second} are both version {one.version} of {model!r}; compare two versions")
    return one, other


async def compare_traffic(
    client: AsyncClient, model: str, first: str, second: str, seconds: float, progress: LoadProgress
) -> VersionComparison:
    """Compare two versions by what they are called for in the next `seconds`."""
    one, other = await two_versions(client, model, first, second)
    progress.begin(f"watching the calls of {model} {one.version} and {other.version}", round(seconds), "second")
    counts: Sequence[tuple[VersionCounts, VersionCounts]] = ()
    async with aclosing(traffic(client, one, other, seconds)) as each_second:
        async for so_far in each_second:
            counts = so_far
            progress.advance(1)
    return compared_traffic(model, (one.version, other.version), counts)


async def traffic(
    client: AsyncClient, one: ModelStatus, other: ModelStatus, seconds: float
) -> AsyncGenerator[Sequence[tuple[VersionCounts, VersionCounts]], None]:
    """Yield each second what both did in each second so far, until `seconds` are over."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    counts: list[tuple[VersionCounts, VersionCounts]] = []
    async with aclosing(client.snapshots(1.0)) as snapshots:
        async for snapshot in snapshots:
            entries = {(each["name"], each["version"]): each for each in snapshot["models"]}
            counts.append((_counts(entries, one), _counts(entries, other)))
            yield counts
            if loop.time() >= ends - 0.5:
                return


def compared_traffic(
    model: str, versions: tuple[str, str], counts: Sequence[tuple[VersionCounts, VersionCounts]]
) -> VersionComparison:
    """What the counts of both in the same seconds tell, so far."""
    found = compare_live([each[0] for each in counts], [each[1] for each in counts])
    calls = f"{found.first.calls:,} and {counted(found.second.calls, 'call')}"
    title = f"{model}: version {versions[1]} beside version {versions[0]}, live for {len(counts)} s; {calls}"
    return VersionComparison(model, versions, title, list(_live_figures(found)), live=found)


async def compare_on_rows(
    client: AsyncClient,
    predictor: Predictor,
    model: str,
    first: str,
    second: str,
    rows: object,
    seconds: float,
    progress: LoadProgress,
) -> VersionComparison:
    """Compare two versions by their answers to `rows`, and by the times of calls with these rows, in turn."""
    one, other = await two_versions(client, model, first, second)
    versions = one.version, other.version
    progress.begin(f"asking {model} {versions[0]} and {versions[1]} all rows")
    answers = [await predictor.predict(model, rows, version=each) for each in versions]
    outputs = agreement(*answers)
    progress.begin("measuring calls in turn", round(seconds), "second")
    pairs = await _paired_times(predictor, model, versions, rows, seconds, progress)
    ratio = _ratio(pairs)
    count = max((each.rows for each in outputs), default=0)
    title = f"{model}: version {versions[1]} beside version {versions[0]} on {counted(count, 'row')}"
    figures = [*map(_agreement_figure, outputs), _time_figure(pairs, ratio)]
    return VersionComparison(model, versions, title, figures, outputs=outputs, ratio=ratio)


def _counts(entries: Mapping[tuple[str, str], Any], status: ModelStatus) -> VersionCounts:
    entry = entries.get((status.name, status.version))
    return NOTHING if entry is None else VersionCounts.of(entry)


async def _paired_times(
    predictor: Predictor,
    model: str,
    versions: tuple[str, str],
    rows: object,
    seconds: float,
    progress: LoadProgress,
) -> list[tuple[float, float]]:
    """Seconds of calls of the two versions with the same rows, one after the other, the first one in turn."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    pairs: list[tuple[float, float]] = []
    while loop.time() - began < seconds or len(pairs) < LEAST_PAIRS:
        turn = len(pairs) % 2
        took = [0.0, 0.0]
        for which in (turn, 1 - turn):
            answer = await predictor.predict(model, rows, version=versions[which])
            took[which] = answer.timings.wall_s
        pairs.append((took[0], took[1]))
        progress.advance(round(loop.time() - began) - progress.step.done)
    return pairs


def _ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """How many times as long the second takes: the geometric mean over the pairs, and its interval of 95 %."""
    logs = [math.log(second / first) for first, second in pairs]
    middle, within = statistics.fmean(logs), _Z * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - within), math.exp(middle + within)


def _live_figures(found: LiveComparison) -> list[Figure]:
    one, other = found.first, found.second
    if not one.calls and not other.calls:
        return [Figure("calls", "0", "0", "", "route some calls to both, or give rows to ask them")]
    figures = [_share_figure("errors", found.errors)]
    if found.slower_than_s is not None:
        slow = f"calls over {_shown(found.slower_than_s)}"
        figures.append(_share_figure(slow, found.slow))
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        figures.append(_times(name, one.latency.quantile(q), other.latency.quantile(q)))
    for stage in ("queue", "compute"):
        figures.append(_times(f"mean {stage}", one.stages_s.get(stage), other.stages_s.get(stage)))
    return figures


def _share_figure(name: str, difference: ShareDifference) -> Figure:
    first, second = _percent(difference.first), _percent(difference.second)
    if not difference.enough:
        return Figure(name, first, second, "", _TOO_LITTLE)
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f} points"
    if difference.larger or difference.smaller:
        more = "more" if difference.larger else "fewer"
        return Figure(name, first, second, interval, f"{more}; chance does not explain it")
    return Figure(name, first, second, interval, "no difference that chance would not explain")


def _times(name: str, first: float | None, second: float | None) -> Figure:
    ratio = f"{second / first:.2f}x" if first and second else ""
    return Figure(name, _shown(first), _shown(second), ratio, "")


def _time_figure(pairs: Sequence[tuple[float, float]], ratio: tuple[float, float, float]) -> Figure:
    middle, low, high = ratio
    first, second = (_shown(statistics.median(each[which] for each in pairs)) for which in (0, 1))
    if low > 1 or high < 1:
        verdict = f"{'slower' if low > 1 else 'faster'}; chance does not explain it"
    else:
        verdict = "no difference that chance would not explain"
    return Figure(f"median of {len(pairs)} calls", first, second, f"{middle:.2f}x ({low:.2f}x to {high:.2f}x)", verdict)


def _agreement_figure(output: OutputAgreement) -> Figure:
    if output.unlike:
        return Figure(output.name, "", "", "", output.unlike)
    said = []
    if output.largest is not None:
        said.append(f"largest difference {output.largest:.3g}")
        if output.relative:
            said.append(f"{100 * output.relative:.2g} % of the largest value")
    if output.nan:
        said.append(f"{counted(output.nan, 'row')} with NaN in one alone")
    if output.worst:
        said.append(f"the most in rows {', '.join(map(str, output.worst))}")
    if (interval := output.interval) is None:
        return Figure(output.name, "", "", "", "; ".join(said) or "equal")
    assert output.same is not None
    low, high = (100 * each for each in interval)
    share = f"same in {_percent(output.same / output.rows)} ({low:.1f} % to {high:.1f} %)"
    return Figure(
        output.name, "", "", share, "; ".join([f"{output.rows - output.same} of {output.rows} differ", *said])
    )


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if 0 < share < 0.1 else f"{100 * share:.1f} %"
