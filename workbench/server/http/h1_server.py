"""The life of an HTTP/1 server: accepts connections of one listening socket, counts them, and ends them."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from email.utils import formatdate
from typing import Final

from workbench.server.http.h1_connection import Application, ConnectionLimits, H1Connection
from workbench.telemetry.rate_limiter import RateLimiter

BACKLOG: Final = 2048
"""Connections that wait to be accepted."""

log = logging.getLogger("workbench.server")


class H1Server:
    """One listening socket and its connections (as their `ConnectionOwner`). Belongs to the event loop."""

    def __init__(self, app: Application, limits: ConnectionLimits | None = None) -> None:
        self.app = app
        self.limits = limits or ConnectionLimits()
        self.connections: set[H1Connection] = set()
        self.started = False
        self.left = False
        """It takes no connections any more."""
        self._server: asyncio.Server | None = None
        self._stop = asyncio.Event()
        self._refusals = RateLimiter(0.1, 1)
        self._date = b""
        self._date_until = 0.0

    async def serve(self, listener: socket.socket, linger_s: float) -> None:
        """Serve until `stop`, and then leave the answers under way `linger_s` to be read."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: H1Connection(self), sock=listener, backlog=BACKLOG)
        self.started = True
        await self._stop.wait()
        self.leave()
        await self.linger(linger_s)
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def stop(self) -> None:
        self._stop.set()

    def leave(self) -> None:
        """Take no new connection: another process that shares the socket will. Connections end with the answers under
        way."""
        if self._server is not None and not self.left:
            self.left = True
            self._server.close()
            for connection in list(self.connections):
                connection.shutdown()

    async def linger(self, timeout_s: float) -> None:
        """Give the answers under way the time to leave."""
        until = time.monotonic() + timeout_s
        while self.connections and time.monotonic() < until:  # noqa: ASYNC110 - nothing tells its end
            await asyncio.sleep(0.02)

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

    def date_line(self) -> bytes:
        now = time.monotonic()
        if now >= self._date_until:
            self._date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
            self._date_until = now + 1.0
        return self._date
