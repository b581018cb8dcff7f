"""How often the models have changed, and a wait for the next time."""

from __future__ import annotations

import asyncio


class ChangeCounter:
    """Counts; belongs to the event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def note(self) -> None:
        """Something changed."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def beyond(self, count: int) -> int:
        """The count, as soon as it is another than `count`."""
        while self.count == count:
            await self._next.wait()
        return self.count
