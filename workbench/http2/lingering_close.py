"""Ends a TCP connection so that its last words are not lost."""

from __future__ import annotations

import asyncio
from typing import Final

LINGER_S: Final = 2.0
"""What the peer may take to close its side, once it has been sent everything."""

UNTOLD_LINGER_S: Final = 0.5
"""Over TLS: what the peer may take to close before this side does, which a peer may be waiting for."""

LINGER_BYTES: Final = 16 * 1024 * 1024
"""What the peer may still send meanwhile."""


class LingeringClose(asyncio.Protocol):
    """Takes a connection over from its protocol: half-closes it, and discards what the peer sends until it closes too.

    A socket that is closed while the peer still sends is reset, and a reset may keep the peer from reading what was
    sent to it before. TLS has no half-close here: the peer must know from the protocol that it is to close. Nor does
    its transport tell what the socket has not taken yet, so in the end it is closed, which waits for that, and aborted
    only where the peer does not take it. (asyncio's own loop also aborts where the peer sends after that close.)
    """

    def __init__(self, transport: asyncio.Transport, before: asyncio.Protocol, stall_s: float) -> None:
        """Takes over at once. `before` is told when the connection is lost. `stall_s`: how long the peer may leave
        unread, without progress, what it was sent."""
        self._transport = transport
        self._before = before
        self._stall_s = stall_s
        self._half_closes = transport.can_write_eof()
        self._look_every_s = min(LINGER_S if self._half_closes else UNTOLD_LINGER_S, stall_s)
        self._stalled_s = 0.0
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._unread = transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._look_every_s, self._look)
        transport.set_protocol(self)
        try:
            if self._half_closes:
                transport.write_eof()
            if not transport.is_reading():
                transport.resume_reading()
        except OSError:  # the peer has closed, and answered what was just sent with a reset
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > LINGER_BYTES:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._before.connection_lost(exc)

    def _look(self) -> None:
        before, self._unread = self._unread, self._transport.get_write_buffer_size()
        self._stalled_s = self._stalled_s + self._look_every_s if self._unread == before else 0.0
        over = not before and not self._unread
        if over and not self._half_closes:
            self._timer = close_within(self._transport, self._stall_s)
        elif over or self._stalled_s >= self._stall_s:
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(self._look_every_s, self._look)


def close_within(transport: asyncio.Transport, limit_s: float) -> asyncio.TimerHandle:
    """Closes once the peer has taken what was sent to it, and aborts in `limit_s`. Cancel what is returned once the
    connection is lost."""
    transport.close()
    return asyncio.get_running_loop().call_later(limit_s, transport.abort)
