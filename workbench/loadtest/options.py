"""A user's words for a load test -> its plan: the same for `model.bench`, `%infer bench` and the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.client.model_settings import duration_s
from workbench.errors import InvalidInput
from workbench.loadtest.plan import Attack, Constant, Inputs, Plan, Ramp, Replay, Stairs, Target, Users

STAIR_S = 3.0
MOST_STAIRS = 20

HOW = "rate=200, users=32, ramp='10:1000' or step=50; slo='p99<20ms' alone searches the highest rate that holds"


def plan_of(
    target: Target,
    *,
    inputs: Any = None,
    requests: Sequence[Any] | None = None,
    rows: int = 1,
    rate: float | str | None = None,
    users: int | str | None = None,
    think: float | str = 0.0,
    ramp: str | tuple[float, float] | None = None,
    step: float | str | tuple[float, float] | None = None,
    every: float | str = STAIR_S,
    replay: Sequence[float] | None = None,
    speed: float = 1.0,
    poisson: bool = False,
    duration: float | str | None = None,
    warm_up: float | str = 1.0,
    connections: int = 256,
    timeout: float | str = 10.0,
    seed: int = 0,
    slo: str = "",
) -> Plan:
    """The plan; times are seconds or texts with their unit ("10s", "2m", "500ms"). Raises InvalidInput.

    `step` is what each stair adds, or "FIRST:ADDED"; `every` the length of a stair.
    """
    each = {"rate": rate, "users": users, "ramp": ramp, "step": step, "replay": replay}
    given = {name: value for name, value in each.items() if value is not None}
    if len(given) > 1:
        raise InvalidInput(f"{' and '.join(given)} were given; requests come in one way: {HOW}")
    if not given and not slo:
        raise InvalidInput(f"say how requests are to come: {HOW}")
    every_s, speed_up = seconds("every", every), number("speed", speed)
    attack = _attack(given or {"rate": 100.0}, seconds("think", think), every_s, speed_up, poisson)
    warm_up_s = seconds("warm_up", warm_up)
    duration_s = _default_duration(attack) if duration is None else seconds("duration", duration)
    if isinstance(attack, Replay):
        duration_s = min(duration_s, _rest_of(attack, warm_up_s))
    return Plan(
        target,
        attack,
        _inputs(inputs, requests, rows),
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        connections=connections,
        timeout_s=seconds("timeout", timeout),
        seed=seed,
        slo=slo,
    )


def searches(options: Mapping[str, Any]) -> bool:
    """Whether such options ask for the highest rate that holds: an `slo`, and nothing of how requests come."""
    ways = ("rate", "users", "ramp", "step", "replay")
    return bool(options.get("slo")) and all(options.get(way) is None for way in ways)


def seconds(name: str, value: float | str) -> float:
    """Seconds of a number, or of "10s", "2m", "500ms"."""
    if isinstance(value, str) and value.strip().endswith("m"):
        return 60 * number(name, value.strip()[:-1])
    found = duration_s(name, value)
    return number(name, found)


def number(name: str, value: object) -> float:
    """A number, or a text that is one; "200/s" is 200."""
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(str(value).removesuffix("/s"))
    except ValueError:
        raise InvalidInput(f"{name} takes a number; {str(value)[:40]!r} is none") from None


def _attack(given: Mapping[str, Any], think_s: float, every_s: float, speed: float, poisson: bool) -> Attack:
    ((how, value),) = given.items()
    if think_s and how != "users":
        raise InvalidInput("only users think; leave think out, or give users")
    if how == "users":
        if poisson:
            raise InvalidInput("users come when they have their answers, not at random: poisson goes with a rate")
        return Users(_whole("users", value), think_s)
    if how == "ramp":
        first, last = _pair("ramp", value, "FROM:TO, as 10:1000")
        return Ramp(first, last, poisson)
    if how == "step":
        alone = not isinstance(value, tuple) and ":" not in str(value)
        pair = (number("step", value),) * 2 if alone else _pair("step", value, "what each adds, or FIRST:ADDED")
        return Stairs(*pair, every_s, poisson)
    if how == "replay":
        return Replay(tuple(number("replay", at) for at in value), speed)
    return Constant(number("rate", value), poisson)


def _default_duration(attack: Attack) -> float:
    if isinstance(attack, Stairs):
        return MOST_STAIRS * attack.every_s
    return math.inf if isinstance(attack, Replay) else 10.0


def _rest_of(replay: Replay, warm_up_s: float) -> float:
    """What a recording has left when its first arrivals were the warm-up; its last one counts for a gap as the others.
    A longer test would measure a silence that nobody recorded."""
    count = len(replay.times_s)
    length_s = replay.duration_s * count / (count - 1) if count > 1 else replay.duration_s + 1.0
    if length_s <= warm_up_s:
        raise InvalidInput(
            f"the recording is {replay.duration_s:.3g} s long, and its first {warm_up_s:g} s are the warm-up: "
            "say a shorter warm_up, 0 for none"
        )
    return length_s - warm_up_s


def _inputs(inputs: Any, requests: Sequence[Any] | None, rows: int) -> Inputs:
    if inputs is not None and requests is not None:
        raise InvalidInput("inputs are sampled by row, requests are sent as they are: give one of them")
    if requests is not None:
        return Inputs("requests", rows, requests)
    return Inputs("random" if inputs is None else "rows", rows, inputs)


def _pair(name: str, value: object, form: str) -> tuple[float, float]:
    parts = list(value) if isinstance(value, tuple | list) else str(value).split(":")
    if len(parts) != 2:
        raise InvalidInput(f"{name} takes {form}; {str(value)[:40]!r} is none")
    return number(name, parts[0]), number(name, parts[1])


def _whole(name: str, value: object) -> int:
    found = number(name, value)
    if found != int(found):
        raise InvalidInput(f"{name} takes a whole number; {str(value)[:40]!r} is none")
    return int(found)
