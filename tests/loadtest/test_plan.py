from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from workbench.errors import InvalidInput
from workbench.loadtest.plan import Constant, Inputs, Plan, Ramp, Replay, Stairs, Target, Users

TARGET = Target("digits", "http://127.0.0.1:8080", token="secret")


def plan(**changes: object) -> Plan:
    return Plan(**{"target": TARGET, "attack": Constant(100), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Constant(0), "rate is 0 requests/s; it takes more than 0, and 1,000,000 at most"),
        (lambda: Constant(-5), "rate is -5 requests/s"),
        (lambda: Constant(math.nan), "rate is nan requests/s"),
        (lambda: Ramp(10, 0), "the ramp's last rate is 0 requests/s"),
        (lambda: Stairs(50, 50, 0), "the length of a stair is 0; it takes seconds, more than 0"),
        (lambda: Users(0), "users is 0; it takes 1 to 4096"),
        (lambda: Users(1, -1), "think time is -1 s"),
        (lambda: Replay(()), "needs recorded arrival times"),
        (lambda: Replay((0.0, 2.0, 1.0)), "must be in order"),
        (lambda: Replay((0.0, math.nan)), "must be seconds"),
        (lambda: plan(duration_s=-1), "duration is -1; it takes seconds, more than 0, and 86400 at most"),
        (lambda: plan(warm_up_s=-1), "the warm-up is -1 s"),
        (lambda: plan(connections=0), "connections is 0"),
        (lambda: plan(timeout_s=0), "timeout is 0"),
        (lambda: plan(slo="p99<20"), "needs a unit of time"),
        (lambda: Target("digits", "127.0.0.1:8080"), "looks like http://127.0.0.1:8080"),
        (lambda: Target("digits", "https://a.example"), "TLS is not spoken here"),
        (lambda: Target("../x", "http://127.0.0.1:8080"), "cannot name a model"),
        (lambda: Inputs("rows"), "no inputs were given"),
        (lambda: Inputs("requests", values=[]), "empty or no list"),
        (lambda: Inputs(rows=0), "rows is 0; a request brings 1 at least"),
        (lambda: Inputs("traffic"), "random, rows or requests, not 'traffic'"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_plan_is_made(made: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        made()


@pytest.mark.parametrize(
    "attack", [Constant(1), Ramp(1, 2), Stairs(1, 2, 3), Replay((0.0, 1.0)), Users(2, 0.5)], ids=lambda a: a.kind
)
def test_a_plan_is_described_as_json_without_its_token_or_inputs(attack: object) -> None:
    described = plan(attack=attack, inputs=Inputs("rows", values=[[1.0]])).described()
    text = json.dumps(described)
    assert "secret" not in text and "values" not in text
    assert described["attack"]["kind"] == attack.kind  # type: ignore[attr-defined]
    assert described["target"]["model"] == "digits"


def test_a_plan_reads_as_a_sentence() -> None:
    assert str(plan(attack=Ramp(10, 1000, poisson=True))) == (
        "digits: a ramp from 10 to 1000 requests/s, Poisson for 10 s after 1 s of warm-up"
    )
    assert str(plan(attack=Users(1), warm_up_s=0)) == "digits: 1 user for 10 s"
    assert "secret" not in repr(plan())
