"""Load patterns: when requests come. Each is one class, and all that names patterns reads `PATTERNS`.

To add a pattern, write a class and put it into `PATTERNS`: Python, the command line, `%infer`, completion, the panel
and the generator have it then. A test asks for its row in docs/load-tests.md.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from workbench.errors import InvalidInput
from workbench.loadtest.option_schema import DURATION, FLAG, NUMBER, PAIR, TIMES, WHOLE, Option

MAX_RATE_PER_S = 1_000_000.0
MAX_USERS = 4096
MAX_STAIRS = 20
"""Stairs end after this many unless a duration is given."""

SINE_PARTS = 64
"""A period of a sine is drawn with this many straight pieces, which keeps the rate within 0.13 % of the amplitude."""


@dataclass(frozen=True, slots=True)
class Pattern(ABC):
    """When requests come. Raises InvalidInput when made, in words for a user."""

    kind: ClassVar[str]
    """Names the pattern in the JSON of runs that are kept."""
    title: ClassVar[str]
    question: ClassVar[str]
    """A question that the pattern answers."""
    options: ClassVar[tuple[Option, ...]]
    """The first one selects the pattern; each sets some of the class's fields."""
    duration: ClassVar[str] = "10s"
    """The measured duration that a form begins with; empty: the pattern itself says how long it is."""

    def __post_init__(self) -> None:
        for option in self.options:
            option.check(self)

    @classmethod
    def from_options(cls, given: Mapping[str, Any]) -> Pattern:
        """The pattern of a user's options. Raises InvalidInput."""
        fields: dict[str, Any] = {}
        for option in cls.options:
            if (value := given.get(option.name)) is not None:
                fields |= option.read(value)
        return cls(**fields)

    def measured_s(self, asked_s: float | None, warm_up_s: float) -> float:
        """How long to measure; `asked_s` is None where no duration was given."""
        return 10.0 if asked_s is None else asked_s

    def to_json(self) -> dict[str, Any]:
        """Everything, as the generator needs it; `pattern_from_json` reads it."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def described(self) -> dict[str, Any]:
        """As a run keeps it: like `to_json`, but never large."""
        return self.to_json()


def pattern_from_json(value: Mapping[str, Any]) -> Pattern:
    fields = {name: tuple(each) if isinstance(each, list) else each for name, each in value.items() if name != "kind"}
    return KINDS[value["kind"]](**fields)


def _rate(name: str, help: str, label: str, fields: str, example: str, **more: Any) -> Option:
    kind = PAIR if "|" in label else NUMBER
    return Option(name, kind, help, label, fields, example, maximum=MAX_RATE_PER_S, unit="requests/s", **more)


POISSON = Option(
    "poisson", FLAG, "requests come at random, as from independent users", "At random times, as independent users come"
)


@dataclass(frozen=True, slots=True)
class RateCurve(Pattern):
    """Open loop: requests are due at a rate over time, whatever the answers do."""

    poisson: bool = field(default=False, kw_only=True)
    """At random times instead of evenly spaced ones."""

    @abstractmethod
    def corners(self, duration_s: float) -> list[tuple[float, float]]:
        """The rate as (seconds, requests/s) with straight lines between; two at one moment are a jump."""

    @abstractmethod
    def _words(self) -> str: ...

    def __str__(self) -> str:
        return self._words() + (", Poisson" if self.poisson else "")


@dataclass(frozen=True, slots=True)
class Constant(RateCurve):
    """One rate all the time."""

    kind = "constant"
    title = "Rate"
    question = "what latency does this load get?"
    options = (
        _rate("rate", "requests a second, whatever the answers do", "Requests per second", "rate_per_s", "200"),
        POISSON,
    )

    rate_per_s: float

    def corners(self, duration_s: float) -> list[tuple[float, float]]:
        return [(0.0, self.rate_per_s), (duration_s, self.rate_per_s)]

    def _words(self) -> str:
        return f"{self.rate_per_s:g} requests/s"


@dataclass(frozen=True, slots=True)
class Ramp(RateCurve):
    """The rate goes evenly from one to another over the duration."""

    kind = "ramp"
    title = "Ramp"
    question = "where does latency turn?"
    options = (
        _rate(
            "ramp",
            "a rate that goes evenly from one to the other over the duration",
            "From, per second|To, per second",
            "from_per_s to_per_s",
            "10:1000",
        ),
        POISSON,
    )

    from_per_s: float
    to_per_s: float

    def corners(self, duration_s: float) -> list[tuple[float, float]]:
        return [(0.0, self.from_per_s), (duration_s, self.to_per_s)]

    def _words(self) -> str:
        return f"a ramp from {self.from_per_s:g} to {self.to_per_s:g} requests/s"


@dataclass(frozen=True, slots=True)
class Stairs(RateCurve):
    """The rate grows at once every `every_s`, until a stair does not hold; each stair is a phase of its own."""

    kind = "stairs"
    title = "Stairs"
    question = "what breaks first, and where?"
    options = (
        _rate(
            "step",
            "stairs of this many requests/s more each, until something breaks; 100:50 begins at 100",
            "First stair, per second|Each stair adds, per second",
            "first_per_s by_per_s",
            "50",
            single=True,
        ),
        Option("every", DURATION, "how long a stair is", "Length of a stair", default="3s"),
        POISSON,
    )
    duration = ""

    first_per_s: float
    by_per_s: float
    every_s: float = options[1].default_value

    def measured_s(self, asked_s: float | None, warm_up_s: float) -> float:
        return MAX_STAIRS * self.every_s if asked_s is None else asked_s

    def rate_of(self, number: int) -> float:
        return self.first_per_s + number * self.by_per_s

    def corners(self, duration_s: float) -> list[tuple[float, float]]:
        found = []
        for number in range(math.ceil(duration_s / self.every_s - 1e-9)):
            rate = self.rate_of(number)
            found += [(number * self.every_s, rate), (min((number + 1) * self.every_s, duration_s), rate)]
        return found

    def _words(self) -> str:
        return f"stairs of {self.by_per_s:g} requests/s every {self.every_s:g} s from {self.first_per_s:g}"


@dataclass(frozen=True, slots=True)
class Sine(RateCurve):
    """The rate swings between two, as from day to night, beginning at the first."""

    kind = "sine"
    title = "Sine"
    question = "does it take the peaks of a daily load, and recover after them?"
    options = (
        _rate(
            "sine",
            "a rate that swings from the first to the second and back",
            "Lowest, per second|Highest, per second",
            "low_per_s high_per_s",
            "20:200",
        ),
        Option(
            "period",
            DURATION,
            "how long a swing takes, there and back; also the duration unless one is given",
            "Length of a swing",
            default="60s",
            minimum=0.1,
            zero=True,
        ),
        POISSON,
    )
    duration = "60s"

    low_per_s: float
    high_per_s: float
    period_s: float = options[1].default_value

    def measured_s(self, asked_s: float | None, warm_up_s: float) -> float:
        return self.period_s if asked_s is None else asked_s

    def corners(self, duration_s: float) -> list[tuple[float, float]]:
        part_s = self.period_s / SINE_PARTS
        times = [number * part_s for number in range(math.ceil(duration_s / part_s - 1e-9))] + [duration_s]
        middle, half = (self.low_per_s + self.high_per_s) / 2, (self.high_per_s - self.low_per_s) / 2
        return [(at_s, middle - half * math.cos(math.tau * at_s / self.period_s)) for at_s in times]

    def _words(self) -> str:
        return f"a sine from {self.low_per_s:g} to {self.high_per_s:g} requests/s and back in {self.period_s:g} s"


@dataclass(frozen=True, slots=True)
class Replay(Pattern):
    """Open loop: requests come when recorded ones came, `times_s` after the beginning, in order."""

    kind = "replay"
    title = "Replay"
    question = "does it take yesterday's traffic?"
    options = (
        Option(
            "replay",
            TIMES,
            "recorded arrival times in seconds; the first ones are the warm-up",
            "Arrival times in seconds",
            "times_s",
        ),
        Option("speed", NUMBER, "how much faster than recorded", "Speed of the replay", example="2", default="1"),
    )
    duration = ""

    times_s: tuple[float, ...] = field(repr=False)
    speed: float = options[1].default_value
    """2: twice as fast as it was."""

    def __post_init__(self) -> None:
        Pattern.__post_init__(self)  # super() does not work in a dataclass with slots
        if not self.times_s:
            raise InvalidInput("replay needs recorded arrival times, got none")
        if not all(map(math.isfinite, self.times_s)) or self.times_s[0] < 0:
            raise InvalidInput("replay must be arrival times in seconds from the beginning, 0 or more")
        if any(later < earlier for earlier, later in zip(self.times_s, self.times_s[1:], strict=False)):
            raise InvalidInput("replay must be arrival times in order")

    @property
    def duration_s(self) -> float:
        return self.times_s[-1] / self.speed

    def measured_s(self, asked_s: float | None, warm_up_s: float) -> float:
        """At most what the recording has left after the warm-up; a longer test would measure a silence that was not
        recorded. The last arrival counts for a gap like the others."""
        count = len(self.times_s)
        length_s = self.duration_s * count / (count - 1) if count > 1 else self.duration_s + 1.0
        if length_s <= warm_up_s:
            raise InvalidInput(
                f"the recording is {self.duration_s:.3g} s long, and its first {warm_up_s:g} s are the warm-up: "
                "give a shorter warm_up, 0 for none"
            )
        return min(math.inf if asked_s is None else asked_s, length_s - warm_up_s)

    def described(self) -> dict[str, Any]:
        return {**self.to_json(), "times_s": len(self.times_s)}

    def __str__(self) -> str:
        return f"{len(self.times_s)} recorded arrivals" + (f" at {self.speed:g} times the speed" * (self.speed != 1))


@dataclass(frozen=True, slots=True)
class Users(Pattern):
    """Closed loop: each user sends, waits for the answer, thinks, and sends again. A slow server slows its own load
    down, so latencies say less than an open loop's; it shows the most that a server answers."""

    kind = "users"
    title = "Users"
    question = "how much does it answer at most?"
    options = (
        Option(
            "users",
            WHOLE,
            "this many users, each of whom waits for its answer before it sends again",
            "Users",
            "count",
            "32",
            minimum=1,
            maximum=MAX_USERS,
        ),
        Option(
            "think",
            DURATION,
            "how long a user thinks between an answer and the next request",
            "Think time",
            example="100ms",
            default="0",
            zero=True,
        ),
    )

    count: int
    think_s: float = options[1].default_value

    def __str__(self) -> str:
        users = f"{self.count} user" + "s" * (self.count != 1)
        return users + (f", thinking {self.think_s:g} s" if self.think_s else "")


PATTERNS: tuple[type[Pattern], ...] = (Constant, Users, Ramp, Stairs, Sine, Replay)
"""In the order in which they are offered."""

KINDS: Mapping[str, type[Pattern]] = {each.kind: each for each in PATTERNS}
