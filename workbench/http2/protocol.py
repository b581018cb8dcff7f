"""A connection of HTTP/2 on an event loop: its bytes to and from the transport, and what only a clock can end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from workbench.http2.connection import Connection
from workbench.http2.stream import Stream

GREETING_S: Final = 10.0
"""How long a client may take until its first settings are here."""

KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 60.0, 20.0
"""When nothing came from a client for so long it is asked for a sign of life, and how long it may take to give one."""


class Connections:
    """Those of one server that are open. Belongs to the event loop."""

    def __init__(self) -> None:
        self._open: set[Http2Protocol] = set()
        self._none = asyncio.Event()
        self._none.set()
        self._closing = False

    def add(self, connection: Http2Protocol) -> None:
        self._open.add(connection)
        self._none.clear()
        if self._closing:  # it waited to be accepted, or for TLS
            connection.send_goaway()

    def discard(self, connection: Http2Protocol) -> None:
        self._open.discard(connection)
        if not self._open:
            self._none.set()

    async def close(self, linger_s: float) -> None:
        """Take no further call, and leave `linger_s` to those under way. Returns when all is closed."""
        self._closing = True
        for connection in list(self._open):
            connection.send_goaway()
        try:
            async with asyncio.timeout(linger_s):
                await self._none.wait()
        except TimeoutError:
            for connection in list(self._open):
                connection.abort()
            await self._none.wait()


class Http2Protocol(asyncio.Protocol):
    """One connection, among those of its server."""

    def __init__(
        self,
        make_stream: Callable[[Connection, int], Stream],
        connections: Connections,
        greeting_s: float = GREETING_S,
        keepalive_s: float = KEEPALIVE_S,
        keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
    ) -> None:
        self._make_stream = make_stream
        self._connections = connections
        self._greeting_s = greeting_s
        self._keepalive_s = keepalive_s
        self._keepalive_timeout_s = keepalive_timeout_s
        self._asked = False
        """It was asked for a sign of life."""
        self._behind = False
        """More has come than was worked off, so nothing further is read."""
        self._called = False
        """`_go_on` is to be called by the loop."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, transport)
        self.connection = Connection(self._transport.write, self._transport.close, self._make_stream, self._loop.time)
        self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(self._greeting_s, self._check_keepalive)
        self.connection.send_settings()
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        self._asked = False
        self._take(data)

    def pause_writing(self) -> None:
        # Who does not read its answers is not read from: so what waits for it is no more than it has asked for.
        self.connection.pause()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.connection.resume()
        self._read_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.discard(self)
        self.connection.connection_lost()

    def send_goaway(self) -> None:
        """Take no further call, and close when those under way are answered."""
        self.connection.send_goaway()

    def abort(self) -> None:
        self._transport.abort()

    def _take(self, data: bytes) -> None:
        behind = self.connection.receive(data)
        if behind and not self._called:
            self._called = True
            self._loop.call_soon(self._go_on)
        if behind and not self._behind and not self._transport.is_closing():
            self._behind = True
            self._transport.pause_reading()
        elif self._behind and not behind:
            self._behind = False
            self._read_again()

    def _go_on(self) -> None:
        self._called = False
        self._take(b"")

    def _read_again(self) -> None:
        if not (self._behind or self.connection.out.paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def _check_keepalive(self) -> None:
        """Is anybody there? A timer for each of its frames would cost more than looking now and then."""
        silent_s = self._loop.time() - self._heard_s
        if not self.connection.settled or (self._asked and silent_s >= self._keepalive_timeout_s):
            self._transport.abort()
            return
        if silent_s >= self._keepalive_s:
            self._asked = True
            self.connection.ping()
            self._timer = self._loop.call_later(self._keepalive_timeout_s, self._check_keepalive)
        else:
            self._timer = self._loop.call_later(self._keepalive_s - silent_s, self._check_keepalive)
