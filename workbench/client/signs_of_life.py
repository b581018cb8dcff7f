"""Waits for a call that may take long, a load of a large model, for as long as the service shows that it lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_S = 10.0
"""How often the service is asked meanwhile, and how long it may take to answer."""

SILENT_S = 60.0
"""A service that has answered nothing for so long is not waited for any longer."""


async def while_alive(
    call: Coroutine[Any, Any, T],
    alive: Callable[[], Awaitable[bool]],
    *,
    silent_s: float = SILENT_S,
    look_s: float = LOOK_S,
) -> T:
    """What `call` returns or raises. TimeoutError once `alive` has been false, or unanswered, for `silent_s`.

    The call is cancelled then, and where the caller is cancelled.
    """
    working = asyncio.ensure_future(call)
    heard_at = time.monotonic()
    try:
        while True:
            done, _ = await asyncio.wait([working], timeout=look_s)
            if done:
                return working.result()
            if await _answered(alive, look_s):
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at >= silent_s and not working.done():
                raise TimeoutError
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait([working])


async def _answered(alive: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await alive()
    except TimeoutError:
        return False
