"""Finished figures: what is drawn, that the page's theme is left alone, and that a notebook stays light."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.loadtest.runs import recording, run
from workbench.client.model_card import described
from workbench.client.palette import EITHER, WORDS
from workbench.client.plotly_figures import MISSING, plain, short
from workbench.client.plots import latencies, waterfall
from workbench.client.slow_requests import COLOURS
from workbench.client.version_comparison import VersionComparison
from workbench.core.description import Description, RunTimes
from workbench.core.histogram import SERVICE, Histogram
from workbench.core.model import ModelState, ModelStatus
from workbench.errors import InvalidInput
from workbench.loadtest.analysis.compare import compare
from workbench.loadtest.patterns import Users
from workbench.loadtest.report.charts import unbeaten
from workbench.loadtest.report.report import Report
from workbench.loadtest.store.run import Point, Run, run_of_series

LONG = "m" * 128
HOSTILE = "<b>bold</b>"


def slow_request(seconds: float) -> Mapping[str, Any]:
    stages = dict.fromkeys(COLOURS, seconds / len(COLOURS))
    return {"duration_s": seconds, "stages_s": stages, "rows": 1, "batch_size": 4, "pipeline": ()}


def card(*times: RunTimes, name: str = "digits") -> Any:
    return described(Description(ModelStatus(name, "1", ModelState.READY), run_times=times))


T_OF_B = RunTimes(((64,),), {1: 1e-4, 8: 2e-4, 64: 1e-3})


def compared() -> Any:
    slower = run(200.0, 20.0, latency_s=1e-2, seed=1)
    return compare(replace(run(200.0, 20.0), id="digits-1"), replace(slower, id="digits-2"))


def swept(rates_and_p99s: Mapping[str, tuple[int, float]]) -> Run:
    points = []
    for number, (label, (rate, latency_s)) in enumerate(rates_and_p99s.items()):
        each = run(float(rate), 4.0, pattern=Users(8), latency_s=latency_s, started_at=1.8e9 + 7 * number, marks=())
        points.append((Point(label, 0.0, each.whole, {"max_batch_size": number}), each))
    return run_of_series("sweep", recording(pattern=Users(8)).plan, points, best=0)


SWEPT = {"batch=1": (100, 4e-3), "batch=8": (200, 6e-3), "batch=16": (150, 2e-2), "batch=64": (300, 3e-2)}


def histogram(milliseconds: float) -> Mapping[str, int]:
    found: Mapping[str, int] = Histogram.of(SERVICE, np.full(50, milliseconds / 1e3)).encode()["buckets"]
    return found


FIGURES = {
    "report": lambda: Report(run()).plot(),
    "timeline": lambda: Report(run()).plot("latency"),
    "stages": lambda: Report(run()).plot("stages"),
    "sweep": lambda: Report(swept(SWEPT)).plot(),
    "compare": lambda: compared().plot(),
    "t(b)": lambda: card(T_OF_B, name=LONG).plot(),
    "latencies": lambda: latencies(
        [(LONG, "1", histogram(3)), (LONG, "2", histogram(9))], "Calls by how long they took"
    ),
    "slowest": lambda: waterfall(LONG, [slow_request(1 / each) for each in range(1, 40)], COLOURS, lambda _: ""),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_kept_light_and_leaves_the_page_its_theme(name: str) -> None:
    """Ten of them are a few hundred kB: without Plotly's template, library and a page's own colours."""
    found = FIGURES[name]()
    text = found.to_json()
    assert len(text) < 40_000
    assert "<script" not in text and "cdn" not in text
    layout = json.loads(text)["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert layout["font"]["color"] == WORDS
    assert len(json.dumps(layout["template"])) < 100, "Plotly's own template names colours and is 7 kB"
    assert len(layout["title"]["text"]) < 100, "a long name ends in an ellipsis"


@pytest.mark.parametrize("name", FIGURES)
def test_colours_are_those_of_the_palette(name: str) -> None:
    inks = set(EITHER.values()) | {WORDS}
    drawn = json.loads(FIGURES[name]().to_json())["data"]
    used = {
        part["color"]
        for trace in drawn
        for part in (trace.get("line", {}), trace.get("marker", {}))
        if "color" in part and not part["color"].startswith("rgba")
    }
    assert used and used <= inks


def test_a_kept_notebook_has_the_figure_as_data_alone() -> None:
    """In a kernel, what a cell keeps of a figure is its data: no HTML, and so no plotly.js of 4 MB in each."""
    code = (
        "from unittest.mock import patch; import plotly.io as pio; pio.renderers.default = 'plotly_mimetype'; "
        "from tests.client.test_plots import FIGURES; "
        "print([*FIGURES['report']()._repr_mimebundle_()])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['application/vnd.plotly.v1+json']"


def test_versions_without_calls_take_no_colour_of_those_with_some() -> None:
    none: Mapping[str, int] = {}
    alone = latencies([("idle", "1", none), ("busy", "1", histogram(3)), ("idle", "2", none)], "title").to_dict()[
        "data"
    ]
    assert [(each["name"], each["line"]["color"], each["fill"]) for each in alone] == [
        ("busy, version 1", EITHER["blue"], "tozeroy")
    ]


def test_the_time_of_a_run_is_drawn_by_its_rows_and_the_best_size_is_named() -> None:
    found = card(T_OF_B).plot().to_dict()
    (line,) = found["data"]
    assert list(line["x"]) == [1, 8, 64]
    assert list(line["y"]) == pytest.approx([0.1, 0.2, 1.0])
    assert [each["text"] for each in found["layout"]["annotations"]] == ["64 rows: 64,000 rows/s"]
    with pytest.raises(InvalidInput, match="no run times by batch size were measured of digits, version 1"):
        card().plot()


def test_a_comparison_is_drawn_as_ratios_with_their_intervals() -> None:
    found = compared()
    drawn = {trace["y"][0]: trace for trace in found.plot().to_dict()["data"]}
    assert list(drawn) == [each.name for each in found.ratios]
    p99 = drawn["p99"]
    assert p99["x"][0] == pytest.approx(found["p99"].ratio)
    assert p99["marker"]["color"] == EITHER["red"], "the second is slower"
    assert p99["x"][0] - p99["error_x"]["arrayminus"][0] == pytest.approx(found["p99"].low)
    with pytest.raises(InvalidInput, match="nothing can be compared"):
        compare(replace(run(), points=swept(SWEPT).points), run()).plot()


def test_two_versions_are_drawn_by_their_calls_or_by_the_ratio_of_their_times() -> None:
    by_rows = VersionComparison("m", ("1", "2"), "", [], ratio=(0.9, 0.85, 0.95))
    (dot,) = by_rows.plot().to_dict()["data"]
    assert dot["x"] == [0.9] and dot["marker"]["color"] == EITHER["green"]
    with pytest.raises(InvalidInput, match="neither version of m was called"):
        VersionComparison("m", ("1", "2"), "", []).plot()


def test_of_a_sweep_the_settings_that_no_other_beats_are_joined() -> None:
    found = swept(SWEPT)
    assert [point.label for point in unbeaten(found.points)] == ["batch=1", "batch=8", "batch=64"]
    front = Report(found).plot().to_dict()["data"][-1]
    assert front["name"] == "none is better in both" and front["line"]["dash"] == "dot"
    assert len(front["x"]) == 3
    failed = [replace(each, held=each.label != "batch=8") for each in found.points]
    assert [point.label for point in unbeaten(failed)] == ["batch=1", "batch=16", "batch=64"]


def test_a_report_plots_what_says_most() -> None:
    assert Report(run()).plot().layout.title.text == "Latency by percentile"
    assert Report(swept(SWEPT)).plot().layout.title.text == "Throughput and latency"
    from workbench.loadtest.store.records import Records

    with pytest.raises(InvalidInput, match="nothing was asked"):
        Report(run(rows=Records.of(), server=(), marks=())).plot()


def test_names_are_shown_as_they_are() -> None:
    assert plain(HOSTILE) == "&lt;b&gt;bold&lt;/b&gt;"
    assert short(LONG).endswith("…") and len(short(LONG)) == 24


def test_without_plotly_one_message_has_the_line_to_install_it() -> None:
    code = (
        "import sys; sys.modules['plotly'] = sys.modules['plotly.graph_objects'] = None\n"
        "from tests.loadtest.runs import run; from workbench.loadtest.report.report import Report\n"
        "from workbench.errors import Unsupported\n"
        "try: Report(run()).plot()\n"
        "except Unsupported as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == MISSING
    assert 'pip install "plotly>=6"' in MISSING
