"""Reads times as users write them: "5ms", "200us", "10s", "2m"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from workbench.errors import InvalidInput

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds in each unit."""

_DURATION = re.compile(r"\s*([+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d+)?)\s*([a-z]*)\s*")


def parse_seconds(name: str, value: object, units: Sequence[str], *, bare: bool = False) -> float:
    """Seconds of a number, or of a text with one of `units`. Raises InvalidInput, which calls the value `name`.

    A text needs its unit unless it is 0, since "5" would be 5 ms to one reader and 5 s to another; `bare`: a text
    without a unit is in seconds.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in ("", *units):
        examples = ", ".join(f"5{unit}" for unit in units)
        raise InvalidInput(f"{name} must be a time with its unit ({examples}), got {str(value)[:40]!r}")
    number = float(match[1])
    if not math.isfinite(number):
        raise InvalidInput(f"{name} must be finite, got {str(value)[:40]!r}")
    if not match[2] and number and not bare:
        raise InvalidInput(f"{name} needs a unit: {' or '.join(match[1] + unit for unit in units)}")
    return number * SECONDS[match[2] or "s"]
