from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.loadtest.analysis.aggregate import Aggregate
from workbench.loadtest.analysis.latency_histogram import LAYOUT
from workbench.loadtest.store.records import OUTCOMES, ROW, WARM_UP, Records


def rows_of(scheduled: object, latency: object, *, wait: float = 0.0, outcome: str = "ok", phase: int = 0) -> Records:
    due = np.atleast_1d(np.asarray(scheduled, float))
    data = np.zeros(len(due), ROW)
    data["scheduled_s"], data["sent_s"], data["done_s"] = due, due + wait, due + latency
    data["outcome"], data["phase"], data["rows"] = OUTCOMES.index(outcome), phase, 1
    return Records(data)


def test_figures_are_the_same_however_the_rows_are_cut_and_ordered() -> None:
    random = np.random.default_rng(1)
    due = np.sort(random.uniform(0, 10, 3000))
    rows = Records.joined([rows_of(due, random.lognormal(-4, 1, 3000)), rows_of([3.2, 4.4], 0.5, outcome="timeout")])
    together, apart = Aggregate(1.0), Aggregate(1.0)
    together.add(rows)
    shuffled = rows[random.permutation(len(rows))]
    for start in range(0, len(rows), 71):
        apart.add(shuffled[start : start + 71])
    a, b = together.whole(9.0), apart.whole(9.0)
    assert (a.outcomes, a.answered, a.due) == (b.outcomes, b.answered, b.due)
    assert a.latency.counts.tolist() == b.latency.counts.tolist()
    for mine, yours in zip(together.seconds(), apart.seconds(), strict=True):
        assert (mine.at_s, mine.due, mine.ended) == (yours.at_s, yours.due, yours.ended)
        assert mine.latency.counts.tolist() == yours.latency.counts.tolist()


def test_percentiles_agree_with_the_rows_themselves() -> None:
    latency = np.random.default_rng(2).lognormal(-5, 0.7, 20_000)
    fold = Aggregate(0.0)
    fold.add(rows_of(np.linspace(0, 10, 20_000, endpoint=False), latency))
    whole = fold.whole(10.0)
    for q in (0.5, 0.9, 0.99, 0.999):
        truth = float(np.quantile(latency, q, method="inverted_cdf"))
        assert whole.quantile(q) == pytest.approx(truth, rel=LAYOUT.relative_error * 1.001)
    assert whole.quantile(1.0) == pytest.approx(latency.max(), rel=1e-6)


def test_the_warm_up_is_in_no_figure_but_on_the_timeline() -> None:
    fold = Aggregate(2.0)
    fold.add(rows_of([0.1, 0.9, 1.5], 1e-3 * 500, phase=WARM_UP))
    fold.add(rows_of([2.1, 3.1], 1e-3))
    whole = fold.whole(2.0)
    assert (whole.due, whole.answered) == (2, 3)  # what the server did in the time, the last of the warm-up included
    assert whole.quantile(1.0) == pytest.approx(1e-3)
    assert [(second.at_s, second.phase, second.due) for second in fold.seconds()] == [
        (-2.0, WARM_UP, 2),
        (-1.0, WARM_UP, 1),
        (0.0, 0, 1),
        (1.0, 0, 1),
    ]
    assert fold.steps({0: (2.0, 4.0)})[0].answered_per_s == pytest.approx(1.5)


def test_a_freeze_costs_all_who_were_due_meanwhile() -> None:
    """100 a second for 5 s, 1 ms each, but from 2 s to 3 s nothing is answered: those due then wait for the rest of
    that second. Counted from when they could be sent, one of them would have been slow."""
    due = np.arange(0, 5, 0.01)
    frozen = (due >= 2) & (due < 3)
    latency = np.where(frozen, 3 - due, 0.0) + 1e-3
    fold = Aggregate(0.0)
    for at, took, blocked in zip(due, latency, frozen, strict=True):
        fold.add(rows_of(at, took, wait=took - 1e-3 if blocked and at > 2 else 0.0))
    whole = fold.whole(5.0)
    assert [whole.quantile(q) for q in (0.79, 0.80)] == pytest.approx([1e-3, 1e-3], rel=0.01)
    assert (whole.quantile(0.82) or 0) > 0.05  # a fifth was held up
    assert whole.quantile(0.90) == pytest.approx(0.5, rel=0.03)
    assert whole.service.quantile(0.99) == pytest.approx(1e-3, rel=0.01)
    assert whole.wait.quantile(1.0) == pytest.approx(0.99, rel=1e-6)
    assert [second.answered for second in fold.seconds()] == [100, 100, 0, 200, 100]
    assert [second.due for second in fold.seconds()] == [100] * 5


def test_errors_are_counted_by_kind_and_are_no_latencies() -> None:
    fold = Aggregate(0.0)
    fold.add(rows_of(np.arange(0, 1, 0.01), 1e-3))
    fold.add(rows_of([0.5] * 3, 10.0, outcome="timeout"))
    fold.add(rows_of([0.6], 1e-4, outcome="connection"))
    fold.add(rows_of([0.9] * 6, math.nan, wait=math.nan, outcome="cancelled"))
    whole = fold.whole(1.0)
    assert whole.outcomes == {"ok": 100, "timeout": 3, "connection": 1, "cancelled": 6}
    assert whole.errors == 4
    assert whole.error_share == pytest.approx(4 / 104)
    assert whole.quantile(1.0) == pytest.approx(1e-3)
    assert sum(second.errors for second in fold.seconds()) == 4
    assert fold.seconds()[-1].at_s == 10.0


def test_answers_after_the_end_are_latencies_but_no_throughput() -> None:
    fold = Aggregate(0.0)
    fold.add(rows_of(np.arange(0, 1, 0.1), 0.95))
    fold.add(rows_of(np.arange(1, 2, 0.1), 0.95, phase=1))
    whole = fold.whole(2.0)
    assert (whole.due, whole.answered, whole.latency.count) == (20, 11, 20)
    first, second = fold.steps({0: (0.0, 1.0), 1: (1.0, 2.0), 2: (2.0, 3.0)}).values()
    assert (first.due, first.answered) == (10, 1)
    assert (second.due, second.answered) == (10, 10)


def test_nothing_gives_no_figures_and_no_division() -> None:
    fold = Aggregate(0.0)
    fold.add(Records.of())
    whole = fold.whole(0.0)
    assert (whole.due, whole.answered_per_s, whole.offered_per_s, whole.error_share) == (0, 0.0, 0.0, None)
    assert whole.quantile(0.99) is None
    assert fold.seconds() == ()
    assert fold.steps({0: (0.0, 0.0)}) == {}
