"""Compares two runs: the ratio of their figures, whether it could be chance (see `bootstrap`), and what differed in
their set-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from workbench.client.formatting import escape, milliseconds, text_lines
from workbench.client.palette import EITHER
from workbench.client.table import Cell, Column, Table, heading_html, output_html
from workbench.errors import InvalidInput
from workbench.loadtest.analysis.aggregate import Second
from workbench.loadtest.analysis.bootstrap import LEAST_SECONDS, block_length, interval, resampled
from workbench.loadtest.option_schema import DURATION
from workbench.loadtest.options import OPTIONS
from workbench.loadtest.store.run import Run, RunState
from workbench.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

BEYOND = 10
"""A percentile is left out unless this many requests lie beyond it in both runs."""

NOT_SHOWN = "no difference shown"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure of both runs."""

    name: str
    a: float
    """Seconds, or answers a second."""
    b: float
    low: float | None = None
    """The interval of `ratio`; None where the runs are too short for one."""
    high: float | None = None

    @property
    def ratio(self) -> float:
        """b / a."""
        return self.b / self.a if self.a else float("nan")

    @property
    def shown(self) -> bool:
        """Whether the interval excludes 1."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def better(self) -> bool:
        """Whether the second run is the better one, if a difference is shown."""
        return self.ratio > 1 if self.name == "requests/s" else self.ratio < 1

    def said(self) -> str:
        """`0.62 (0.55 to 0.70)`."""
        if self.low is None or self.high is None:
            return f"{self.ratio:.3g}"
        return f"{self.ratio:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was not the same when the two runs were made."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Shows itself as a table; `.df` is the same as a DataFrame."""

    a: Run
    b: Run
    ratios: tuple[Ratio, ...]
    differences: tuple[Difference, ...]
    cautions: tuple[str, ...] = ()
    """What weakens the comparison, each one sentence."""

    def __getitem__(self, name: str) -> Ratio:
        for each in self.ratios:
            if each.name == name:
                return each
        raise KeyError(f"{name!r}; there are {', '.join(each.name for each in self.ratios)}")

    @property
    def headline(self) -> str:
        """The answer in one line."""
        a, b = _name(self.a, "the first"), _name(self.b, "the second")
        several = [name for name, run in ((b, self.b), (a, self.a)) if run.points]
        if several:
            are = "is several tests" if len(several) == 1 else "are several tests each"
            return f"{b} against {a}: nothing can be compared, since {' and '.join(several)} {are}"
        if not self.ratios:
            return f"{b} against {a}: nothing can be compared, since one of them has no answers"
        if all(each.low is None for each in self.ratios):
            return f"{b} against {a}: too short to tell a difference from chance; {LEAST_SECONDS} s each are needed"
        shown = [each for each in self.ratios if each.shown]
        if not shown:
            return f"{b} against {a}: {NOT_SHOWN}"
        said = ", ".join(f"{each.name} {_by(each)}" for each in shown)
        rest = [each.name for each in self.ratios if not each.shown]
        return f"{b} against {a}: {said}" + (f"; {NOT_SHOWN} in {', '.join(rest)}" if rest else "")

    @property
    def df(self) -> pd.DataFrame:
        """A row a figure: a, b (ms, or requests/s), ratio, low, high, shown."""
        import pandas as pd

        rows = [
            {
                "a": _in_own_unit(each, each.a),
                "b": _in_own_unit(each, each.b),
                "ratio": each.ratio,
                "low": np.nan if each.low is None else each.low,
                "high": np.nan if each.high is None else each.high,
                "shown": each.shown,
            }
            for each in self.ratios
        ]
        index = pd.Index([_titled(each) for each in self.ratios], name="figure", dtype="str")
        return pd.DataFrame(rows, index=index, columns=["a", "b", "ratio", "low", "high", "shown"])

    def to_pandas(self) -> pd.DataFrame:
        return self.df

    def plot(self) -> go.Figure:
        """Plot the ratios with their intervals as a Plotly figure. Raises InvalidInput where nothing is compared."""
        from workbench.client.plots import RatioBar, ratios

        if not self.ratios:
            raise InvalidInput(self.headline)
        bars = [
            RatioBar(
                each.name,
                each.ratio,
                each.low,
                each.high,
                ("green" if each.better else "red") if each.shown else "grey",
                f"{_shown(each, each.b)} to {_shown(each, each.a)}, {each.said()}",
            )
            for each in self.ratios
        ]
        first, second = _name(self.a, "the first"), _name(self.b, "the second")
        return ratios("Ratios, with intervals of 95 %", bars, second, first)

    def __repr__(self) -> str:
        parts = [visible(self.headline)]
        if self.ratios:
            parts.append(self._ratio_table().text())
        if self.differences:
            parts.append(self._difference_table().text())
        else:
            parts.append("Nothing differed in the set-up.")
        return "\n\n".join([*parts, *([text_lines(self.cautions)] if self.cautions else [])])

    def _repr_html_(self) -> str:
        parts = [heading_html(self.headline)]
        if self.ratios:
            parts.append(self._ratio_table().html())
        if self.differences:
            parts.append(self._difference_table().html())
        else:
            parts.append("<small>Nothing differed in the set-up.</small>")
        parts += [f"<br><small>{escape(each)}</small>" for each in self.cautions]
        return output_html("".join(parts))

    def _ratio_table(self) -> Table:
        heads = (_name(self.a, "first"), _name(self.b, "second"), "ratio (95 % interval)")
        rows = [
            [each.name, _shown(each, each.a), _shown(each, each.b), each.said(), self._verdict(each)]
            for each in self.ratios
        ]
        return Table(["", *(Column(head, number=True) for head in heads), ""], rows)

    def _difference_table(self) -> Table:
        heads = (Column(_name(each, place), width_em=20) for each, place in ((self.a, "first"), (self.b, "second")))
        return Table(["what differed", *heads], [[each.what, each.a, each.b] for each in self.differences])

    @staticmethod
    def _verdict(each: Ratio) -> Cell | str:
        if each.low is None:
            return "too short to tell"
        if not each.shown:
            return NOT_SHOWN
        colour, word = (EITHER["green"], "better") if each.better else (EITHER["red"], "worse")
        return Cell(word, f'<span aria-hidden="true" style="color:{colour}">●</span> ')


def compare(a: Run, b: Run, *, seed: int = 0) -> Comparison:
    """Ratios of `b` to `a`. The same runs and seed give the same intervals."""
    seconds = {"a": _measured(a), "b": _measured(b)}
    few = min(len(found) for found in seconds.values())
    names = [
        name
        for name, q in QUANTILES.items()
        if all(sum(s.latency.count for s in found) * (1 - q) >= BEYOND - 1e-6 for found in seconds.values())
    ]
    cautions = _cautions(a, b)
    if not few or not all(any(s.latency.count for s in found) for found in seconds.values()):
        return Comparison(a, b, (), differences(a, b), cautions)
    found: dict[str, tuple[float | None, float | None]] = dict.fromkeys((*names, "requests/s"), (None, None))
    if few >= LEAST_SECONDS:
        random = np.random.default_rng(seed)
        qs = [QUANTILES[name] for name in names]
        (qa, ra), (qb, rb) = (resampled(seconds[which], qs, random) for which in "ab")
        blocks = few / block_length(few)
        for k, name in enumerate(names):
            found[name] = interval(qb[:, k] / qa[:, k], blocks)
        if (ra > 0).all():
            found["requests/s"] = interval(rb / ra, blocks)
    ratios = [Ratio(name, _seconds(a, QUANTILES[name]), _seconds(b, QUANTILES[name]), *found[name]) for name in names]
    ratios.append(Ratio("requests/s", a.whole.answered_per_s, b.whole.answered_per_s, *found["requests/s"]))
    return Comparison(a, b, tuple(ratios), differences(a, b), cautions)


def differences(a: Run, b: Run) -> tuple[Difference, ...]:
    """Differences in plan, model, server, machine and versions."""
    first, second = dict(_set_up(a)), dict(_set_up(b))
    return tuple(
        Difference(what, first.get(what, "-"), second.get(what, "-"))
        for what in dict.fromkeys([*first, *second])
        if first.get(what) != second.get(what)
    )


def _measured(run: Run) -> list[Second]:
    """The whole seconds of the measured part; none of a search or sweep, which has many rates."""
    if run.points:
        return []
    return [second for second in run.seconds if second.at_s >= 0 and second.at_s + 1 <= run.whole.duration_s + 1e-6]


def _set_up(run: Run) -> Iterator[tuple[str, str]]:
    plan = {name: value for name, value in run.plan.items() if name != "target"}
    yield from _flat("", {"kind": run.kind, **plan})
    parts = urlsplit(run.url)
    yield "model", run.model
    yield "address", f"{parts.scheme}://{parts.hostname}"  # ports change with each start
    yield from _flat("model ", run.target)
    yield from _flat("machine ", run.machine)
    yield from _flat("version of ", run.versions)


def _flat(prefix: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name} ", value)
        else:
            text = str(list(value) if isinstance(value, tuple) else value) or "-"
            yield (
                _WORDS.get(f"{prefix}{name}", f"{prefix}{name}"),
                text.removeprefix("sha256:")[:12] if name == "digest" else _cut(text),
            )


def _titles() -> Iterator[tuple[str, str]]:
    for option in OPTIONS.values():
        for name, label in zip(option.targets, option.labels, strict=True):
            title = label[:1].lower() + label[1:] + (", s" if option.type is DURATION else "")
            yield name, title
            yield f"pattern {name}", title


_WORDS = {
    **dict(_titles()),
    "pattern kind": "how requests come",
    "inputs kind": "inputs",
    "inputs rows": "rows per request",
    "inputs free_size": "size of free axes",
}
"""A field of the plan -> its name in the comparison."""


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cautions(a: Run, b: Run) -> tuple[str, ...]:
    found = []
    for run, name in ((a, _name(a, "the first")), (b, _name(b, "the second"))):
        if run.limit:
            found.append(f"Of {name}: {run.limit.rstrip('.')}.")
        if run.state is not RunState.DONE:
            found.append(f"{name} is {run.state}.")
        if run.points:
            found.append(f"{name} is a {run.kind} of several tests; compare the tests of one rate each.")
        if (share := run.whole.error_share or 0.0) > 0.01:
            found.append(f"{share:.1%} of the requests of {name} failed; the latencies are those of the others.")
    if a.open_loop != b.open_loop:
        found.append("One has users who wait, the other a rate: their latencies do not mean the same.")
    elif a.open_loop and _asked(a) != _asked(b):
        found.append("They were offered different loads, which alone changes latencies.")
    found.append("The intervals are of the scatter within the runs; what differs from run to run shows when repeated.")
    return tuple(found)


def _asked(run: Run) -> object:
    return run.plan.get("pattern")


def _seconds(run: Run, q: float) -> float:
    found = run.whole.quantile(q)
    assert found is not None  # only asked where there are answers
    return found


def _name(run: Run, otherwise: str) -> str:
    return run.id or otherwise


def _shown(each: Ratio, value: float) -> str:
    return f"{value:,.1f}" if each.name == "requests/s" else milliseconds(value)


def _in_own_unit(each: Ratio, value: float) -> float:
    return value if each.name == "requests/s" else value * 1e3


def _titled(each: Ratio) -> str:
    return each.name if each.name == "requests/s" else f"{each.name}_ms"


def _by(each: Ratio) -> str:
    """`38 % lower`, `2.4 times as high`."""
    if each.ratio >= 2:
        return f"{each.ratio:.2g} times as high"
    return f"{abs(each.ratio - 1):.0%} {'higher' if each.ratio > 1 else 'lower'}".replace("%", " %")
