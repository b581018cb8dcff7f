"""Follows the service of one address for as long as it is there, and again when it is back: as `Watch` does with the
user's own, but with no rendezvous to say why it is away."""

from __future__ import annotations

import asyncio
from logging import Logger

from workbench.client.client import AsyncClient
from workbench.errors import WorkbenchError
from workbench.live.tick import TickReader
from workbench.live.view import ServiceView
from workbench.live.watch import Listener
from workbench.rendezvous.service_record import ServiceState

AGAIN_S = 1.0
"""Before a service that does not answer is asked again."""


class RemoteWatch:
    """From `open` to `close`. Belongs to the event loop."""

    def __init__(self, client: AsyncClient, listener: Listener, log: Logger, *, interval_s: float = 0.25) -> None:
        """`client` is closed at the end."""
        self._client = client
        self._listener = listener
        self._log = log
        self._interval_s = interval_s
        self._ticks = TickReader()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._keep_following())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    async def _keep_following(self) -> None:
        while True:
            try:
                await self._follow()
                reason = "it ended"
            except WorkbenchError as error:
                reason = error.message
            except Exception as error:  # it is not one of ours, say
                self._log.exception("following a service failed; it is tried again")
                reason = f"its figures cannot be read ({type(error).__name__})"
            self._ticks.interrupted()
            self._listener.service_changed(ServiceView(ServiceState.STOPPED, reason, url=self._client.url))
            self._listener.models_changed([])
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        said = await self._client.service()
        devices = tuple(said.get("devices", ()))
        self._listener.service_changed(
            ServiceView(ServiceState.READY, url=self._client.url, version=said["version"], devices=devices)
        )
        known: object = None
        stream = self._client.snapshots(self._interval_s)
        try:
            async for line in stream:
                if line["changed"] != known:
                    known = line["changed"]
                    self._listener.models_changed(list((await self._client.service())["models"]))
                if line["interval_s"] > self._interval_s / 2:  # the first one covers no time
                    self._listener.ticked(self._ticks.take(line))
        finally:
            await stream.aclose()
