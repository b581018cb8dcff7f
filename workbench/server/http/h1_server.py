"""The life of an HTTP/1 server: accepts connections of one listening socket, counts them, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from email.utils import formatdate
from typing import Final

from workbench.server.accept_last import accept_last
from workbench.server.http.h1_connection import Application, ConnectionLimits, H1Connection
from workbench.telemetry.rate_limiter import RateLimiter

BACKLOG: Final = 2048
"""Connections that wait to be accepted."""

NEXT_REQUEST_S: Final = 0.5
"""At the end, what a connection that is kept open may take to send its next request, which is answered with
`Connection: close`. A connection that is just closed may be so while a request is on its way."""

log = logging.getLogger("workbench.server")


class H1Server:
    """One listening socket and its connections (as their `ConnectionOwner`). Belongs to the event loop."""

    def __init__(self, app: Application, limits: ConnectionLimits | None = None) -> None:
        self.app = app
        self.limits = limits or ConnectionLimits()
        self.connections: set[H1Connection] = set()
        self.started = False
        self.draining = False
        self.left = False
        """It takes no connections any more."""
        self._server: asyncio.Server | None = None
        self._stop = asyncio.Event()
        self._is_last = True
        self._gone = asyncio.Event()
        self._refusals = RateLimiter(0.1, 1)
        self._date = b""
        self._date_until = 0.0

    async def serve(self, listener: socket.socket, linger_s: float) -> None:
        """Serve until `stop`; then finish what has come, and leave the answers `linger_s` to be read."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: H1Connection(self), sock=listener, backlog=BACKLOG)
        self.started = True
        await self._stop.wait()
        self.begin_drain()
        if self._is_last and not self.left:
            await accept_last(listener)
        self.leave()
        await self.finish(linger_s)
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def stop(self, *, last: bool = True) -> None:
        """`last`: no other process accepts connections on the socket after this."""
        self._is_last = last
        self._stop.set()

    def begin_drain(self) -> None:
        """Make each answer from here on the last of its connection, and say so in it. New connections are taken."""
        self.draining = True
        for connection in self.connections:
            connection.begin_drain()

    def leave(self) -> None:
        """Take no new connection: another process that shares the socket will."""
        if self._server is not None and not self.left:
            self.left = True
            self._server.close()

    async def finish(self, linger_s: float) -> None:
        """End the connections: those that are in use with their next answers, idle ones after NEXT_REQUEST_S, busy
        ones when they are answered, and all after `linger_s` more."""
        await self._all_gone(NEXT_REQUEST_S)
        for connection in list(self.connections):
            connection.shutdown()
        await self._all_gone(linger_s)

    async def _all_gone(self, timeout_s: float) -> None:
        if self.connections:
            self._gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), timeout_s)

    def take_in(self, connection: H1Connection) -> bool:
        if len(self.connections) < self.limits.max_connections:
            self.connections.add(connection)
            return True
        if self._refusals.take(time.monotonic()):
            log.warning(
                "%d connections are open, as many as max_connections allows; more are refused with 503",
                len(self.connections),
            )
        return False

    def discard(self, connection: H1Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._gone.set()

    def date_line(self) -> bytes:
        now = time.monotonic()
        if now >= self._date_until:
            self._date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
            self._date_until = now + 1.0
        return self._date
