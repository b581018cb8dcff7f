"""Follows a service at an address, and reconnects when it comes back. `Watch` does this for the user's own service,
whose rendezvous also says why it is away."""

from __future__ import annotations

import asyncio
from logging import Logger

from workbench.client.client import AsyncClient
from workbench.errors import WorkbenchError
from workbench.live.catching_up import CatchingUp
from workbench.live.tick import TickReader
from workbench.live.view import ServiceView
from workbench.live.watch import Listener
from workbench.rendezvous.service_record import ServiceState

AGAIN_S = 1.0
"""Seconds until a service that does not answer is tried again."""


class RemoteWatch:
    """Follows the service from `open` to `close`. Used on the event loop only."""

    def __init__(self, client: AsyncClient, listener: Listener, log: Logger, *, interval_s: float = 0.25) -> None:
        """`close` closes `client` too."""
        self._client = client
        self._listener = listener
        self._log = log
        self._interval_s = interval_s
        self._ticks = TickReader()
        self._catching_up = CatchingUp(self._ticks)
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
            except Exception as error:  # for example, another kind of server
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
        stream = self._client.snapshots(self._interval_s, past_s=self._catching_up.missed_s())
        try:
            async for line in stream:
                if self._catching_up.takes(line):
                    continue
                if missed := self._catching_up.missed():
                    self._listener.caught_up(missed)
                if line["changed"] != known:
                    known = line["changed"]
                    self._listener.models_changed(list((await self._client.service())["models"]))
                if line["interval_s"] > self._interval_s / 2:  # the first one covers no time
                    self._listener.ticked(self._catching_up.present(line))
        finally:
            await stream.aclose()
