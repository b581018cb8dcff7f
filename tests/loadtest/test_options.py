from __future__ import annotations

import pytest

from workbench.errors import InvalidInput
from workbench.loadtest.options import plan_of
from workbench.loadtest.plan import Attack, Constant, Plan, Ramp, Replay, Stairs, Target, Users

TARGET = Target("digits", "http://127.0.0.1:8080")


def plan(**options: object) -> Plan:
    return plan_of(TARGET, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "attack"),
    [
        ({"rate": "200"}, Constant(200)),
        ({"rate": "200/s", "poisson": True}, Constant(200, True)),
        ({"users": "32"}, Users(32)),
        ({"users": 4, "think": "100ms"}, Users(4, 0.1)),
        ({"ramp": "10:1000"}, Ramp(10, 1000)),
        ({"ramp": (10, 1000)}, Ramp(10, 1000)),
        ({"step": 50}, Stairs(50, 50, 3.0)),
        ({"step": "100:50", "every": "5s"}, Stairs(100, 50, 5.0)),
        ({"replay": [0, 0.5, 2], "speed": 2.0}, Replay((0.0, 0.5, 2.0), 2.0)),
        ({"slo": "p99<20ms"}, Constant(100)),
    ],
)
def test_requests_come_as_the_words_say(options: dict[str, object], attack: Attack) -> None:
    assert plan(**options).attack == attack


def test_times_have_units_or_are_seconds() -> None:
    found = plan(rate=1, duration="2m", warm_up="500ms", timeout=3)
    assert (found.duration_s, found.warm_up_s, found.timeout_s) == (120.0, 0.5, 3.0)
    assert plan(step=50).duration_s == 60.0


def test_a_replay_lasts_as_long_as_what_was_recorded_the_warm_up_being_its_beginning() -> None:
    times = [each / 50 for each in range(60)]
    assert plan(replay=times, warm_up=0).duration_s == pytest.approx(1.2)  # so that 60 arrivals are 50 a second
    assert plan(replay=times, warm_up=0.2).duration_s == pytest.approx(1.0)
    assert plan(replay=times, warm_up=0, duration="1m").duration_s == pytest.approx(1.2)
    assert plan(replay=times, warm_up=0, duration="0.5s").duration_s == 0.5
    assert plan(replay=times, warm_up=0, speed=2).duration_s == pytest.approx(0.6)
    assert plan(replay=[0.5], warm_up=0).duration_s == 1.5


def test_inputs_are_made_up_sampled_or_sent_as_they_are() -> None:
    assert plan(rate=1).inputs.kind == "random"
    assert plan(rate=1, inputs=[[1, 2]], rows=4).inputs.rows == 4
    assert plan(rate=1, requests=[[1], [2]]).inputs.kind == "requests"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "say how requests are to come"),
        ({"rate": 1, "users": 2}, "rate and users were given"),
        ({"rate": 0}, "rate is 0 requests/s"),
        ({"rate": "fast"}, "rate takes a number; 'fast'"),
        ({"rate": True}, "rate takes a number"),
        ({"rate": 1, "duration": -5}, "duration is -5"),
        ({"rate": 1, "duration": "5"}, "duration needs a unit"),
        ({"rate": 1, "duration": "long"}, "duration takes a time"),
        ({"rate": 1, "duration": "xm"}, "duration takes a number"),
        ({"users": 1.5}, "users takes a whole number"),
        ({"users": 2, "poisson": True}, "poisson goes with a rate"),
        ({"rate": 2, "think": 1}, "only users think"),
        ({"ramp": "10"}, "ramp takes FROM:TO"),
        ({"replay": [0, 0.5]}, "the recording is 0.5 s long, and its first 1 s are the warm-up"),
        ({"ramp": "10:x"}, "ramp takes a number; 'x'"),
        ({"rate": 1, "slo": "fast"}, "is no threshold"),
        ({"rate": 1, "inputs": [1], "requests": [2]}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_sent(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        plan(**options)
