"""Reads the fields of one message of a Triton configuration: a dict of lists by field names. Raises InvalidInput where
a field has no such value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from workbench.errors import InvalidInput

Message: TypeAlias = Mapping[str, Sequence[Any]]

_FILE = re.compile(r"(?!\.)[A-Za-z0-9_.\-]{1,128}")


def says(value: Any) -> bool:
    """False for a value that is the same as none."""
    return value not in (0, "", "false", False, None) and not (isinstance(value, dict) and not value)


def messages(message: Message, name: str) -> list[Message]:
    """All messages of a field."""
    found = message.get(name, ())
    for each in found:
        if not isinstance(each, dict):
            raise InvalidInput(f"{name} must be a message, got {str(each)[:40]!r}")
    return list(found)


def text(message: Message, name: str) -> str:
    """The last string or enum of a field; empty where there is none."""
    found = message.get(name, ())
    if not found:
        return ""
    if not isinstance(found[-1], str):
        raise InvalidInput(f"{name} must be text, got {str(found[-1])[:40]!r}")
    return str(found[-1])


def flag(message: Message, name: str) -> bool:
    """Whether a field is true."""
    return any(value is True or value == "true" for value in message.get(name, ()))


def whole(message: Message, name: str) -> int | None:
    """The last number of a field, at least 0; None where there is none."""
    found = message.get(name, ())
    return number(found[-1], name) if found else None


def number(value: Any, name: str, low: int = 0) -> int:
    """`value`, one of the field `name`, as a whole number from `low`."""
    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 20:  # JSON's form of an int64
        value = int(value)
    if type(value) is not int or not low <= value < 1 << 63:
        raise InvalidInput(f"{name} must be a whole number from {low}, got {str(value)[:40]!r}")
    return value


def element_type(message: Message, name: str) -> str:
    """A data type as the protocol names it; empty where none is said."""
    said = text(message, name).removeprefix("TYPE_")
    return {"STRING": "BYTES"}.get(said, said)


def file_name(what: str, name: str) -> str:
    """`name`, when it is one of a file without a folder, or empty."""
    if name and not _FILE.fullmatch(name):
        raise InvalidInput(f"{what} must be the name of a file without a folder, got {name[:80]!r}")
    return name
