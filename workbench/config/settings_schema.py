"""Says of each setting what it may be and how it is given: one table beside the defaults, which all readers share.

A field of a frozen dataclass is a setting. Its annotation carries the rest:

    http_port: Annotated[int, Range(0, 65_535), Flag("--http-port", "PORT", "0 picks a free one")] = 8080

The checks, the environment, the command line, docs/settings.md and the panel's form go by that.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, cast, get_args, get_origin, get_type_hints

from workbench.errors import InvalidInput

ENVIRONMENT_PREFIX: Final = "INFER_WORKBENCH_"

MAX_SIZES: Final = 64
"""The most entries of a setting that is a list of numbers."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number, or each of a list of numbers, from `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Choices:
    """One of these words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        *most, last = (f'"{word}"' for word in self.words)
        return f"{', '.join(most)} or {last}"


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A text that `regex` matches whole; `allowed` says it in words."""

    regex: str
    allowed: str

    def __str__(self) -> str:
        return self.allowed


@dataclass(frozen=True, slots=True)
class Flag:
    """How `serve` takes the setting. A bool's flag turns its default round, or is given its value where it has a
    `metavar`; a tuple's may be repeated."""

    name: str
    metavar: str
    help: str
    excludes: str = ""
    """Flags with the same word here exclude each other."""


class Live:
    """Marks a model's setting that changes without a reload."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings class."""

    name: str
    kind: Any
    """Its type, None left out: int, float, bool, str, Path or a tuple type."""
    default: Any
    """dataclasses.MISSING where it has none."""
    allowed: Range | Choices | TextPattern | None = None
    flag: Flag | None = None
    live: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{ENVIRONMENT_PREFIX}{self.name.upper()}"

    def check(self, value: object) -> None:
        """Raises InvalidInput for a value of the right type that is out of range."""
        if not self._allows(value):
            raise InvalidInput(f"{self.name} must be {self._in_words}, got {repr(value)[:80]}")

    @property
    def _in_words(self) -> str:
        if isinstance(self.allowed, Range) and get_origin(self.kind) is tuple:
            return f"up to {MAX_SIZES} sizes from {self.allowed}"
        return str(self.allowed)

    def _allows(self, value: Any) -> bool:
        match self.allowed:
            case Range(low, high):
                # NaN fails both comparisons, and so fails the check.
                if isinstance(value, tuple):
                    return len(value) <= MAX_SIZES and all(low <= each <= high for each in value)
                return value is None or bool(low <= value <= high)
            case Choices(words):
                return value in words
            case TextPattern(regex, _):
                return bool(re.fullmatch(regex, value))
        return True


def settings_of(config: Any) -> Mapping[str, Setting]:
    """The settings of a settings class, by name, in order. A field that is itself such a class is left out."""
    return _settings_of(cast("Hashable", config))  # mypy takes a dataclass's own __hash__ for that of the class


@cache
def _settings_of(config: Any) -> Mapping[str, Setting]:
    hints = get_type_hints(config, include_extras=True)
    found = {}
    for field in dataclasses.fields(config):
        hint, marks = hints[field.name], []
        if get_origin(hint) is Annotated:
            hint, *marks = get_args(hint)
        kinds = [each for each in get_args(hint) if each is not type(None)]
        kind = kinds[0] if type(None) in get_args(hint) else hint
        if dataclasses.is_dataclass(kind):
            continue
        allowed = next((each for each in marks if isinstance(each, Range | Choices | TextPattern)), None)
        flag = next((each for each in marks if isinstance(each, Flag)), None)
        found[field.name] = Setting(field.name, kind, field.default, allowed, flag, Live in marks)
    return found


def check(config: Any) -> None:
    """Every setting of `config`, which has the right types. Raises InvalidInput, naming the first that does not fit."""
    for name, setting in settings_of(type(config)).items():
        setting.check(getattr(config, name))


def as_kind(name: str, value: object, kind: Any) -> Any:
    """`value`, where it is of that type; a text is read as it. Raises InvalidInput, which calls the setting `name`."""
    if kind is bool:
        return _switch(name, value)
    kind = get_origin(kind) or kind
    wrong = InvalidInput(f"{name} must be {_ARTICLE[kind]}, got {str(value)[:80]!r}")
    if isinstance(value, bool):
        raise wrong
    if kind is tuple:
        return _sizes(value, wrong)
    if isinstance(value, str) and kind is not str:
        try:
            return kind(value)
        except ValueError:
            raise wrong from None
    if kind is float and isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            raise wrong from None
    if not isinstance(value, kind):
        raise wrong
    return value


_ARTICLE: Final = {
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "whole numbers such as 1, 8, 32",
}

_SWITCHES: Final = {
    "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


def _switch(name: str, value: object) -> bool:
    found = value if isinstance(value, bool) else _SWITCHES.get(str(value).lower())
    if found is None:
        raise InvalidInput(f"{name} must be true or false, got {str(value)[:80]!r}")
    return found


def _sizes(value: object, wrong: InvalidInput) -> tuple[int, ...]:
    """Whole numbers from a list, or from a text with commas."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or any(isinstance(part, bool | float) for part in parts):
        raise wrong
    try:
        return tuple(sorted({int(part) for part in parts}))
    except (TypeError, ValueError):
        raise wrong from None
