"""Watches the model repositories of a service that was started with `--repository-mode poll`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from workbench.core.threads import in_thread
from workbench.repository.settled_changes import FolderChange, Listing, SettledChanges

log = logging.getLogger("workbench.repository")

LEAST_S = 0.25
"""Between two looks, however many events come."""


class Reader(Protocol):
    def read(self) -> Listing:
        """What the repositories hold. Blocks."""
        ...


class RepositoryWatch:
    """Belongs to the event loop. `begin` before models are loaded at the start, so that what changes meanwhile is found
    later; then `run`, until its task is cancelled."""

    def __init__(
        self,
        reader: Reader,
        follow: Callable[[FolderChange], Awaitable[bool]],
        poll_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`follow` acts on a change; False: it is to be called again, after `poll_s`."""
        self._reader = reader
        self._follow = follow
        self._poll_s = poll_s
        self._clock = clock
        self._wall = wall
        self._settled: SettledChanges | None = None
        self._woken = asyncio.Event()
        self._later: dict[str, FolderChange] = {}
        self._later_at = 0.0

    async def begin(self) -> None:
        """What the repositories hold now is what is loaded first."""
        self._settled = SettledChanges(await in_thread(self._reader.read))

    @property
    def first(self) -> list[FolderChange]:
        """The models that are there at the start, as changes to be followed."""
        return self._settled.known() if self._settled is not None else []

    async def load_first(self, change: FolderChange) -> None:
        """Act on one of `first`."""
        if not await self._follow(change):
            self._put_off(change)

    def wake(self) -> None:
        """Something may have changed: look soon."""
        self._woken.set()

    async def run(self, loaded: asyncio.Event) -> None:
        """From when the models of the start are `loaded`."""
        await loaded.wait()
        while True:
            self._woken.clear()
            wait_s = self._poll_s
            try:
                wait_s = await self.look()
            except Exception:  # ours; what serves goes on, and the next look may do
                log.exception("the model repositories could not be looked at")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            await asyncio.sleep(LEAST_S)

    async def look(self) -> float:
        """Act on what has become complete; for how long nothing more can, unless something changes."""
        if self._settled is None:
            await self.begin()
        assert self._settled is not None
        listing = await in_thread(self._reader.read)
        now = self._clock()
        due = {each.name: each for each in self._settled.look(listing, now, self._wall())}
        again = (
            dict(self._later)
            if now >= self._later_at
            else {name: self._later[name] for name in due.keys() & self._later.keys()}
        )
        for name, earlier in again.items():
            due[name] = due[name].after(earlier) if name in due else earlier
            del self._later[name]
        for change in due.values():
            if not await self._follow(change):
                self._put_off(change)
        left = self._settled.wait_s(self._clock())
        return min(self._poll_s, max(left, 0.0)) if left is not None else self._poll_s

    def _put_off(self, change: FolderChange) -> None:
        self._later[change.name] = change
        self._later_at = self._clock() + self._poll_s
