"""The life of an HTTP/1 server: accepts connections of one listening socket, counts them, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from workbench.server.accept_last import accept_last
from workbench.server.acceptor import Acceptor
from workbench.server.gate.connection_caps import ConnectionCaps, Place
from workbench.server.gate.unread_answers import UnreadAnswers
from workbench.server.http.h1_connection import NOT_KEPT, TOO_MANY, Application, ConnectionLimits, H1Connection
from workbench.server.http.shared_turns import SharedTurns

NEXT_REQUEST_S: Final = 0.5
"""At the end, what a connection that is kept open may take to send its next request, which is answered with
`Connection: close`. A connection that is just closed may be so while a request is on its way."""


class H1Server:
    """One listening socket and its connections (as their `ConnectionOwner`). Belongs to the event loop."""

    def __init__(
        self,
        app: Application,
        caps: ConnectionCaps,
        unread: UnreadAnswers,
        limits: ConnectionLimits | None = None,
        tls: ssl.SSLContext | None = None,
        remote_app: Application | None = None,
        is_remote: Callable[[str, str], bool] | None = None,
    ) -> None:
        """`remote_app` answers connections that came from other machines, as `is_remote` says (see Acceptor)."""
        self.app = app
        self.caps = caps
        self.unread = unread
        self.turns = SharedTurns()
        self.limits = limits or ConnectionLimits()
        self.connections: set[H1Connection] = set()
        self.started = False
        self.draining = False
        self.left = False
        """It takes no connections any more."""
        self._tls = tls
        self._remote_app = remote_app
        self._is_remote = is_remote
        self._acceptor: Acceptor | None = None
        self._stop = asyncio.Event()
        self._is_last = True
        self._gone = asyncio.Event()
        self._lines = b""
        self._lines_until = 0.0

    async def serve(self, listener: socket.socket, linger_s: float) -> None:
        """Serve until `stop`; then finish what has come, and leave the answers `linger_s` to be read."""
        refusal = TOO_MANY if self._tls is None else b""  # which would have to be encrypted
        self._acceptor = Acceptor(
            listener, self._connection, self.caps, refusal=refusal, tls=self._tls, is_remote=self._is_remote
        )
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

    def _connection(self, place: Place) -> H1Connection:
        return H1Connection(self, place, self._remote_app if place.remote else None)

    def stop(self, *, last: bool = True) -> None:
        """`last`: no other process accepts connections on the socket after this."""
        self._is_last = last
        self._stop.set()

    def token_replaced(self) -> None:
        """End what is under way and needs a token that is valid."""
        for connection in list(self.connections):
            connection.token_replaced()

    def share_revoked(self) -> None:
        """End the requests of revoked callers that are not whole."""
        for connection in list(self.connections):
            connection.end_unfinished()

    def begin_drain(self) -> None:
        """Make each answer from here on the last of its connection, and say so in it. New connections are taken."""
        self.draining = True
        for connection in self.connections:
            connection.begin_drain()

    def leave(self) -> None:
        """Take no new connection: another process that shares the socket will."""
        if self._acceptor is not None and not self.left:
            self.left = True
            self._acceptor.close()

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

    def add(self, connection: H1Connection) -> None:
        self.connections.add(connection)

    def discard(self, connection: H1Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._gone.set()

    def common_lines(self) -> bytes:
        now = time.monotonic()
        if now >= self._lines_until:
            self._lines = b"date: %b\r\n%b" % (formatdate(usegmt=True).encode(), NOT_KEPT)
            self._lines_until = now + 1.0
        return self._lines
