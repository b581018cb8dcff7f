"""Wait for what must come, looking often, and fail where it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LIMIT_S = 30.0


def until(look: Callable[[], Found], limit_s: float = LIMIT_S) -> Found:
    """The first true thing that `look` finds."""
    end = time.monotonic() + limit_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"nothing came within {limit_s:.0f} s"
        time.sleep(0.02)
