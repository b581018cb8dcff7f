"""A counter of model changes that callers can wait on."""

from __future__ import annotations

import asyncio


class ChangeCounter:
    """Counts changes and wakes those who wait for one. Used on the event loop only."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def note(self) -> None:
        """Count one change."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def beyond(self, count: int) -> int:
        """Wait until the count differs from `count`, and return it."""
        while self.count == count:
            await self._next.wait()
        return self.count
