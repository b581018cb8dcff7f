from __future__ import annotations

from dataclasses import replace

import pytest

from tests.loadtest.runs import recording, run
from workbench.client.palette import EITHER
from workbench.loadtest.report.run_table import RunTable
from workbench.loadtest.store.history import RunSummary, summary_of
from workbench.loadtest.store.run import Point, Run, RunState, run_of_series


def searched(held: bool) -> Run:
    """A search of one test, in which its rate held or did not."""
    tested = run(200.0, slo="p99<20ms")
    point = Point("200/s", 200.0, tested.whole, verdicts=tested.verdicts, held=held, why="" if held else "not again")
    return run_of_series("search", recording(slo="p99<20ms").plan, [(point, tested)], 0 if held else None)


FAILED = summary_of(searched(held=False))


@pytest.mark.parametrize(
    ("found", "standing", "hue"),
    [
        (summary_of(run()), "done", "green"),
        (summary_of(run(slo="p99<1us")), "did not hold", "red"),
        (summary_of(run(limit="the load generator was the limit")), "generator at its limit", "orange"),
        (summary_of(run(state=RunState.RUNNING)), "running", "grey"),
        (summary_of(run(ended="cancelled")), "cut short", "grey"),
        (summary_of(searched(held=True)), "done", "green"),
        (FAILED, "failed: no rate held", "red"),
        (replace(FAILED, limited=True), "failed: no rate held", "red"),
        (replace(FAILED, state=RunState.RUNNING), "running", "grey"),
    ],
)
def test_each_run_says_how_it_stands(found: RunSummary, standing: str, hue: str) -> None:
    assert found.standing == standing
    assert standing in repr(RunTable([found]))
    assert f"color:{EITHER[hue]}" in RunTable([found])._repr_html_()
    assert RunTable([found]).df["state"].tolist() == [standing]


def test_a_search_that_found_no_rate_has_no_figures() -> None:
    """Those of its last test were listed, as if they were an answer."""
    assert (FAILED.answered_per_s, FAILED.p50_s, FAILED.p99_s, FAILED.error_share) == (0.0, None, None, None)
    row = repr(RunTable([FAILED])).splitlines()[1]
    assert row.split()[-4:] == ["-"] * 4
    assert RunTable([FAILED]).df["requests_per_s"].isna().all()
