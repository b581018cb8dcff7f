"""The notebook of load tests, run top to bottom in a real kernel, and what it shows.

Its runs are as long as figures need that someone reads. What is tested here shows in shorter ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import nbformat
import pytest

from tests.helpers.run_notebook import executed, outputs
from workbench.client.shared_service import SharedService

SHORTER = {
    "--rate 100 --duration 8s": "--rate 100 --duration 2s --warm-up 200ms",
    "--users 8 --duration 3s": "--users 8 --duration 1s --warm-up 200ms",
    "--every 1s --duration 20s": "--every 300ms --duration 6s --warm-up 200ms",
    '"p99<50ms,errors<0.1%" --duration 2s': '"p99<50ms,errors<0.1%" --duration 300ms --warm-up 100ms',
    'rate=100, duration="8s"': 'rate=100, duration="2s", warm_up="200ms"',
}


@cache
def notebook() -> nbformat.NotebookNode:
    return executed("03_load_tests.ipynb", SHORTER, timeout_s=120)


pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _service_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from workbench.client.shared_service import shared_service

    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNTIME_DIR", "DATA_DIR"):
            patch.setenv(f"INFER_WORKBENCH_{name}", str(tmp_path_factory.mktemp(name.lower())))
        yield
        shared: SharedService = shared_service()
        shared.stop()


def shown(source: str, kind: str = "text/plain") -> str:
    """What the one cell that holds `source` shows at its end."""
    return str(outputs(notebook(), source)[-1][kind])


def test_a_rate_is_answered_with_a_sentence_a_table_and_drawings() -> None:
    text = shown("-o first")
    # The rate that was reached: a request more or less in two seconds.
    takes = re.search(r"digits takes (\d+) requests/s with p99", text)
    assert "The load generator was the limit" in text or (takes and 99 <= int(takes[1]) <= 101)
    assert "digits-1: digits: 100 requests/s for 2 s" in text
    assert shown("-o first", "text/html").count("<svg") >= 4
    assert "rows_a_batch" in shown("first.df")


def test_a_figure_is_plotlys_and_light() -> None:
    figure = shown('first.figure("percentiles")', "application/vnd.plotly.v1+json")
    assert "from when it was due" in figure
    assert len(figure) < 50_000


def test_users_tell_the_most_that_is_answered() -> None:
    assert "With 8 users digits answers" in shown("--users 8") or "generator was the limit" in shown("--users 8")


def test_stairs_end_with_what_broke_and_each_is_a_point() -> None:
    assert "digits" in shown("--step 200")
    assert "200/s" in shown("stairs.points")


def test_a_search_finds_a_rate_that_was_confirmed() -> None:
    text = shown("--slo")
    assert "p99<50ms,errors<0.1%" in text
    # A machine that others keep busy may not even send in time, and then the report says that instead.
    assert "True" in shown("promise.points") or "the load generator" in text.lower()


def test_two_runs_are_compared_and_the_setting_that_differed_is_named() -> None:
    assert "<load test of digits: 100 requests/s for 2 s" in shown("digits.set(max_batch=1)")
    text = shown("wb.compare(first, alone)")
    assert "digits-5 against digits-1" in text
    assert "model config max_batch_size" in text


def test_every_run_is_in_the_history() -> None:
    text = shown("wb.history")
    assert all(f"digits-{number}" in text for number in range(1, 6))
    assert "kB, without a script" in shown("wb.report")
