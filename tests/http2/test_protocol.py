"""Connections on real loops and sockets: timeouts, back-pressure and shutdown."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tests.http2.in_process import END, HEAD, REQUEST, Noted
from workbench.http2 import frames
from workbench.http2.frames import END_HEADERS, END_STREAM, ErrorCode, frame
from workbench.http2.protocol import Connections, Http2Protocol
from workbench.http2.time_limits import TimeLimits

Run = Callable[[Awaitable[Any]], Any]

NEVER_S = 60.0


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20))  # type: ignore[arg-type]


class Seat:
    """Notes what becomes of a connection."""

    def __init__(self) -> None:
        self.trusted = self.released = False
        self.evict: Callable[[], object] = lambda: None

    def trust(self, guest: bool) -> None:
        self.trusted = True

    def distrust(self) -> None:
        self.trusted = False

    def release(self) -> None:
        self.released = True


class Port:
    """A server whose streams wait to be answered by the test."""

    def __init__(self) -> None:
        self.connections = Connections()
        self.streams: list[Noted] = []
        self.protocols: list[Http2Protocol] = []
        self.seats: list[Seat] = []
        self.address = ("", 0)

    def stream(self, *args: Any) -> Noted:
        self.streams.append(Noted(*args))
        return self.streams[-1]

    @asynccontextmanager
    async def client(self, hello: bytes = frames.PREFACE + frames.settings({})) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(hello)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, number: int) -> None:
        self.writer.write(frame(frames.HEADERS, END_HEADERS | END_STREAM, number, REQUEST))

    async def frame(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """The next of one of these kinds."""
        while True:
            high, low, kind, flags, number = frames.HEAD.unpack(await self.reader.readexactly(frames.HEAD_BYTES))
            payload = await self.reader.readexactly(high << 8 | low)
            if kind in kinds:
                return kind, flags, number, payload

    async def over(self) -> None:
        """Until the server has hung up."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except ConnectionResetError:
            pass
        self.writer.close()


@asynccontextmanager
async def open_port(**times_s: float) -> AsyncIterator[Port]:
    port = Port()

    def protocol() -> Http2Protocol:
        port.seats.append(Seat())
        port.protocols.append(Http2Protocol(port.stream, port.connections, TimeLimits(**times_s), port.seats[-1]))
        return port.protocols[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    port.address = server.sockets[0].getsockname()
    try:
        yield port
    finally:
        server.close()
        await port.connections.close(0)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


# Turns


def test_a_flood_of_one_client_is_handled_in_turns_with_others(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client() as flood, port.client() as other:
            pings = [frame(frames.PING, 0, 0, b"%08d" % number) for number in range(2000)]
            flood.writer.write(b"".join(pings))
            other.ask(1)
            for number in range(2000):
                _, flags, _, payload = await flood.frame(frames.PING)
                assert (flags, payload) == (frames.ACK, b"%08d" % number)
            flood.ask(1)  # it is read from again
            await until(lambda: len(port.streams) == 2)

    run(story())


# Timeouts


def test_a_client_that_sends_no_settings_is_disconnected(run: Run) -> None:
    async def story() -> None:
        async with (
            open_port(settings_s=0.05) as port,
            port.client(frames.PREFACE) as silent,
            port.client() as polite,
        ):
            await silent.over()
            polite.ask(1)
            await until(lambda: port.streams)

    run(story())


def test_a_client_that_is_late_is_disconnected_and_its_seat_is_free(run: Run) -> None:
    async def story() -> None:
        notes: list[str] = []
        async with open_port(settings_s=5, frame_s=0.1) as port, port.client() as late, port.client() as evicted:
            port.connections.note = notes.append
            late.ask(1)
            evicted.ask(1)
            await until(lambda: len(port.streams) == 2)
            port.protocols[0].connection.trust()
            late.writer.write(frame(frames.HEADERS, END_HEADERS, 3, REQUEST)[:-1])
            await late.over()
            port.seats[1].evict()
            await evicted.over()
            await until(lambda: [(seat.trusted, seat.released) for seat in port.seats] == [(True, True), (False, True)])
            assert notes == ["a frame or a header block did not come whole within 0.1 s"]
            assert [stream.losses for stream in port.streams] == [1, 1]

    run(story())


def test_a_silent_client_is_pinged_and_then_disconnected(run: Run) -> None:
    async def story() -> None:
        async with (
            open_port(settings_s=0.1, keepalive_s=0.05, keepalive_timeout_s=0.3) as port,
            port.client() as client,
        ):
            client.ask(1)
            for _ in range(2):
                _, flags, _, payload = await client.frame(frames.PING)
                assert not flags & frames.ACK
                client.writer.write(frame(frames.PING, frames.ACK, 0, payload))
            assert port.streams[0].losses == 0
            await client.over()
            await until(lambda: port.streams[0].losses == 1)

    run(story())


def test_a_lost_connection_ends_its_streams(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port:
            async with port.client() as client:
                client.ask(1)
                client.ask(3)
                await until(lambda: len(port.streams) == 2)
            await until(lambda: [stream.losses for stream in port.streams] == [1, 1])
            assert all(stream.ended for stream in port.streams)

    run(story())


def test_what_is_not_http_2_is_told_so(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client(b"GET / HTTP/1.1\r\n\r\n") as client:
            said = await client.reader.read()
            assert b"HTTP/1.1 505 " in said

    run(story())


def test_a_client_that_does_not_read_is_not_read_either_until_it_does(run: Run) -> None:
    async def story() -> None:
        hello = frames.settings({frames.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW})
        wide = frames.window_update(0, frames.LARGEST_WINDOW - frames.DEFAULT_WINDOW)
        async with open_port() as port, port.client(frames.PREFACE + hello + wide) as client:
            client.ask(1)
            await until(lambda: port.streams)
            body = bytes(range(256)) * (1 << 17)  # 32 MiB, more than sockets keep
            (stream,) = port.streams
            stream.answer(HEAD, body, END)
            assert stream.blocked
            transport = port.protocols[0]._transport
            assert transport.get_write_buffer_size() < 1 << 20
            assert not transport.is_reading()
            found = bytearray()
            while True:
                kind, flags, _, payload = await client.frame(frames.DATA, frames.HEADERS)
                if kind == frames.DATA:
                    found += payload
                elif flags & END_STREAM:
                    break
            assert found == body
            assert transport.is_reading()

    run(story())


def test_an_abuser_that_does_not_read_is_left_in_the_end(run: Run) -> None:
    async def story() -> None:
        async with open_port(stall_s=0.1) as port, port.client() as client:
            client.ask(1)
            await until(lambda: port.streams)
            transport = port.protocols[0]._transport
            transport.set_write_buffer_limits(1 << 26)  # else it is not read any more, and no abuse is seen
            transport.write(bytes(1 << 25))  # more than sockets keep: the last words wait behind it
            client.writer.write(frame(frames.PING, 0, 0, bytes(8)) * 5000)
            await until(lambda: port.streams[0].losses)
            assert transport.get_write_buffer_size()
            await until(lambda: not port.connections._open)

    run(story())


# Shutdown


def test_idle_connections_close_at_once_and_busy_ones_once_answered(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client() as idle, port.client() as busy:
            busy.ask(1)
            await until(lambda: port.streams)
            closing = asyncio.ensure_future(port.connections.close(NEVER_S))
            assert (await idle.frame(frames.GOAWAY))[3][:8] == struct.pack(">LL", 0, 0)
            await idle.over()
            assert (await busy.frame(frames.GOAWAY))[3][:8] == struct.pack(">LL", 1, 0)
            busy.ask(3)
            refused = struct.pack(">L", ErrorCode.REFUSED_STREAM)
            assert await busy.frame(frames.RST_STREAM) == (frames.RST_STREAM, 0, 3, refused)
            assert not closing.done()
            port.streams[0].answer(HEAD, b"late", END)
            assert (await busy.frame(frames.DATA))[3] == b"late"
            await busy.over()
            await closing

    run(story())


def test_calls_on_their_way_are_served_as_the_server_leaves_and_its_last_words_are_read(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client() as polite, port.client() as deaf:
            deaf.ask(1)
            await until(lambda: port.streams)
            leaving = asyncio.ensure_future(port.connections.leave())
            assert (await polite.frame(frames.GOAWAY))[3][:4] == struct.pack(">L", frames.STREAM_BITS)
            polite.ask(1)  # it was on its way
            await until(lambda: len(port.streams) == 2)
            _, _, _, seen = await polite.frame(frames.PING)
            polite.writer.write(frame(frames.PING, frames.ACK, 0, seen))
            assert (await polite.frame(frames.GOAWAY))[3][:4] == struct.pack(">L", 1)
            await leaving  # also for those who do not acknowledge it
            for client, stream in ((polite, port.streams[1]), (deaf, port.streams[0])):
                for _ in range(100):  # it still sends while the server closes
                    client.writer.write(frame(frames.DATA, 0, 1, bytes(10_000)))
                stream.answer(HEAD, b"last words", END)
                for _ in range(100):
                    client.writer.write(frame(frames.PING, 0, 0, bytes(8)))
                assert (await client.frame(frames.DATA))[3] == b"last words"
                while await client.reader.read(1 << 16):
                    pass
                client.writer.close()
            await port.connections.close(NEVER_S)

    run(story())


def test_calls_that_outlast_the_linger_time_are_reset(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client() as client:
            client.ask(1)
            await until(lambda: port.streams)
            await port.connections.close(0.05)
            assert port.streams[0].losses == 1
            await client.over()

    run(story())


def test_a_client_that_has_closed_is_not_waited_for(run: Run) -> None:
    """Its close is not seen yet when the last words are sent, and these are answered with a reset."""

    async def story() -> None:
        async with open_port() as port:
            client = socket.create_connection(port.address)
            client.setblocking(False)
            await until(lambda: port.protocols)
            await asyncio.get_running_loop().sock_recv(client, 65_536)  # what is left unread would reset it sooner
            client.close()
            await port.connections.close(0)

    run(story())


def test_a_connection_accepted_during_shutdown_closes_too(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client() as busy:
            busy.ask(1)
            await until(lambda: port.streams)
            closing = asyncio.ensure_future(port.connections.close(NEVER_S))
            await busy.frame(frames.GOAWAY)
            async with port.client() as late:
                await late.frame(frames.GOAWAY)
                await late.over()
            port.streams[0].answer(HEAD, b"", END)
            await busy.over()
            await closing

    run(story())


def test_a_connection_whose_heads_are_reconsidered_is_a_strangers_until_a_token_comes_again(run: Run) -> None:
    async def story() -> None:
        async with open_port() as port, port.client() as client:
            client.ask(1)
            await until(lambda: port.protocols)
            port.protocols[0].connection.trust()
            assert port.seats[0].trusted
            port.connections.reconsider()
            assert not port.seats[0].trusted
            assert not port.protocols[0].connection.trusted
            port.protocols[0].connection.trust()
            assert port.seats[0].trusted

    run(story())


# Unread answers


class Unread:
    """Notes what is counted."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, bool]] = []
        self.reader: Http2Protocol | None = None

    def count(self, reader: Http2Protocol, size: int, *, reads: bool = False) -> None:
        self.sizes.append((size, reads))
        self.reader = reader


def test_answers_that_wait_for_their_peer_are_counted_until_they_are_sent_or_lost(run: Run) -> None:
    async def story() -> None:
        counts = Unread()
        async with open_port() as port:
            port.connections.unread = counts
            async with port.client(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0})) as client:
                for number in (1, 3, 5):
                    client.ask(number)
                await until(lambda: len(port.streams) == 3)
                for stream in port.streams:
                    stream.answer(HEAD, bytes(100), END)
                assert counts.sizes == [(100, False), (200, False), (300, False)]
                client.writer.write(frame(frames.WINDOW_UPDATE, 0, 1, struct.pack(">L", 60)))
                await until(lambda: counts.sizes[-1] == (300, True))  # all of it is still held
                client.writer.write(frame(frames.WINDOW_UPDATE, 0, 1, struct.pack(">L", 40)))
                await until(lambda: counts.sizes[-1][0] == 200)
                client.writer.write(frames.rst_stream(3, ErrorCode.CANCEL))
                await until(lambda: counts.sizes[-1][0] == 100)
            await until(lambda: counts.sizes[-1][0] == 0)

    run(story())


def test_who_is_reset_for_its_unread_answers_counts_no_more(run: Run) -> None:
    async def story() -> None:
        counts = Unread()
        async with open_port() as port:
            port.connections.unread = counts
            async with port.client(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0})) as client:
                for number in (1, 3):
                    client.ask(number)
                await until(lambda: len(port.streams) == 2)
                for stream in port.streams:
                    stream.answer(HEAD, bytes(100), END)
                assert counts.reader is not None
                counts.reader.reset()
                await client.over()
                await until(lambda: port.seats[0].released)
                assert counts.sizes == [(100, False), (200, False)]

    run(story())
