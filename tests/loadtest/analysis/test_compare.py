from __future__ import annotations

import math

import numpy as np
import pytest

from tests.loadtest.runs import TARGET, recording, rows_of, run
from workbench.loadtest.analysis.bootstrap import _student, expanded_tail
from workbench.loadtest.analysis.compare import NOT_SHOWN, compare
from workbench.loadtest.store.run import Point, Run, run_of, run_of_series


def test_a_run_twice_as_slow_is_said_to_be_so_with_an_interval_about_two() -> None:
    found = compare(run(400.0, 20.0, seed=1), run(400.0, 20.0, seed=2, latency_s=0.010))
    p99 = found["p99"]
    assert p99.ratio == pytest.approx(2.0, rel=0.1)
    assert p99.low is not None
    assert p99.high is not None
    assert 1.6 < p99.low < 2.0 < p99.high < 2.5
    assert p99.shown
    assert not p99.better
    assert "p99 2 times as high" in found.headline or "p99 1.9 times as high" in found.headline
    assert f"{NOT_SHOWN} in requests/s" in found.headline


def test_the_same_again_shows_no_difference() -> None:
    found = compare(run(400.0, 20.0, seed=1), run(400.0, 20.0, seed=2))
    assert found.headline.endswith(NOT_SHOWN)
    assert not found.df["shown"].any()
    assert "Nothing differed in the set-up." in repr(found)


def test_the_same_runs_give_the_same_intervals() -> None:
    a, b = run(seed=1), run(seed=2)
    assert compare(a, b).ratios == compare(a, b).ratios


def wandering(seed: int, duration_s: int = 40, rate: int = 150) -> Run:
    """Latencies whose level drifts from second to second, as those of a server with neighbours do."""
    random = np.random.default_rng(seed)
    level = np.zeros(duration_s)
    for at in range(1, duration_s):
        level[at] = 0.5 * level[at - 1] + random.normal(0, 0.15)
    due = 1 + np.arange(0, duration_s, 1 / rate)
    latency = 5e-3 * np.exp(level[(due - 1).astype(int)] + random.normal(0, 0.3, len(due)))
    return run_of(recording(rate, duration_s, rows=rows_of(due, latency)))


def test_of_equal_but_wandering_runs_few_are_told_apart() -> None:
    """A bootstrap of single requests calls nine in ten such pairs different; at 95 % it should be one in twenty."""
    pairs = [compare(wandering(2 * k), wandering(2 * k + 1)) for k in range(60)]
    for name in ("p50", "p90"):
        told_apart = sum(pair[name].shown for pair in pairs)
        assert told_apart <= 9, name


def test_short_runs_are_said_to_be_too_short() -> None:
    found = compare(run(200.0, 5.0), run(200.0, 5.0, latency_s=0.05))
    assert "too short to tell" in found.headline
    assert found["p50"].low is None
    assert found["p50"].ratio == pytest.approx(10, rel=0.1)
    assert math.isnan(found.df["low"].iloc[0])


def test_a_percentile_that_hangs_on_few_requests_is_left_out() -> None:
    found = compare(run(50.0, 10.0), run(50.0, 10.0))
    assert [each.name for each in found.ratios] == ["p50", "p90", "requests/s"]
    with pytest.raises(KeyError, match="there are p50"):
        found["p99"]


def test_what_differed_in_the_set_up_is_told() -> None:
    target = {
        "version": "4",
        "digest": "sha256:" + "b" * 64,
        "device": "CPU",
        "config": {"max_batch_size": 8, "sizes": ()},
    }
    found = compare(run(target=TARGET | {"config": {"max_batch_size": 64, "sizes": []}}), run(100.0, target=target))
    told = {each.what: (each.a, each.b) for each in found.differences}
    assert told == {
        "requests per second": ("200.0", "100.0"),
        "model version": ("3", "4"),
        "model digest": ("a" * 12, "b" * 12),
        "model config max_batch_size": ("64", "8"),
    }
    assert any("different loads" in each for each in found.cautions)


def test_what_weakens_a_comparison_is_said() -> None:
    limited = run(limit="its CPU was full.", ended="cancelled")
    said = " ".join(compare(run(), limited).cautions)
    assert "Of the second: its CPU was full." in said
    assert "the second is cut short." in said


def test_a_run_without_answers_cannot_be_compared() -> None:
    nothing = run(rows=rows_of(np.arange(1, 11, 0.1), 1.0, outcome="connection"))
    found = compare(run(), nothing)
    assert "nothing can be compared" in found.headline
    assert found.ratios == ()
    assert found.df.empty
    assert "100.0% of the requests" in repr(found)


def test_a_comparison_shows_itself_escaped() -> None:
    html = compare(run(), run(target={"version": "<b>"}))._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>&lt;" not in html


@pytest.mark.parametrize(("freedom", "truth"), [(3, 3.1824), (4, 2.7764), (10, 2.2281), (100, 1.9840)])
def test_students_quantile_is_near_the_tables(freedom: float, truth: float) -> None:
    assert _student(0.975, freedom) == pytest.approx(truth, rel=0.01)


def test_fewer_blocks_cut_off_less() -> None:
    assert expanded_tail(0.025, 4) < expanded_tail(0.025, 40) < 0.025


def test_several_tests_in_one_are_not_compared_as_one_and_that_is_said() -> None:
    each = run()
    several = run_of_series("sweep", recording().plan, [(Point("batch=1", 0.0, each.whole), each)], best=0)
    found = compare(run(), several)
    assert found.headline == "the second against the first: nothing can be compared, since the second is several tests"
    assert "are several tests each" in compare(several, several).headline
