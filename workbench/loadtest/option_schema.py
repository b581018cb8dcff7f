"""`Option`: one option of a load test, described once for Python, the command line, `%infer`, the panel and docs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workbench.core.durations import SECONDS, parse_seconds
from workbench.errors import InvalidInput


class OptionType(StrEnum):
    NUMBER = "number"
    """A number, or a text that holds one: 200, "200", "200/s"."""
    WHOLE = "whole"
    DURATION = "duration"
    """Seconds, or a text with its unit: 0.5, "500ms", "2m"."""
    PAIR = "pair"
    """Two numbers: (10, 1000) or "10:1000"."""
    TIMES = "times"
    """A list of seconds, or a text that holds them: a JSON list, or numbers between spaces, commas or lines."""
    FLAG = "flag"
    TEXT = "text"
    VALUES = "values"
    """Python values, as requests; a file on the command line. Forms do not offer them."""


NUMBER, WHOLE, DURATION, PAIR, TIMES, FLAG, TEXT, VALUES = OptionType


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    """The keyword in Python and JSON; the flag has hyphens instead of underscores."""
    type: OptionType
    help: str
    label: str
    """Names the field in forms and comparisons; of a PAIR, "FIRST|SECOND"."""
    fields: str = ""
    """Attributes of the pattern or the plan that it sets, separated by spaces; empty: one that is called as the option,
    with the unit of a DURATION: "every_s"."""
    example: str = ""
    """Stands for the value in a usage line; empty: the default does."""
    default: str = ""
    """As a user would write it; empty: there is none."""
    minimum: float = 0.0
    maximum: float = math.inf
    zero: bool = False
    """Whether the minimum itself is allowed; of whole numbers it always is."""
    unit: str = ""
    single: bool = False
    """Whether one number may stand for both of a PAIR."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_data(self) -> bool:
        """Whether a command line takes a file for it, and a notebook an expression."""
        return self.type in (TIMES, VALUES)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.fields.split()) or (f"{self.name}_s" if self.type is DURATION else self.name,)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.label.split("|"))

    @property
    def default_value(self) -> Any:
        """The default of its first field."""
        return next(iter(self.read(self.default).values()))

    @property
    def placeholder(self) -> str:
        """Stands for the value in a usage line; empty for a flag."""
        return self.example or self.default

    @property
    def help_with_default(self) -> str:
        return f"{self.help} ({self.default})" if self.default else self.help

    def read(self, value: object) -> dict[str, Any]:
        """The fields' values. Raises InvalidInput for a value of another type; `check` judges its range."""
        if self.type is PAIR:
            return dict(zip(self.targets, self._pair(value), strict=True))
        return {self.targets[0]: _READERS[self.type](self.name, value)}

    def check(self, owner: object) -> None:
        """Raises InvalidInput where a field of `owner` is out of range."""
        if not self.is_ranged:
            return
        for field, label in zip(self.targets, self.labels, strict=True):
            value = getattr(owner, field)
            low = value >= self.minimum if self.allows_minimum else value > self.minimum
            # NaN fails every comparison, and so is refused.
            if not (low and value <= self.maximum and not math.isinf(value)):
                which = self.name if len(self.targets) == 1 else f"{self.name} ({label[:1].lower()}{label[1:]})"
                raise InvalidInput(f"{which} must be {self.range}, got {value:g}")

    @property
    def is_ranged(self) -> bool:
        return self.type in (NUMBER, WHOLE, DURATION, PAIR)

    @property
    def allows_minimum(self) -> bool:
        return self.zero or self.type is WHOLE

    @property
    def range(self) -> str:
        """The allowed values in words."""
        bound = f"{self.minimum:g} or more" if self.allows_minimum else f"above {self.minimum:g}"
        unit = " s" if self.type is DURATION else f" {self.unit}" if self.unit else ""
        if math.isinf(self.maximum):
            return bound + unit
        return f"{bound} and at most {self.maximum:,.0f}{unit}".replace(" or more and at most ", " to ")

    def _pair(self, value: object) -> tuple[float, float]:
        parts = list(value) if isinstance(value, tuple | list) else str(value).split(":")
        if len(parts) == 1 and self.single:
            parts *= 2
        if len(parts) != 2:
            raise InvalidInput(f"{self.name} must be two numbers as {self.example}, got {str(value)[:40]!r}")
        return number(self.name, parts[0]), number(self.name, parts[1])


def number(name: str, value: object) -> float:
    """A number, or a text that is one; "200/s" is 200."""
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(str(value).removesuffix("/s"))
    except ValueError:
        raise InvalidInput(f"{name} must be a number, got {str(value)[:40]!r}") from None


def _whole(name: str, value: object) -> int:
    try:
        found = number(name, value)
        if found == int(found):
            return int(found)
    except (InvalidInput, ValueError, OverflowError):
        pass
    raise InvalidInput(f"{name} must be a whole number, got {str(value)[:40]!r}")


def _duration(name: str, value: object) -> float:
    return parse_seconds(name, value, tuple(SECONDS))


def _times(name: str, value: object) -> tuple[float, ...]:
    found: Any = value
    try:
        if isinstance(value, str):
            found = json.loads(value) if value.lstrip().startswith("[") else value.replace(",", " ").split()
        return tuple(map(float, found))
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} must be arrival times in seconds, got {str(value)[:40]!r}") from None


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false, got {str(value)[:40]!r}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, got {str(value)[:40]!r}")
    return value


_READERS: Mapping[OptionType, Callable[[str, object], object]] = {
    NUMBER: number,
    WHOLE: _whole,
    DURATION: _duration,
    TIMES: _times,
    FLAG: _flag,
    TEXT: _text,
    VALUES: lambda name, value: value,
}
