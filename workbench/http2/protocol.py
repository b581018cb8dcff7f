"""Runs HTTP/2 connections on an asyncio event loop: transport, back-pressure, timeouts and shutdown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, cast

from workbench.http2.abuse_guard import AddressBudgets
from workbench.http2.connection import MAX_STREAMS, H2Connection
from workbench.http2.lingering_close import LingeringClose, close_within
from workbench.http2.stream import Stream
from workbench.http2.time_limits import Overdue, TimeLimits

ANNOUNCE_S: Final = 0.25
"""What clients may take to see that no more calls are wanted; calls on their way until then are served."""


class Seat(Protocol):
    """What counts a connection from its acceptance to its end."""

    evict: Callable[[], object]
    """Set by the connection: closes it at once, because another needs its place."""

    def trust(self, guest: bool) -> None:
        """A call came on it with a token; `guest`: with one that somebody else was given."""
        ...

    def distrust(self) -> None:
        """The token is valid no longer."""
        ...

    def release(self) -> None: ...


class UnreadCount(Protocol):
    """Counts what the peers of all connections have not read of their answers."""

    def count(self, reader: Http2Protocol, size: int, *, reads: bool = False) -> None:
        """`reader` has `size` bytes to read. `reads`: it has just read of them. May call its `reset`."""
        ...


class Connections:
    """The open connections of one server. Only for use on the event loop."""

    def __init__(
        self,
        note: Callable[[str], None] = lambda why: None,
        address_of: Callable[[object], str] = str,
        unread: UnreadCount | None = None,
        most_unread: int | None = None,
    ) -> None:
        """`note` is told why something of a client was ended. `address_of`: what peers count under, of the socket's
        address. `unread`: where answers count that wait for their peers. `most_unread`: bytes that several such answers
        may have on one connection."""
        self.unread = unread
        self.most_unread = most_unread
        self.note = note
        self._address_of = address_of
        self._budgets = AddressBudgets(time.monotonic)
        self._open: set[Http2Protocol] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._closing = False

    def add(self, connection: Http2Protocol) -> None:
        self._open.add(connection)
        self._all_closed.clear()
        if self._closing:  # accepted, or through its TLS handshake, only now
            connection.send_goaway()

    def discard(self, connection: Http2Protocol) -> None:
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()

    def reconsider(self) -> None:
        """What heads mean has changed: forgets what was derived from them, and asks each stream whether it goes on."""
        for each in list(self._open):
            each.connection.reconsider()

    def charge(self, peer: object, cost: float) -> bool:
        """Charges a peer's address. False where it has used up too much."""
        return self._budgets.take(self._address_of(peer), cost)

    async def leave(self) -> None:
        """Has clients make no more calls. Returns when each has seen that, after ANNOUNCE_S at the latest; those under
        way go on."""
        self._closing = True
        for connection in list(self._open):
            connection.announce_goaway()
        until = time.monotonic() + ANNOUNCE_S
        while time.monotonic() < until and not all(each.leaving for each in self._open):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)
        for connection in list(self._open):
            connection.send_goaway()

    async def close(self, linger_s: float) -> None:
        """Refuses new calls and waits up to `linger_s` for those under way. Returns once all connections are closed."""
        self._closing = True
        for connection in list(self._open):
            connection.send_goaway()
        try:
            async with asyncio.timeout(linger_s):
                await self._all_closed.wait()
        except TimeoutError:
            for connection in list(self._open):
                connection.abort()
            await self._all_closed.wait()


class Http2Protocol(asyncio.Protocol):
    """One connection: feeds received bytes to `H2Connection` and writes what it sends."""

    def __init__(
        self,
        make_stream: Callable[[H2Connection, int], Stream],
        connections: Connections,
        limits: TimeLimits | None = None,
        seat: Seat | None = None,
        stranger_streams: int = MAX_STREAMS,
    ) -> None:
        """`stranger_streams`: calls at once until `H2Connection.trust`."""
        self._make_stream = make_stream
        self._connections = connections
        self._limits = limits or TimeLimits()
        self._seat = seat
        self._stranger_streams = stranger_streams
        self._pinged_s: float | None = None
        """When a keepalive ping was sent that is unanswered."""
        self._behind = False
        """Received frames wait for their turn, so the transport is not read."""
        self._scheduled = False
        """The loop will call `_continue`."""
        self._counted = False
        """Some of its answers count as unread."""
        self._sent = 0
        """What had been sent of such answers when they were counted last."""
        self._is_reset = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, transport)
        peer = self._transport.get_extra_info("peername")
        self.connection = connection = H2Connection(
            self._transport.write,
            self._end,
            self._make_stream,
            self._loop.time,
            self._stranger_streams,
            partial(self._connections.charge, peer),
        )
        connection.peer = peer
        if self._seat is not None:
            connection.on_trust, connection.on_distrust = self._seat.trust, self._seat.distrust
            self._seat.evict = self._transport.abort
        connection.out.on_kept = self._count_unread
        if self._connections.most_unread is not None:
            connection.out.most_kept = self._connections.most_unread
        self._made_s = self._last_data_s = self._loop.time()
        self._overdue = Overdue(self._limits, self._made_s)
        self._timer = self._loop.call_later(self._limits.look_every_s, self._look)
        self.connection.send_settings()
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._last_data_s = self._loop.time()
        self._pinged_s = None
        self._receive(data)

    def pause_writing(self) -> None:
        # Back-pressure: reading stops while the peer does not drain our writes, so that buffered output stays bounded
        # by what the peer has requested.
        self.connection.pause()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.connection.resume()
        self._resume_reading()
        if self._counted:
            self._count_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.discard(self)
        if self._seat is not None:
            self._seat.release()
        self.connection.connection_lost()

    @property
    def leaving(self) -> bool:
        return self.connection.leaving

    def announce_goaway(self) -> None:
        self.connection.announce_goaway()

    def send_goaway(self) -> None:
        """Refuses new calls, and closes once those under way are answered."""
        self.connection.send_goaway()

    def abort(self) -> None:
        self._transport.abort()

    def reset(self) -> None:
        """Others need the room that its unread answers take, which count no more."""
        self._is_reset = True
        self._transport.abort()

    def _count_unread(self) -> None:
        unread, out = self._connections.unread, self.connection.out
        if unread is not None and not self._is_reset:
            reads, self._sent = out.sent != self._sent, out.sent
            self._counted = bool(out.kept)
            unread.count(self, out.kept, reads=reads)

    def _end(self) -> None:
        self._timer.cancel()
        if self.connection.abused:
            self._connections.note(self.connection.why)
            # What else it sends is not worth reading, even if that costs it our last words
            self._timer = close_within(self._transport, self._limits.stall_s)
        elif not self._transport.is_closing():
            LingeringClose(self._transport, self, self._limits.stall_s)

    def _receive(self, data: bytes) -> None:
        behind = self.connection.receive(data)
        if self._counted:  # it may have opened its windows
            self._count_unread()
        if behind and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._continue)
        if behind and not self._behind and not self._transport.is_closing():
            self._behind = True
            self._transport.pause_reading()
        elif self._behind and not behind:
            self._behind = False
            self._resume_reading()

    def _continue(self) -> None:
        self._scheduled = False
        self._receive(b"")

    def _resume_reading(self) -> None:
        if not (self._behind or self.connection.out.paused or self._transport.is_closing()):
            self.connection.restart_time()
            self._transport.resume_reading()

    def _look(self) -> None:
        """Ends what is late, and pings or disconnects a silent client. Runs now and then: resetting a timer for each
        frame would cost more."""
        limits, now_s = self._limits, self._loop.time()
        pinged_s = self._pinged_s
        if (not self.connection.settings_received and now_s - self._made_s >= limits.settings_s) or (
            pinged_s is not None and now_s - pinged_s >= limits.keepalive_timeout_s
        ):
            self._connections.note("no sign of life came")
            self._transport.abort()
            return
        if self.connection.settings_received:
            if pinged_s is None and now_s - self._last_data_s >= limits.keepalive_s:
                self._pinged_s = now_s
                self.connection.ping()
            reads = not (self._behind or self.connection.out.paused)
            why = self._overdue.look(self.connection, now_s, reads=reads)
            if why and not self.connection.abused:
                self._connections.note(why)
        if not self.connection.closed:
            self._timer = self._loop.call_later(limits.look_every_s, self._look)
