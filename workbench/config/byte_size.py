"""Reads sizes as users write them: 64MB, 1.5GiB."""

from __future__ import annotations

import re
from typing import Final

from workbench.errors import InvalidInput

OFF: Final = "off"
SIZE_OR_OFF: Final = r"(?i:off|[1-9]\d{0,5}(\.\d{1,3})? ?[kmg]i?b)"
"""What `byte_size` reads."""

_SIZE = re.compile(r"([\d.]+) ?([a-zA-Z]+)")
_BYTES_IN: Final = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def byte_size(text: str) -> int:
    """Bytes: kB, MB and GB are powers of 1000, KiB, MiB and GiB of 1024; "off" is 0. InvalidInput for other texts."""
    if not re.fullmatch(SIZE_OR_OFF, text):
        raise InvalidInput(f"a size must be {OFF!r} or like 64MB or 1GiB, got {text[:40]!r}")
    if (found := _SIZE.fullmatch(text)) is None:
        return 0
    return bytes_of(*found.groups())


def bytes_of(number: str, unit: str) -> int:
    """Bytes of "1.5" and "MB"; of "" as a unit they are bytes."""
    return int(float(number) * _BYTES_IN[unit.lower()])
