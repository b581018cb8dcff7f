"""The card of one model that `show` returns, as text, tables and DataFrames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.client.formatting import counted, escape, megabytes, milliseconds
from workbench.client.results import Tabular
from workbench.client.summary import Card, model_card
from workbench.client.table import Column, Table
from workbench.core.description import Description, Graph, RunTimes
from workbench.core.provenance import AnswerCheck
from workbench.core.runtime import runtime_of_platform
from workbench.errors import InvalidInput
from workbench.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

OUTPUT_CHECK = ("output", "rows", "max |diff|", "of its largest value", "rows over the tolerance", "flips", "NaN")

MOST_OPERATORS = 6
"""Most operators in the text; the table has them all."""


@dataclass(frozen=True, slots=True, repr=False)
class ModelCard(Tabular, Card):
    """The result of `show`: facts by name, such as `card["device"]`, and tables as DataFrames."""

    description: Description

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per operator: its nodes in the file, and those of each execution provider after the runtime
        has simplified the graph."""
        import pandas as pd

        columns = _operators(self.description)
        frame = pd.DataFrame(columns, dtype="Int64").fillna(0).astype(int)
        return frame.rename_axis("operator").sort_values([*columns][:1], ascending=False, kind="stable")

    @property
    def run_times(self) -> pd.DataFrame:
        """t(b), one row per measured batch size: shape, rows, seconds of one run, rows per second."""
        import pandas as pd

        rows = [
            {"shape": _shape(each), "rows": size, "run_s": seconds, "rows_per_s": size / seconds}
            for each in self.description.run_times
            for size, seconds in each.run_s.items()
        ]
        return pd.DataFrame(rows, columns=["shape", "rows", "run_s", "rows_per_s"])

    def plot(self) -> go.Figure:
        """Plot t(b), the time of one run by the rows of its batch, as a Plotly figure.

        Raises InvalidInput where nothing was measured, as of a model that is not batched.
        """
        from workbench.client.plots import run_times

        status, times = self.description.status, [each for each in self.description.run_times if each.run_s]
        if not times:
            raise InvalidInput(
                f"no run times by batch size were measured of {status.name}, version {status.version}: they are "
                "measured at warm-up, of models that are batched"
            )
        return run_times(status.name, times)

    def _repr_html_(self) -> str:
        card = Card._repr_html_(self)  # slots=True replaces the class, so a bare super() would refer to the old one
        folded = "".join(
            f"<details><summary>{escape(title)}</summary>{each}</details>" for title, each in self._tables()
        )
        return f"<div>{card}{folded}</div>"

    def _tables(self) -> Iterator[tuple[str, str]]:
        found = self.description.status.provenance
        if found is not None and found.check is not None and found.check.outputs:
            yield "answers beside the original's", _numbers(OUTPUT_CHECK, _output_checks(found.check))
        columns = _operators(self.description)
        names = dict.fromkeys(name for nodes in columns.values() for name in nodes)
        rows = [[name, *(str(nodes.get(name, 0)) for nodes in columns.values())] for name in names]
        if rows:
            yield "operators", _numbers(["operator", *columns], rows)
        for each in self.description.run_times:
            rows = [[str(size), _time(seconds), f"{size / seconds:,.0f}"] for size, seconds in each.run_s.items()]
            shape = _shape(each)
            table = Table(
                [Column(title, number=True) for title in ("rows of a batch", "one run", "rows/s")], rows
            ).html()
            yield "run times" + (f" of rows of shape {shape}" if shape else ""), table


def _numbers(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of names, and of numbers for each."""
    return Table([heads[0], *(Column(title, number=True) for title in heads[1:])], rows).html()


def _output_checks(check: AnswerCheck) -> list[list[str]]:
    return [
        [
            each.name,
            f"{each.rows:,}",
            "" if each.largest is None else f"{each.largest:.2g}",
            "" if each.relative is None else f"{each.relative:.2g}",
            f"{each.over:,}",
            f"{each.flips:,}",
            f"{each.nan:,}",
        ]
        for each in check.outputs
    ]


def markdown_card(description: Description) -> str:
    """The card of an exported file, as Markdown: what it is, where it came from, how its answers were checked."""
    status = description.status
    found = status.provenance
    card = described(description)
    lines = [f"# {visible(status.name)}", ""]
    shown = (
        "exported from",
        "export",
        "answers",
        "inputs",
        "outputs",
        "classes",
        "written by",
        "opset",
        "parameters",
        "digest",
    )
    lines += [f"- **{name}**: {_plain(card.facts[name])}" for name in shown if card.facts.get(name)]
    if found is not None and found.check is not None and found.check.outputs:
        rows = [list(OUTPUT_CHECK), ["---"] * len(OUTPUT_CHECK), *_output_checks(found.check)]
        lines += ["", *("| " + " | ".join(map(_plain, row)) + " |" for row in rows)]
    return "\n".join([*lines, ""])


def _plain(value: object) -> str:
    """As text of one line in Markdown, where nothing of it is markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", visible(str(value)))


def described(description: Description) -> ModelCard:
    card = model_card(description.status)
    return ModelCard(card.title, {**card.facts, **dict(_facts(description))}, description)


def _facts(description: Description) -> Iterator[tuple[str, str]]:
    graph = description.graph
    if graph is not None:
        yield "written by", graph.producer
        yield "opset", _opsets(graph)
        yield "parameters", f"{graph.parameters:,}"
        yield "operators", f"{counted(sum(graph.operators.values()), 'node')} in the file: {_named(graph.operators)}"
    yield "on disk", megabytes(description.status.size_bytes)
    yield "size", ""  # the same
    if description.memory_bytes is not None:
        grown = megabytes(description.memory_bytes)
        yield "in memory", f"about {grown}: by so much the service grew when it loaded it"
    elif description.placement:
        yield "in memory", "not known: other models were loaded at the same time, or freed memory was used again"
    if description.placement:
        yield "runs on", _placed(description)
    if description.run_times:
        yield "run times", _run_times(description.run_times[-1])


def _opsets(graph: Graph) -> str:
    own = [f"{graph.opsets['ai.onnx']}"] if "ai.onnx" in graph.opsets else []
    others = [f"{domain} {version}" for domain, version in graph.opsets.items() if domain != "ai.onnx"]
    return ", ".join([*own, *others]) + (f" (IR version {graph.ir_version})" if graph.ir_version else "")


def _named(operators: Mapping[str, int]) -> str:
    most = sorted(operators.items(), key=lambda item: -item[1])
    named = ", ".join(f"{count} {name}" for name, count in most[:MOST_OPERATORS])
    others = sum(count for _, count in most[MOST_OPERATORS:])
    return named + (f", {others} others" if others else "")


def _placed(description: Description) -> str:
    placement = description.placement
    left = f"left once {runtime_of_platform(description.status.platform).title} had simplified the graph"
    counts = {provider: sum(operators.values()) for provider, operators in placement.items()}
    if len(counts) == 1:
        ((provider, count),) = counts.items()
        return f"{_short(provider)}: all {counted(count, 'node')} {left}"
    most = max(counts, key=lambda provider: counts[provider])
    others = [
        f"{_short(provider)}: {counts[provider]} ({_named(operators)})"
        for provider, operators in placement.items()
        if provider != most
    ]
    return f"{_short(most)}: {counts[most]} of the {counted(sum(counts.values()), 'node')} {left}; {'; '.join(others)}"


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


def _run_times(times: RunTimes) -> str:
    if not times.run_s:
        return ""
    best = max(times.run_s, key=lambda size: size / times.run_s[size])
    shown = [f"{counted(size, 'row')} {_time(times.run_s[size])}" for size in dict.fromkeys((min(times.run_s), best))]
    return f"{', '.join(shown)}, the most rows a second ({best / times.run_s[best]:,.0f})"


def _time(seconds: float) -> str:
    return milliseconds(seconds) if seconds >= 1e-4 else f"{seconds * 1e6:.0f} µs"


def _operators(description: Description) -> dict[str, Mapping[str, int]]:
    """Return column -> operator -> nodes."""
    columns: dict[str, Mapping[str, int]] = {}
    if description.graph is not None:
        columns["in the file"] = description.graph.operators
    return {**columns, **description.placement}


def _shape(times: RunTimes) -> str:
    return " ".join(str(list(shape)) for shape in times.shape)
