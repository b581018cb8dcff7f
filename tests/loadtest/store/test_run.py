from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.loadtest.runs import recording, rows_of, run
from workbench.errors import InvalidInput, Unsupported
from workbench.loadtest.patterns import Stairs, Users
from workbench.loadtest.store.run import SCHEMA, Point, RunState, decode, encode, run_of, run_of_series


def test_a_run_comes_back_from_json_as_it_was() -> None:
    kept = run(slo="p99<20ms")
    assert decode(encode(kept)) == kept
    assert kept.whole.quantile(0.5) == pytest.approx(5e-3, rel=0.05)


def test_a_run_keeps_no_token() -> None:
    assert b"secret" not in encode(run())


def test_times_of_marks_and_of_the_service_count_from_the_measured_part() -> None:
    kept = run()
    assert kept.marks[0].at_s == 2.5
    assert kept.server[0].at_s == 1.0
    assert kept.seconds[0].at_s == -1.0


def test_the_services_own_figures_are_those_of_the_measured_part_weighted_by_requests() -> None:
    figures = run().server_figures()
    assert figures.requests == 2000
    assert figures.stages_s["queue"] == pytest.approx(5e-3 / 4)
    assert figures.rows_a_batch == 2.0


def test_a_minute_takes_few_kilobytes() -> None:
    assert len(encode(run(1000.0, 60.0))) < 150_000


def test_a_run_of_a_newer_form_is_refused_in_words() -> None:
    text = encode(run()).replace(f'"schema":{SCHEMA}'.encode(), f'"schema":{SCHEMA + 1}'.encode())
    with pytest.raises(Unsupported, match="kept by a newer version"):
        decode(text)
    with pytest.raises(InvalidInput, match="no run"):
        decode(b'{"schema": 1, "run": 5}')


def test_a_run_kept_while_patterns_were_called_attacks_is_read() -> None:
    kept = run(pattern=Users(8))
    text = encode(kept).replace(b'"pattern":{', b'"attack":{')
    assert b'"attack":{' in text
    assert decode(text) == kept
    assert not decode(text).open_loop


def test_what_a_newer_version_added_is_left_out() -> None:
    found = msgspec.json.decode(encode(run()))
    found["run"]["colour"] = "green"
    assert decode(msgspec.json.encode(found)) == run()


def test_each_stair_is_a_point_and_the_one_that_the_queue_grew_in_did_not_hold() -> None:
    pattern = Stairs(100, 100, 5.0)
    fine = rows_of(np.arange(1, 6, 1 / 100), 2e-3)
    due = np.arange(6, 11, 1 / 200)
    behind = rows_of(due, 2e-3 + (due - 6) * 0.5, phase=1)  # 200/s come, some 130/s are answered
    kept = run_of(recording(pattern=pattern, rows=fine.joined([fine, behind]), slo="p99<10ms"))
    assert kept.kind == "stairs"
    assert [(point.label, point.held) for point in kept.points] == [("100/s", True), ("200/s", False)]
    assert not kept.points[1].figures.kept_up
    assert kept.points[1].figures.answered_per_s == pytest.approx(200 / 1.5, rel=0.02)


def test_a_run_that_was_stopped_is_cut_short_and_does_not_hold() -> None:
    kept = run(slo="p99<1s", ended="cancelled", reason="stopped after 3 s", measured_s=3.0)
    assert kept.state is RunState.CUT_SHORT
    assert not kept.held
    assert run(slo="p99<1s").held


def test_a_series_puts_its_tests_behind_each_other_and_has_the_figures_of_the_best() -> None:
    runs = [run(rate, started_at=1000.0 + 20 * at) for at, rate in enumerate((100.0, 200.0))]
    points = [(Point(f"{rate}/s", rate, each.whole), each) for rate, each in zip((100, 200), runs, strict=True)]
    series = run_of_series("search", recording().plan, points, best=1)
    assert series.whole == runs[1].whole
    assert [mark.at_s for mark in series.marks if mark.kind == "point"] == [0.0, 20.0]
    assert [second.at_s for second in series.seconds if second.due] == [*range(-1, 10), *range(19, 30)]
    assert decode(encode(series)) == series
