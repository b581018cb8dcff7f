"""The WebSocket of docs/jupyter.md, one for each open page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.web import HTTPError, stream_request_body
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from workbench.jupyter.endpoint_address import EndpointAddress
from workbench.jupyter.routes import RESOURCE
from workbench.live.relay import HEARTBEAT_S, MESSAGE_BYTES, Relay, Subscriber

MAX_PAGES = 100
"""Most sockets at once; one more is closed with TRY_LATER."""

GOING_AWAY = 1001
FAILED = 1011
TRY_LATER = 1013


@stream_request_body
class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Sends a Subscriber's due messages, each when the one before has left this process."""

    auth_resource = RESOURCE
    page: Subscriber | None = None
    _sending: asyncio.Task[None] | None = None

    def initialize(
        self, relay: Relay, sockets: set[StreamHandler], changed: Callable[[], None], address: EndpointAddress
    ) -> None:
        """`sockets` holds the open ones; this one adds itself. `changed` is called when one opens or closes."""
        self._address = address
        self._relay = relay
        self._sockets = sockets
        self._changed = changed

    async def prepare(self) -> None:  # type: ignore[override]
        await super().prepare()
        if self.current_user is None:
            raise HTTPError(403)

    def data_received(self, chunk: bytes) -> None:
        """A body, which a socket has not: it is not held."""

    @property
    def max_message_size(self) -> int:
        return MESSAGE_BYTES

    @ws_authenticated
    @authorized
    async def get(self, *args: str, **kwargs: str) -> None:
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        super().open(*args, **kwargs)
        if len(self._relay.subscribers) >= MAX_PAGES:
            self.close(TRY_LATER, "too many pages are open")
            return
        self._address.page_opened(self.request.headers.get("Origin", ""))
        self.page = self._relay.join()
        self._sockets.add(self)
        self._changed()
        self._sending = asyncio.create_task(self._send(self.page))

    def on_message(self, message: str | bytes) -> None:
        if self.page is not None:
            self.page.handle_message(message)

    def on_close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        if self.page is not None:
            self._relay.leave(self.page)
            self._sockets.discard(self)
            self._changed()
        super().on_close()

    async def leave(self) -> None:
        """Close the socket because this server shuts down."""
        sending, self._sending = self._sending, None
        self.close(GOING_AWAY, "the Jupyter server is shutting down")
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, page: Subscriber) -> None:
        try:
            while True:
                await self.write_message(await page.next(HEARTBEAT_S))
        except WebSocketClosedError:
            pass
        except Exception:
            self.log.exception("sending to a page failed; the page will reconnect")
            self.close(FAILED)
