"""Connections that are accepted within caps, also where descriptors are short."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.helpers.waiting import until_async
from workbench.server import acceptor
from workbench.server.acceptor import Acceptor
from workbench.server.gate.connection_caps import ConnectionCaps, Place
from workbench.server.process.startup import bind


class Echo(asyncio.Protocol):
    """Trusts who says anything, and says it again."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._place.evict = transport.abort

    def data_received(self, data: bytes) -> None:
        self._place.trust()
        self._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._place.release()


@asynccontextmanager
async def accepting(
    caps: ConnectionCaps, refusal: bytes = b"", tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    listener = bind("127.0.0.1", 0)
    address = listener.getsockname()
    taking = Acceptor(listener, Echo, caps, refusal=refusal, tls=tls)
    try:
        yield address
    finally:
        taking.close()


async def echoed(address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that was served."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"!")
    async with asyncio.timeout(30):
        assert await reader.readexactly(1) == b"!"
    return reader, writer


async def left(caps: ConnectionCaps, *writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    await until_async(lambda: caps.open == 0)


def test_one_too_many_is_told_so_where_all_have_shown_a_token(runner: asyncio.Runner) -> None:
    async def story() -> None:
        caps = ConnectionCaps(2, 2)
        async with accepting(caps, b"too many") as address:
            writers = [(await echoed(address))[1] for _ in range(2)]
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"x" * 1000)
                assert await reader.read() == b"too many"
                writer.close()
            writers.pop().close()
            await until_async(lambda: caps.open == 1)
            writers.append((await echoed(address))[1])
            await left(caps, *writers)

    runner.run(story())


def test_strangers_make_room_and_the_known_are_served_on(runner: asyncio.Runner) -> None:
    async def story() -> None:
        caps = ConnectionCaps(10, 10)
        async with accepting(caps) as address:
            reader, writer = await echoed(address)
            silent = [socket.create_connection(address) for _ in range(300)]
            async with asyncio.timeout(30):
                for _ in range(10):
                    writer.write(b"?")
                    assert await reader.readexactly(1) == b"?"
                    await end(await echoed(address))
            await until_async(lambda: caps.open <= 10)
            for plug in silent:
                plug.close()
            await left(caps, writer)

    async def end(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        connection[1].close()
        await connection[1].wait_closed()

    runner.run(story())


def test_where_no_descriptor_is_left_a_stranger_gives_its_own(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        caps = ConnectionCaps(1000, 1000)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with accepting(caps) as address:
            silent = [socket.create_connection(address) for _ in range(3)]
            await until_async(lambda: caps.open == 3)
            caller = socket.socket()
            filled = [socket.socket() for _ in range(5)]
            most = max(each.fileno() for each in [*filled, caller, *silent]) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    while True:
                        filled.append(socket.socket())
                caller.connect(address)
                caller.setblocking(False)
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(30):
                    await loop.sock_sendall(caller, b"!")
                    assert await loop.sock_recv(caller, 1) == b"!"
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
                for plug in [*silent, *filled]:
                    plug.close()
            caller.close()
            await left(caps)

    runner.run(story())
    assert len([each for each in caplog.records if "no connection can be accepted" in each.getMessage()]) == 1


def test_without_descriptors_and_strangers_it_rests_and_does_not_spin(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listener(socket.socket):
        tried = 0

        def accept(self) -> tuple[socket.socket, object]:
            Listener.tried += 1
            if Listener.tried <= 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def story() -> None:
        caps = ConnectionCaps(10, 10)
        bound = bind("127.0.0.1", 0)
        listener = Listener(bound.family, bound.type, bound.proto, bound.detach())
        address = listener.getsockname()
        taking = Acceptor(listener, Echo, caps)
        began = asyncio.get_running_loop().time()
        _, writer = await echoed(address)
        assert asyncio.get_running_loop().time() - began >= 3 * acceptor.REST_S - 0.01
        assert Listener.tried <= 5
        await left(caps, writer)
        taking.close()

    runner.run(story())


def test_a_tls_handshake_that_never_ends_counts_and_makes_room(runner: asyncio.Runner) -> None:
    async def story() -> None:
        caps = ConnectionCaps(3, 3)
        async with accepting(caps, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as address:
            silent = [await asyncio.open_connection(*address) for _ in range(3)]
            await until_async(lambda: caps.open == 3)
            last = await asyncio.open_connection(*address)
            async with asyncio.timeout(30):
                assert await silent[0][0].read() == b""
            assert caps.open == 3
            await left(caps, last[1], *(writer for _, writer in silent))

    runner.run(story())


def test_a_tls_handshake_has_a_time(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "TLS_HANDSHAKE_S", 0.1)

    async def story() -> None:
        caps = ConnectionCaps(3, 3)
        async with accepting(caps, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as address:
            reader, writer = await asyncio.open_connection(*address)
            async with asyncio.timeout(30):
                assert await reader.read() == b""
            await until_async(lambda: caps.open == 0)
            writer.close()

    runner.run(story())


def test_what_is_no_tls_gives_its_place_back(runner: asyncio.Runner) -> None:
    async def story() -> None:
        caps = ConnectionCaps(3, 3)
        async with accepting(caps, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(30):
                await reader.read()
            await until_async(lambda: caps.open == 0)
            writer.close()

    runner.run(story())
