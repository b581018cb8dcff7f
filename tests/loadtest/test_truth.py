"""What a run says against what is true, for servers of which it is known.

The delays are long, because they are held against a clock that a busy machine makes late. Server and generator keep
account of how late they themselves were: a run that misses the truth counts unless one of them was.
`python -m benchmarks.loadtest` does the same with short ones, once.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.loadtest.known_runs import END_S, plan, recorded
from tests.loadtest.servers import Process, Script
from workbench.loadtest.analysis.latency_histogram import counted
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Constant, Pattern, Users
from workbench.loadtest.store.recording import Recording

pytestmark = pytest.mark.serial

WITHIN = 0.02
TRIES = 8
LATE = WITHIN / 2
"""How late, as a share of the least delay, a process must have been for a run not to count."""

Quantiles = dict[float, float]


def all_answered(script: Script, pattern: Pattern, duration_s: float) -> Recording:
    found = recorded(script, pattern, duration_s=duration_s)
    assert set(found.rows.counts()) == {"ok"}
    return found


def said(found: Recording, asked: Iterable[float]) -> Quantiles:
    histogram = counted(found.measured_rows.latency_s)
    return {q: histogram.quantile(q) or 0.0 for q in asked}


def hold(script: Script, pattern: Pattern, duration_s: float, truth: Quantiles) -> None:
    """A run of them says the truth. It is run again only where the machine was provably late."""
    tries = []
    for _ in range(TRIES):
        with Process(script) as server:
            found = start(plan(server, pattern, duration_s=duration_s)).result(END_S)
            late_s = max(server.late_s(), found.generator.longest_turn_s)
        assert set(found.rows.counts()) == {"ok"}
        seen = said(found, truth)
        if seen == pytest.approx(truth, rel=WITHIN):
            return
        tries.append(f"{seen}, with a delay of {late_s * 1e3:.1f} ms in the server or the generator")
        assert late_s > LATE * min(truth.values()), f"true is {truth}, said was {tries}"
    raise AssertionError(f"true is {truth}, said was {tries}")


@pytest.mark.parametrize("pattern", [Constant(100), Users(8)], ids=lambda pattern: pattern.kind)
def test_a_constant_delay_is_every_percentile(pattern: Pattern) -> None:
    hold(Script(delays_s=(1.5,)), pattern, 2.0, dict.fromkeys((0.5, 0.99, 0.999, 1.0), 1.5))


def test_two_delays_are_told_apart_at_the_right_percentile() -> None:
    # One in twenty takes long, so that the 99th percentile lies well inside the slow ones, and the median does not.
    slow = dict.fromkeys((0.99, 0.999, 1.0), 3.0)
    hold(Script(delays_s=(1.0,) * 19 + (3.0,)), Constant(100), 2.0, {0.5: 1.0, **slow})


def test_a_freeze_costs_everybody_who_would_have_come_meanwhile() -> None:
    """A second in three nobody is answered. Of requests that come evenly a third meets the freeze, and waits for what
    is left of it: the part that waits longer than x is (1 - x) / 3. So p99 is 0.97 s, p99.9 0.997 s and the most 1 s.
    """
    freezing = Script(freeze_every_s=3.0, freeze_s=1.0)
    hold(freezing, Constant(200), 6.0, {0.99: 0.97, 0.999: 0.997, 1.0: 1.0})


def test_users_who_wait_for_their_answers_hide_the_same_freeze() -> None:
    found = all_answered(Script(delays_s=(0.01,), freeze_every_s=3.0, freeze_s=1.0), Users(1), 6.0)
    latency = said(found, (0.99, 1.0))
    # Two of hundreds met it, though a third of the time was frozen.
    assert latency[1.0] > 0.9 and latency[0.99] < 0.5
