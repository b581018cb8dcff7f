from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.loadtest.runs import recording, rows_of, run
from workbench.errors import InvalidInput, StorageError
from workbench.loadtest.analysis.knee import knee
from workbench.loadtest.patterns import Stairs, Users
from workbench.loadtest.report.charts import MOST_POINTS, Axis, Breakdown, Chart, Series, charts, gathered, knee_of
from workbench.loadtest.report.plotly_charts import figure
from workbench.loadtest.report.report import Report
from workbench.loadtest.report.svg import svg
from workbench.loadtest.store.records import WARM_UP, Records
from workbench.loadtest.store.run import Point, Run, RunState, decode, run_of, run_of_series


def stairs(**changes: object) -> Run:
    """100 to 600 requests/s in steps of 100 for 4 s each; over 500 the queue grows."""
    parts = []
    for number in range(6):
        rate = 100 * (number + 1)
        due = 1 + 4 * number + np.arange(0, 4, 1 / rate)
        latency = 3e-3 / (1 - min(rate / 620, 0.97)) * np.random.default_rng(number).lognormal(0, 0.3, len(due))
        parts.append(rows_of(due, latency + (number == 5) * (due - due[0]) * 0.2, phase=number))
    return run(pattern=Stairs(100, 100, 4.0), duration_s=24.0, rows=Records.joined(parts), **changes)


def frozen() -> Run:
    """300 requests/s; for 1 s of every 5 nothing is answered, and the connection was free for one of them."""
    due = 1 + np.arange(0, 20, 1 / 300)
    into = (due - 1) % 5
    wait = np.where((into >= 2) & (into < 3), 3 - into, 0.0)
    return run_of(recording(300.0, 20.0, rows=rows_of(due, wait + 4e-3, wait=wait)))


# The words


def test_one_sentence_says_what_a_rate_costs() -> None:
    assert Report(run()).sentence == (
        "digits takes 200 requests/s with p99 12.3 ms: half were answered within 4.9 ms, the slowest took 17.0 ms."
    )


def test_a_rate_that_is_too_high_is_said_to_be_so() -> None:
    due = 1 + np.arange(0, 10, 1 / 200)
    said = Report(run(rows=rows_of(due, 5e-3 + (due - 1) * 0.5))).sentence
    assert said.startswith("digits does not take 200 requests/s: 133 requests/s were answered and the queue grew")


def test_stairs_tell_the_highest_that_held_and_what_broke_next() -> None:
    report = Report(stairs())
    assert report.sentence.startswith("digits takes 500 requests/s with p99 ")
    assert report.sentence.endswith("; at 600/s the queue grew without bound.")
    assert "The curve turns at 500/s" in repr(report)
    assert report.points.loc["600/s", "held"] == np.False_
    assert report.points.loc["600/s", "why"].startswith("a queue grew")


def test_a_search_tells_the_rate_that_holds_and_what_the_next_one_broke() -> None:
    runs = [run(rate, latency_s=latency, slo="p99<20ms") for rate, latency in ((100.0, 5e-3), (200.0, 1e-2))]
    points = [
        (Point(f"{rate}/s", rate, each.whole, verdicts=each.verdicts, held=each.held), each)
        for rate, each in zip((100, 200), runs, strict=True)
    ]
    report = Report(run_of_series("search", recording(slo="p99<20ms").plan, points, best=0))
    assert "digits takes 100 requests/s with p99<20ms: p99 was" in report.sentence
    assert "at 200/s p99<20ms does not hold: 24" in report.sentence


def probes(*found: tuple[float, Run, str], best: int | None, slo: str = "p99<20ms", reason: str = "") -> Report:
    """A search with these tests: rate, run, and why it failed."""
    points = [
        (Point(f"{rate:g}/s", rate, each.whole, {}, each.verdicts, not why, each.limit, why), each)
        for rate, each, why in found
    ]
    return Report(run_of_series("search", recording(slo=slo).plan, points, best, reason))


def test_each_row_of_a_search_says_why_it_does_not_hold() -> None:
    good, slow = (run(200.0, latency_s=latency, slo="p99<20ms") for latency in (4e-3, 1e-2))
    report = probes((100.0, good, ""), (200.0, slow, "p99 24ms, in second 3 of 5"), best=0)
    head, first, second = repr(report).splitlines()[2:5]
    assert head.split()[0] == "asked" and head.endswith("holds"), "the label would be the rate again"
    assert first.endswith("yes") and second.endswith("no: p99 24ms, in second 3 of 5")
    assert report.points["why"].tolist() == ["", "p99 24ms, in second 3 of 5"]
    assert report.held


def test_a_search_says_nothing_twice() -> None:
    good, slow = (run(200.0, latency_s=latency, slo="p99<20ms") for latency in (4e-3, 1e-2))
    said = repr(probes((100.0, good, ""), (200.0, slow, "p99 24ms"), best=0))
    assert said.count("p99<20ms") == 2, "in what was found, and in what broke next"
    assert "p99<20ms holds" not in said and "errors<1% holds" not in said
    promised = run(200.0, latency_s=4e-3, slo="p99<20ms,rate>400")
    assert "rate>400/s does not hold: 200/s." in repr(probes((200.0, promised, ""), best=0))


def test_a_search_that_found_nothing_has_failed() -> None:
    slow = run(200.0, latency_s=1e-2, slo="p99<20ms")
    report = probes((200.0, slow, "p99 24ms"), (100.0, slow, "p99 24ms"), best=None, reason="not even 100/s held")
    assert report.sentence.startswith(
        "digits does not hold p99<20ms even at 100 requests/s: p99<20ms does not hold: 24"
    )
    assert not report.held
    assert repr(report).count("p99<20ms does not hold") == 1
    well = run(200.0, latency_s=4e-3, slo="p99<20ms")
    assert not probes((100.0, well, "it held once, but not again"), best=None).held, "though its last bounds held"


def test_a_late_generator_leaves_unknown_what_the_model_holds() -> None:
    late = run(200.0, latency_s=1e-2, slo="p99<20ms", limit="the load generator was the limit: 1 % left 9 ms late")
    why = "the load generator is the limit already at the lowest rates, so nothing is known of the server"
    report = probes((200.0, late, "late generator"), (100.0, late, "late generator"), best=None, reason=why)
    assert report.sentence == (
        "Whether digits holds p99<20ms is not known: the load generator was the limit in each of 2 tests, "
        "down to 100 requests/s."
    )
    said = repr(report)
    assert "does not hold" not in said and why not in said
    assert said.count("1 % left 9 ms late") == 1


def test_a_curve_is_said_to_turn_only_below_the_answer_of_a_search() -> None:
    flat = [run(200.0, latency_s=4e-3, seed=seed) for seed in range(5)]
    report = probes(*((100.0 * (at + 1), each, "") for at, each in enumerate(flat)), best=4)
    assert "The curve turns" not in repr(report) and knee_of(report.run) is None
    steep = [run(200.0, latency_s=latency) for latency in (4e-3, 4e-3, 4e-3, 4e-3, 0.1)]
    found = probes(*((100.0 * (at + 1), each, "" if at < 4 else "p99") for at, each in enumerate(steep)), best=3)
    assert knee_of(found.run) is not None
    assert "The curve turns" not in repr(found), "its first line names the same rate"


def test_the_generators_limit_comes_first() -> None:
    report = Report(run(limit="the load generator was the limit: it used 97% of its core"))
    assert repr(report).splitlines()[0] == "The load generator was the limit: it used 97% of its core."
    assert "digits takes 200 requests/s" in repr(report)


def test_what_counting_from_the_sending_would_have_hidden_is_told() -> None:
    assert "p99 would be 4.0 ms instead of 95" in repr(Report(frozen()))
    assert "would be" not in repr(Report(run()))


def test_errors_are_counted_by_kind_with_the_first_ones_words() -> None:
    rows = Records.joined([rows_of(np.arange(1, 11, 0.01), 5e-3), rows_of([2.0] * 20, 10.0, outcome="timeout")])
    said = repr(Report(run(rows=rows, examples={"timeout": "no answer within 10 s"})))
    assert "2.0% of the requests failed (20 timeout); the first said: no answer within 10 s." in said


def test_a_server_that_went_away_or_stood_still_is_told_with_the_time() -> None:
    due = 1 + np.arange(0, 10, 1 / 200)
    well, gone, again = (due < 5), (due >= 5) & (due < 8), due >= 8
    parts = [rows_of(due[well], 4e-3), rows_of(due[gone], 1e-3, outcome="connection")]
    assert "Nothing was answered from 4 to 7 s." in repr(
        Report(run(rows=Records.joined([*parts, rows_of(due[again], 4e-3)])))
    )
    parts.append(rows_of(due[again], 1e-3, outcome="connection"))
    said = repr(Report(run(pattern=Users(8), rows=Records.joined(parts))))
    assert "Nothing was answered from 4 s on." in said
    assert said.splitlines()[0].endswith("; other requests failed.")
    assert "Nothing was answered" not in repr(Report(run()))


def test_nothing_but_errors_is_said_to_be_so() -> None:
    rows = rows_of(np.arange(1, 11, 0.1), 1e-3, outcome="connection")
    assert Report(run(rows=rows)).sentence == "digits answered none of 100 requests: 100 connection."
    assert "ended before its first request" in Report(run(rows=Records.of(), ended="cancelled")).sentence


def test_users_are_no_rate() -> None:
    report = Report(run(pattern=Users(32)))
    assert report.sentence.startswith("With 32 users digits answers 200 requests/s, with p99")
    assert "left within" not in repr(report)


def test_a_run_that_was_stopped_says_so() -> None:
    report = Report(run(ended="cancelled", reason="stopped after 3 s", measured_s=3.0))
    assert "This run was cut short: stopped after 3 s; the figures are those until then." in repr(report)
    assert "still under way" in repr(Report(run(state=RunState.RUNNING)))


# The frames


def test_df_has_a_row_a_second_with_the_services_figures() -> None:
    frame = Report(run()).df
    assert frame.index.tolist() == [*range(-1, 10), 10][: len(frame)]
    assert frame["warm_up"].sum() == 1
    assert frame.loc[3.0, "due"] == 200
    assert frame.loc[3.0, "rows_a_batch"] == 2.0
    assert frame.loc[3.0, "queue_ms"] == pytest.approx(1.25)
    assert frame.loc[3.0, "p50_ms"] == pytest.approx(5, rel=0.2)


def test_requests_are_there_where_the_test_was_run_and_nowhere_else() -> None:
    made = recording()
    frame = Report(run_of(made), made.rows).requests
    assert len(frame) == len(made.rows)
    assert frame["warm_up"].sum() == (made.rows.phase == WARM_UP).sum()
    assert (frame["outcome"] == "ok").all()
    assert frame["latency_s"].iloc[-1] == pytest.approx(made.rows.latency_s[-1])
    with pytest.raises(InvalidInput, match="kept in memory only"):
        _ = Report(run()).requests


# The drawings


def test_every_chart_is_drawn_with_plotly_and_as_svg() -> None:
    for each in (stairs(), frozen(), run()):
        report = Report(each)
        assert {"percentiles", "rate", "latency", "stages", "batch sizes"} <= set(report.charts)
        for name, drawn in report.figures.items():
            assert json.loads(drawn.to_json())["data"], name
            assert ElementTree.fromstring(svg(report.charts[name])).tag.endswith("svg")
    assert "curve" in Report(stairs()).charts
    with pytest.raises(InvalidInput, match="no figure 'pie'; there are percentiles"):
        Report(run()).figure("pie")


def test_the_percentile_plot_reads_the_histogram_on_an_axis_of_one_over_one_minus_p() -> None:
    chart = Report(run()).charts["percentiles"]
    assert isinstance(chart, Chart)
    assert chart.x.log
    assert [text for _, text in chart.x.ticks] == ["0%", "50%", "90%", "99%", "99.9%"]
    line = chart.series[0]
    at_99 = dict(zip(line.x, line.y, strict=True))[100.0]
    assert at_99 == pytest.approx(1e3 * (run().whole.quantile(0.99) or 0))


def test_long_timelines_are_gathered_by_merging_never_by_averaging() -> None:
    seconds = run(20.0, 700.0).seconds
    drawn, every = gathered(seconds)
    assert (len(drawn) <= MOST_POINTS, every) == (True, 3)
    assert sum(each.due for each in drawn) == sum(each.due for each in seconds)
    three = seconds[0].latency + seconds[1].latency + seconds[2].latency
    assert drawn[0].latency.quantile(0.99) == three.quantile(0.99)


def test_the_stages_add_up_to_the_mean_latency() -> None:
    chart = Report(run()).charts["stages"]
    assert isinstance(chart, Breakdown)
    whole = run().whole
    assert sum(part for _, part, _ in chart.parts) == pytest.approx(1e3 * (whole.latency.mean_s or 0))
    assert [what for what, _, _ in chart.parts][:2] == ["unsent", "network"]


def test_what_says_nothing_of_its_stages_is_one_stage() -> None:
    chart = Report(run(server=())).charts["stages"]
    assert isinstance(chart, Breakdown)
    assert [what for what, _, _ in chart.parts] == ["unsent", "server"]


def test_the_knee_of_a_queue_is_before_its_wall_and_a_line_has_none() -> None:
    load = np.linspace(0.05, 0.95, 19)
    assert knee(load.tolist(), (1 / (1 - load)).tolist()) in range(13, 17)
    assert knee(load.tolist(), (3 * load).tolist()) is None
    assert knee([1, 2, 3], [1, 1, 9]) is None
    assert knee([1, 2, 2, 3], [1, 1, 1, 9]) is None
    assert knee([1, 2, 3, 4, 5], [5.0, 5.1, 4.9, 5.0, 5.3]) is None, "scatter does not turn"
    assert knee([1, 2, 3, 4, 5], [5.0, 5.1, 5.2, 5.3, 30.0]) == 3
    found = stairs()
    at = knee_of(found)
    assert at is not None
    assert found.points[at].label == "500/s"


def test_a_run_of_nothing_has_no_charts_and_still_shows_itself() -> None:
    nothing = Report(run(rows=Records.of(), server=(), marks=()))
    assert charts(nothing.run) == ()
    assert "<table" in nothing._repr_html_()
    assert nothing.df.empty


# Showing and handing on


class Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [tag] * (tag in ("script", "link", "img", "iframe"))
        self.found += [name for name, _ in attributes if name in ("src", "href")]


def test_the_page_stands_alone_and_is_light(tmp_path: Path) -> None:
    report = Report(stairs(target={"version": "<script>alert(1)</script>"}))
    text = report.to_html(tmp_path / "report.html")
    parser = Fetched()
    parser.feed(text)
    assert parser.found == []
    assert len(text) < 60_000
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text


def test_json_brings_the_run_back(tmp_path: Path) -> None:
    report = Report(run())
    assert decode(report.to_json(tmp_path / "run.json").encode()) == report.run
    assert decode((tmp_path / "run.json").read_bytes()) == report.run
    with pytest.raises(StorageError, match="figures are still here"):
        report.to_json(tmp_path / "nowhere" / "run.json")


def test_a_report_shows_itself_as_text_and_as_html() -> None:
    bundle = Report(run())._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/html"].count("<svg") == 5


def test_a_report_needs_plotly_and_pandas_only_when_asked_for_them() -> None:
    code = (
        "import sys; from tests.loadtest.runs import run; from workbench.loadtest.report.report import Report; "
        "r = Report(run()); repr(r), r._repr_html_(), r.to_html(); print({'plotly', 'pandas'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def swept(settings: int = 4) -> Run:
    """Tests of 4 s with different largest batches, a pause of 2 s between them."""
    points = []
    for number in range(settings):
        label = f"batch={1 << number}"
        each = run(pattern=Users(8), duration_s=4.0, seed=number, started_at=1_800_000_000.0 + 7 * number, marks=())
        point = Point(label, 0.0, replace(each.whole, duration_s=4.0 + number), {"max_batch_size": 1 << number})
        points.append((point, each))
    return run_of_series("sweep", recording(pattern=Users(8)).plan, points, best=0)


def test_settings_are_marks_with_their_names_and_no_line_leads_from_one_to_the_next() -> None:
    chart = Report(swept()).charts["curve"]
    drawn = svg(chart)
    assert drawn.count("<polyline") == drawn.count("dasharray") <= 1, "at most the line through the best"
    assert drawn.count("<circle") == 8
    assert all(f">batch={size}<" in drawn for size in (1, 2, 4, 8))
    traces = Report(swept()).figure("curve").to_dict()["data"]
    assert [trace["mode"] for trace in traces][:2] == ["markers+text", "markers"]


def test_between_the_tests_of_a_sweep_is_a_gap() -> None:
    chart = Report(swept()).charts["rate"]
    assert isinstance(chart, Chart)
    assert chart.series[0].y.count(None) == 3
    assert svg(chart).count("<polyline") == 4


def test_a_test_of_a_single_second_can_be_seen_between_its_gaps() -> None:
    series = Series("answered", (0.0, 0.5, 1.0, 1.5, 2.0), (5.0, None, 6.0, None, 7.0))
    chart = Chart("rate", "Requests a second", Axis("s"), Axis("requests/s"), (series,))
    assert svg(chart).count("<circle") == 3
    assert figure(chart).to_dict()["data"][0]["mode"] == "lines+markers"


def test_words_of_moments_do_not_lie_over_each_other() -> None:
    drawn = svg(Report(swept(40)).charts["rate"])
    assert drawn.count("stroke-dasharray") == drawn.count("<title>") == 40
    words = re.findall(r'<text x="([\d.]+)" y="(\d+).0"[^>]*>batch=\d+<', drawn)
    assert 3 < len(words) < 40
    for row in {y for _, y in words}:
        places = [float(x) for x, y in words if y == row]
        assert all(later - earlier > 30 for earlier, later in pairwise(places))


def test_words_below_an_axis_do_not_lie_over_each_other() -> None:
    sizes = {1: 50, 2: 20, 3: 5, 64: 25}
    second = recording().server[0]
    drawn = svg(Report(run(server=(replace(second, batch_sizes=sizes),))).charts["batch sizes"])
    assert ">1<" in drawn
    assert ">64<" in drawn
    assert ">2<" not in drawn
