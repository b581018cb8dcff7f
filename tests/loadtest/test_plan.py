from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from workbench.errors import InvalidInput
from workbench.loadtest.patterns import Constant, Ramp, Replay, Sine, Stairs, Users
from workbench.loadtest.plan import Inputs, Plan, Target

TARGET = Target("digits", "http://127.0.0.1:8080", token="secret")


def plan(**changes: object) -> Plan:
    return Plan(**{"target": TARGET, "pattern": Constant(100), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Constant(0), "rate must be above 0 and at most 1,000,000 requests/s, got 0"),
        (lambda: Constant(-5), "rate must be above 0 and at most 1,000,000 requests/s, got -5"),
        (lambda: Constant(math.nan), "got nan"),
        (lambda: Ramp(10, 0), r"ramp \(to, per second\) must be above 0 and at most 1,000,000 requests/s, got 0"),
        (lambda: Stairs(50, 50, 0), "every must be above 0 s, got 0"),
        (lambda: Users(0), "users must be 1 to 4,096, got 0"),
        (lambda: Users(1, -1), "think must be 0 or more s, got -1"),
        (lambda: Users(1, math.inf), "think must be 0 or more s, got inf"),
        (lambda: Sine(0, 10), r"sine \(lowest, per second\) must be above 0"),
        (lambda: Sine(1, 10, 0), "period must be 0.1 or more s, got 0"),
        (lambda: Replay((0.0,), speed=0), "speed must be above 0, got 0"),
        (lambda: Replay(()), "needs recorded arrival times"),
        (lambda: Replay((0.0, 2.0, 1.0)), "must be arrival times in order"),
        (lambda: Replay((0.0, math.nan)), "must be arrival times in seconds from the beginning"),
        (lambda: plan(duration_s=-1), "duration must be above 0 and at most 86,400 s, got -1"),
        (lambda: plan(warm_up_s=-1), "warm_up must be 0 to 86,400 s, got -1"),
        (lambda: plan(connections=0), "connections must be 1 to 4,096, got 0"),
        (lambda: plan(timeout_s=0), "timeout must be above 0"),
        (lambda: plan(slo="p99<20"), "needs a unit of time"),
        (lambda: Target("digits", "127.0.0.1:8080"), "looks like http://127.0.0.1:8080"),
        (lambda: Target("digits", "grpcs://a.example"), "without TLS only"),
        (lambda: Target("../x", "http://127.0.0.1:8080"), "cannot name a model"),
        (lambda: Inputs("rows"), "no inputs were given"),
        (lambda: Inputs("requests", values=[]), "empty or no list"),
        (lambda: Inputs(rows=0), "rows must be 1 or more, got 0"),
        (lambda: Inputs("traffic"), "random, rows or requests, not 'traffic'"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_plan_is_made(made: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        made()


@pytest.mark.parametrize(
    "pattern",
    [Constant(1), Ramp(1, 2), Stairs(1, 2, 3), Sine(1, 2), Replay((0.0, 1.0)), Users(2, 0.5)],
    ids=lambda a: a.kind,
)
def test_a_plan_is_described_as_json_without_its_token_or_inputs(pattern: object) -> None:
    described = plan(pattern=pattern, inputs=Inputs("rows", values=[[1.0]])).described()
    text = json.dumps(described)
    assert "secret" not in text and "values" not in text
    assert described["pattern"]["kind"] == pattern.kind  # type: ignore[attr-defined]
    assert described["target"]["model"] == "digits"


def test_a_plan_reads_as_a_sentence() -> None:
    assert str(plan(pattern=Ramp(10, 1000, poisson=True))) == (
        "digits: a ramp from 10 to 1000 requests/s, Poisson for 10 s after 1 s of warm-up"
    )
    assert str(plan(pattern=Users(1), warm_up_s=0)) == "digits: 1 user for 10 s"
    assert "secret" not in repr(plan())
