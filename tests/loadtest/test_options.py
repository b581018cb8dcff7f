from __future__ import annotations

import re
from pathlib import Path

import pytest

import workbench
from workbench.errors import InvalidInput
from workbench.loadtest.options import OPTIONS, plan_of
from workbench.loadtest.patterns import PATTERNS, POISSON, Constant, Pattern, Ramp, Replay, Sine, Stairs, Users
from workbench.loadtest.plan import Plan, Target

TARGET = Target("digits", "http://127.0.0.1:8080")


def plan(**options: object) -> Plan:
    return plan_of(TARGET, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"rate": "200"}, Constant(200)),
        ({"rate": "200/s", "poisson": True}, Constant(200, poisson=True)),
        ({"users": "32"}, Users(32)),
        ({"users": 4, "think": "100ms"}, Users(4, 0.1)),
        ({"ramp": "10:1000"}, Ramp(10, 1000)),
        ({"ramp": (10, 1000)}, Ramp(10, 1000)),
        ({"step": 50}, Stairs(50, 50, 3.0)),
        ({"step": "100:50", "every": "5s"}, Stairs(100, 50, 5.0)),
        ({"sine": "20:200", "period": "2m", "poisson": True}, Sine(20, 200, 120.0, poisson=True)),
        ({"rate": 5, "think": 0, "poisson": False}, Constant(5)),
        ({"replay": "[0, 0.5, 2]"}, Replay((0.0, 0.5, 2.0))),
        ({"replay": "0\n0.5, 2"}, Replay((0.0, 0.5, 2.0))),
        ({"replay": [0, 0.5, 2], "speed": 2.0}, Replay((0.0, 0.5, 2.0), 2.0)),
        ({"slo": "p99<20ms"}, Constant(100)),
    ],
)
def test_requests_come_as_the_words_say(options: dict[str, object], pattern: Pattern) -> None:
    assert plan(**options).pattern == pattern


def test_times_have_units_or_are_seconds() -> None:
    found = plan(rate=1, duration="2m", warm_up="500ms", timeout=3)
    assert (found.duration_s, found.warm_up_s, found.timeout_s) == (120.0, 0.5, 3.0)
    assert plan(step=50).duration_s == 60.0
    assert plan(sine="1:2", period="90s").duration_s == 90.0
    assert plan(sine="1:2", period="90s", duration=5).duration_s == 5.0


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


RANDOM = [each.options[0].name for each in PATTERNS if POISSON in each.options]
"""The options of the patterns whose requests may come at random."""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "say how requests are to come"),
        ({"rate": 1, "users": 2}, "rate and users were given"),
        ({"rate": 0}, "rate must be above 0 and at most 1,000,000 requests/s, got 0"),
        ({"rate": "fast"}, "rate must be a number, got 'fast'"),
        ({"rate": True}, "rate must be a number"),
        ({"rate": 1, "duration": -5}, "duration must be above 0 and at most 86,400 s, got -5"),
        ({"rate": 1, "duration": "5"}, "duration needs a unit"),
        ({"rate": 1, "duration": "long"}, "duration must be a time with its unit"),
        ({"rate": 1, "duration": "xm"}, "duration must be a time"),
        ({"users": 1.5}, "users must be a whole number, got '1.5'"),
        ({"users": 2, "poisson": True}, f"poisson goes with {' or '.join(RANDOM)}, not with users"),
        ({"rate": 2, "think": 1}, "think goes with users, not with rate"),
        ({"rate": 2, "every": "4s"}, "every goes with step, not with rate"),
        ({"slo": "p99<1s", "speed": 2}, "speed goes with replay, not with rate"),
        ({"rat": 2}, "there is no option 'rat', did you mean 'rate'"),
        ({"ramp": "10"}, "ramp must be two numbers as 10:1000, got '10'"),
        ({"ramp": "10:20:30"}, "ramp must be two numbers"),
        ({"replay": "soon"}, "replay must be arrival times in seconds, got 'soon'"),
        ({"rate": 1, "poisson": "yes"}, "poisson must be true or false"),
        ({"rate": 1, "slo": 5}, "slo must be text"),
        ({"replay": [0, 0.5]}, "the recording is 0.5 s long, and its first 1 s are the warm-up"),
        ({"ramp": "10:x"}, "ramp must be a number, got 'x'"),
        ({"rate": 1, "slo": "fast"}, "is no threshold"),
        ({"rate": 1, "inputs": [1], "requests": [2]}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_sent(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        plan(**options)


TEXT = (Path(workbench.__file__).parents[1] / "docs" / "load-tests.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda each: each.kind)
def test_every_pattern_is_documented_with_its_options_and_its_question(pattern: type[Pattern]) -> None:
    (row,) = re.findall(rf"^\| `{pattern.options[0].flag} .*$", TEXT, re.MULTILINE)
    assert row.endswith(f"| {pattern.question} |")
    for option in pattern.options:
        assert f"`{option.flag}" in (row if option is not POISSON else TEXT)


def test_every_option_has_words_for_each_field_and_takes_its_own_example_and_default() -> None:
    for option in OPTIONS.values():
        assert len(option.labels) == len(option.targets)
        for text in filter(None, (option.default, option.example if option.example != "N" else "")):
            assert set(option.read(text)) == set(option.targets)
