"""Feeds live figures to widgets from inside a kernel, for pages without our server extension.

The parts are those of the server extension: `Watch` follows the service, `Ring` keeps its last minutes, and each widget
is a `Subscriber` whose messages travel over its comm. Everything runs on the client's background thread, so a busy
kernel delays nothing. Any thread may call.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Protocol

from workbench.client import sync
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.live.relay import HEARTBEAT_S, MAX_WINDOW_S, Relay
from workbench.live.remote_watch import RemoteWatch
from workbench.live.ring import Ring
from workbench.live.tick import Tick
from workbench.live.view import ServiceView
from workbench.live.watch import Watch
from workbench.rendezvous.leases import holders
from workbench.rendezvous.service_record import ServiceState

INTERVAL_S = 0.25
"""Seconds between two ticks."""

FIRST_LOOK_S = 2.0
"""Longest wait for the first state of the service when a feed is opened."""

_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())  # failures of the service are shown on the page, not printed into a cell

Send = Callable[[str], None]
"""Sends a page a message of docs/jupyter.md, "The stream". Called on the background thread."""


class FigureSource(Protocol):
    """Feeds a Relay with the figures of one service, from `open` to `close`, awaited on the background loop."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class Feed:
    """Follows one service while at least one holder has the feed open."""

    def __init__(self, source: Callable[[Relay], FigureSource], told: Callable[[], bool] = lambda: False) -> None:
        self.told_by_server = told
        """Returns whether this kernel's Jupyter server sends its pages the figures of the same service."""
        self._source = source
        self._holders: set[object] = set()
        self._following: FigureSource | None = None
        self._ring = Ring(round(MAX_WINDOW_S / INTERVAL_S))
        self._relay = _Relay(self._ring, version("infer-workbench"), INTERVAL_S, lambda: None)
        self._order: asyncio.Lock | None = None

    @property
    def service(self) -> ServiceView:
        """The last known state of the service."""
        return self._relay.view

    def hold(self, holder: object) -> None:
        """Follow the service at least until `holder` lets go. Returns when its state is known."""
        sync.run(self._hold(holder))

    def let_go(self, holder: object) -> None:
        """Release the hold. For any thread, the background one included; does not wait."""
        sync.start(self._let_go(holder))

    def history(self, models: list[str] | None, window_s: float, points: int) -> dict[str, Any]:
        """Return the stream's message `history` without its type. For any thread, the background one included."""
        if sync.is_here():
            return self._ring.history(models, window_s, points)
        return sync.run(self._history(models, window_s, points))

    @property
    def models(self) -> list[Mapping[str, Any]]:
        """The last known statuses of all versions (docs/http.md, STATUS)."""
        return list(self._relay.models)

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` on the background thread when the service or a model changes.

        Returns a function that ends it.
        """
        self._relay.listeners.append(changed)
        return lambda: self._relay.listeners.remove(changed) if changed in self._relay.listeners else None

    def join(self, send: Send) -> Channel:
        """Serve one more page until its channel is closed."""
        return Channel(self._relay, send)

    async def _hold(self, holder: object) -> None:
        self._order = self._order or asyncio.Lock()
        async with self._order:
            self._holders.add(holder)
            if self._following is None:
                self._following = self._source(self._relay)
                await self._following.open()
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await self._relay.told.wait()
                if self._relay.view.state is ServiceState.READY:
                    await self._relay.shown.wait()

    async def _let_go(self, holder: object) -> None:
        self._order = self._order or asyncio.Lock()
        async with self._order:
            self._holders.discard(holder)
            if not self._holders and self._following is not None:
                following, self._following = self._following, None
                await following.close()

    async def _history(self, models: list[str] | None, window_s: float, points: int) -> dict[str, Any]:
        return self._ring.history(models, window_s, points)


class Channel:
    """A page at the other end of a comm, until `close`."""

    def __init__(self, relay: Relay, send: Send) -> None:
        self._relay = relay
        self._send = send
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._telling: Future[None] = sync.start(self._tell())

    def handle_message(self, text: str) -> None:
        """Take a message of the page."""
        sync.start(self._said.put(text))

    def close(self) -> None:
        """Stop serving the page. A second call does nothing."""
        self._telling.cancel()

    async def _tell(self) -> None:
        page = self._relay.join()
        listening = asyncio.create_task(self._listen(page.handle_message))
        try:
            while True:
                self._send(await page.next(HEARTBEAT_S))
        finally:
            listening.cancel()
            self._relay.leave(page)

    async def _listen(self, hear: Callable[[str], None]) -> None:
        while True:
            hear(await self._said.get())


def of_shared(shared: SharedService) -> Feed:
    """Return a feed of the user's shared service across its restarts. It starts no service and holds no lease."""
    # A SharedService of its own, so that closing the feed does not release the lease of this process.
    own = SharedService(shared.rendezvous, shared.data_dir)

    def watch(relay: Relay) -> FigureSource:
        return Watch(own, relay, _LOG, version=version("infer-workbench"), interval_s=INTERVAL_S, hold=False)

    def told() -> bool:
        # The server extension holds a lease while it follows the service, and a kernel is a child of its server.
        return os.getppid() in {holder.pid for holder in holders(own.rendezvous.leases)}

    return Feed(watch, told)


def of_client(client: AsyncClient) -> Feed:
    """Return a feed of the service at the client's address."""
    return Feed(lambda relay: RemoteWatch(client.clone(), relay, _LOG, interval_s=INTERVAL_S))


class _Relay(Relay):
    """A Relay that also keeps the state for callers in the kernel."""

    view = ServiceView()

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.told = asyncio.Event()
        """Set when the state of the service is known."""
        self.shown = asyncio.Event()
        """Set when the first figures came."""
        self.models: list[Any] = []
        self.listeners: list[Callable[[], None]] = []

    def service_changed(self, service: ServiceView) -> None:
        super().service_changed(service)
        self.view = service
        self.told.set()
        self._call()

    def models_changed(self, models: list[Any]) -> None:
        super().models_changed(models)
        self.models = models
        self._call()

    def ticked(self, tick: Tick) -> None:
        super().ticked(tick)
        self.shown.set()

    def _call(self) -> None:
        for listener in list(self.listeners):
            listener()
