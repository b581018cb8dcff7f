"""Connections of real loops and sockets that are closed while their peer still sends, or does not read."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
import uvloop

from workbench.http2 import lingering_close
from workbench.http2.lingering_close import LingeringClose

Run = Callable[[Awaitable[Any]], Any]

WORDS = b"last words"


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20))  # type: ignore[arg-type]


class Closing(asyncio.Protocol):
    """Says `words` once the peer has begun to send, and closes."""

    def __init__(self, words: bytes, stall_s: float) -> None:
        self.words = words
        self.stall_s = stall_s
        self.closes = asyncio.Event()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()  # as a connection may be that has enough
        self.transport.write(self.words)
        LingeringClose(self.transport, self, self.stall_s)
        self.closes.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


@asynccontextmanager
async def met(
    words: bytes = WORDS, stall_s: float = 60.0, authority: trustme.CA | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Closing]]:
    """A peer that has begun to send, and the connection that it met; with TLS where there is an `authority`."""
    found: list[Closing] = []

    def make() -> Closing:
        found.append(Closing(words, stall_s))
        return found[-1]

    here = there = None
    if authority is not None:
        here, there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(here)
        authority.configure_trust(there)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=here)
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    plug.connect(server.sockets[0].getsockname())
    plug.setblocking(False)
    reader, writer = await asyncio.open_connection(
        sock=plug, limit=65_536, ssl=there, server_hostname="localhost" if there is not None else None
    )
    writer.write(b"x")
    while not found:
        await asyncio.sleep(0)
    await found[0].closes.wait()
    try:
        yield reader, writer, found[0]
        await found[0].lost
    finally:
        writer.transport.abort()
        server.close()


def test_a_peer_that_still_sends_reads_the_last_words(run: Run) -> None:
    async def story() -> None:
        async with met() as (reader, writer, closing):
            for _ in range(64):
                writer.write(b"x" * 65_536)
                await writer.drain()
            assert await reader.read() == WORDS
            assert not closing.lost.done()
            writer.close()

    run(story())


def test_a_peer_that_never_closes_has_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering_close, "LINGER_S", 0.05)

    async def story() -> None:
        async with met() as (_, _, closing):
            await closing.lost

    run(story())


def test_a_peer_that_never_ends_sending_has_a_number_of_bytes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering_close, "LINGER_BYTES", 1_000_000)

    async def story() -> None:
        async with met() as (_, writer, closing):
            while not closing.lost.done():
                writer.write(b"x" * 65_536)
                await asyncio.sleep(0)

    run(story())


def test_a_peer_that_reads_slowly_gets_all_and_one_that_does_not_read_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering_close, "LINGER_S", 0.05)
    words = WORDS * 2_000_000  # more than sockets keep

    async def story() -> None:
        async with met(words) as (reader, writer, _):
            received = 0
            while data := await reader.read(1 << 20):
                received += len(data)
                await asyncio.sleep(0.001)
            assert received == len(words)
            writer.close()
        async with met(words, stall_s=0.2) as (_, _, closing):
            await closing.lost

    run(story())


def test_a_peer_over_tls_that_pauses_gets_all_and_one_that_does_not_read_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport of TLS says that nothing waits, though the socket has taken a part only."""
    monkeypatch.setattr(lingering_close, "UNTOLD_LINGER_S", 0.05)
    authority = trustme.CA()
    words = WORDS * 2_000_000  # more than sockets keep

    async def story() -> None:
        async with met(words, authority=authority) as (reader, writer, closing):
            while not closing.transport.is_closing():
                await asyncio.sleep(0.001)
            received = 0
            while data := await reader.read(1 << 20):
                received += len(data)
            assert received == len(words)
            writer.close()
        async with met(words, stall_s=0.2, authority=authority) as (_, _, closing):
            await closing.lost

    run(story())
