from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.loadtest.runs import rows_of, run
from workbench.loadtest.analysis.limits import limit_words
from workbench.loadtest.analysis.why_failed import slow_seconds, why_failed
from workbench.loadtest.store.recording import Generator
from workbench.loadtest.store.records import Records
from workbench.loadtest.store.run import Run


def told(found: Run, late: str = "", ended: str = "finished") -> str:
    return why_failed(found.whole, found.verdicts, found.seconds, late=late, ended=ended)


def slow_in(*seconds: int, of: int = 5) -> Run:
    """100 requests/s of 4 ms; a tenth of those of these seconds, counted from 1, take 80 ms."""
    due = 1 + np.arange(0, of, 1 / 100)
    slow = np.isin((due - 1 + 1e-9).astype(int) + 1, seconds) & (np.arange(len(due)) % 10 == 0)
    return run(100.0, float(of), rows=rows_of(due, np.where(slow, 0.08, 4e-3)), slo="p99<20ms")


def test_what_holds_has_no_reason() -> None:
    assert told(run(slo="p99<20ms")) == ""
    assert told(run(slo="p99<20ms"), late="late generator") == "", "a late generator alone fails nothing"


def test_a_tail_names_the_seconds_that_it_came_from() -> None:
    assert told(slow_in(3)) == "p99 79.8ms, in second 3 of 5"
    assert told(slow_in(2, 5)) == "p99 79.8ms, in seconds 2 and 5 of 5"
    assert told(slow_in(1, 2, 4)) == "p99 79.8ms, in 3 of 5 seconds"
    assert told(slow_in(1, 2, 3, 4, 5)) == "p99 79.8ms, in all 5 seconds"


def test_a_single_second_is_not_named() -> None:
    assert slow_seconds(slow_in(1, of=1).seconds, 0.02) == ""


def test_a_second_of_the_warm_up_is_none_of_them() -> None:
    found = slow_in(2)
    warm = [replace(each, phase=-1) if each.at_s == 1 else each for each in found.seconds]
    assert slow_seconds(warm, 0.02) == ""


def test_errors_are_named_by_kind() -> None:
    due = 1 + np.arange(0, 5, 1 / 100)
    rows = Records.joined([rows_of(due[20:], 4e-3), rows_of(due[:20], 1e-3, outcome="rejected")])
    assert told(run(100.0, 5.0, rows=rows, slo="p99<20ms")) == "errors 4% (20 rejected)"
    none = rows_of(due, 1e-3, outcome="connection")
    assert told(run(100.0, 5.0, rows=none, slo="p99<20ms")) == "nothing was answered (500 connection)"


def test_too_short_a_test_says_that_nothing_was_due() -> None:
    assert told(run(rows=Records.of(), slo="p99<20ms")) == "no request was due in its time"


def test_a_queue_that_grew_comes_before_what_it_did_to_the_tail() -> None:
    due = 1 + np.arange(0, 5, 1 / 100)
    assert told(run(100.0, 5.0, rows=rows_of(due, 5e-3 + (due - 1)), slo="p50<20ms")).startswith(
        "a queue grew; p50 2.49s, in all 5 seconds"
    )


def test_the_last_answer_of_a_short_test_is_no_queue() -> None:
    due = 1 + np.arange(0, 1, 1 / 10)
    found = run(10.0, 1.0, rows=rows_of(due, 0.15), slo="p99<100ms")
    assert told(found) == "1 answer came after its end; p99 150ms"


def test_a_late_generator_comes_first() -> None:
    assert told(slow_in(3), late="late generator").startswith("late generator; p99 79.8ms")
    said = "one sentence"
    assert limit_words("", Generator(lag_p99_s=0.01)) == ""
    assert limit_words(said, Generator(lag_p99_s=0.0123)) == "late generator, 1 % left 12 ms or more after their time"
    assert limit_words(said, Generator(cpu_share=0.97)) == "generator at its limit, 97% of its core"


def test_a_test_that_was_stopped_says_nothing_of_the_model() -> None:
    assert told(slow_in(3), ended="cancelled") == "stopped before its end"
