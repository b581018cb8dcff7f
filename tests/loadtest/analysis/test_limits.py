from __future__ import annotations

import pytest

from workbench.loadtest.analysis.limits import limit_of, notes_on
from workbench.loadtest.patterns import Constant, Pattern, Users
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.recording import Generator, ServerSecond

TARGET = Target("m", "http://127.0.0.1:8080")


def plan(pattern: Pattern) -> Plan:
    return Plan(TARGET, pattern)


@pytest.mark.parametrize(
    ("pattern", "generator", "p99_s", "said"),
    [
        (Constant(100), Generator(lag_p99_s=0.0009, cpu_share=0.3), 0.002, ""),
        (Constant(100), Generator(lag_p99_s=0.0011), 0.002, "1 % of its requests left 1.1 ms or more"),
        (Constant(100), Generator(lag_p99_s=0.009), 0.1, ""),  # a tenth of what it measures at most
        (Constant(100), Generator(lag_p99_s=0.011), 0.1, "left 11 ms"),
        (Constant(100), Generator(lag_p99_s=0.002), None, "left 2 ms"),
        (Users(4), Generator(lag_p99_s=0.5), 0.002, ""),  # who is late waits, and is no later for it
        (Users(4), Generator(cpu_share=0.95), 0.002, "it used 95% of the one core"),
        (Constant(100), Generator(cpu_share=0.95), 0.002, "it used 95% of the one core"),
    ],
)
def test_the_generator_is_the_limit_where_its_core_or_its_schedule_gives_out(
    pattern: Pattern, generator: Generator, p99_s: float | None, said: str
) -> None:
    found = limit_of(plan(pattern), generator, p99_s)
    assert said in found
    assert bool(said) == bool(found)


def second(cpu: float) -> ServerSecond:
    return ServerSecond(1.0, 1.0, {}, {}, 0, {}, {}, 0, 0.0, {"cpu": cpu})


def test_connections_that_were_all_busy_are_noted() -> None:
    (note,) = notes_on(plan(Constant(1)), Generator(held_back=7, held_back_max_s=1.5), (), True)
    assert "all 256 connections were busy: 7 requests waited" in note and "1.5 s" in note
    assert notes_on(plan(Users(4)), Generator(held_back=7), (), True) == ()


def test_a_machine_that_both_share_and_fill_is_noted() -> None:
    busy = [second(0.99), second(0.97)]
    (note,) = notes_on(plan(Constant(1)), Generator(cpu_share=0.5), busy, True)
    assert "98% busy" in note
    assert notes_on(plan(Constant(1)), Generator(cpu_share=0.5), busy, False) == ()
    assert notes_on(plan(Constant(1)), Generator(cpu_share=0.5), [second(0.7)], True) == ()
