"""Waits for what must come, looking often, and says what it was where it does not come."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LIMIT_S = 60.0
"""A busy machine is slow; how soon something must come is for a test to assert that measures it."""

LOOK_S = 0.01
TURNS = 100
"""How many turns of a loop are looked after one by one, before `LOOK_S` lies between two looks."""


def until(look: Callable[[], Found], limit_s: float = LIMIT_S) -> Found:
    """The first true thing that `look` finds."""
    end = time.monotonic() + limit_s
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, _in_vain(look, limit_s)
        time.sleep(LOOK_S)


async def until_async(look: Callable[[], Found], limit_s: float = LIMIT_S) -> Found:
    """The first true thing that `look` finds, while the loop turns."""
    end = time.monotonic() + limit_s
    turns = 0
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, _in_vain(look, limit_s)
        turns += 1
        await asyncio.sleep(0 if turns < TURNS else LOOK_S)


def _in_vain(look: Callable[[], object], limit_s: float) -> str:
    try:
        words = inspect.getsource(look).strip()
    except (OSError, TypeError):
        words = repr(look)
    return f"waited {limit_s:g} s in vain for: {words}"
