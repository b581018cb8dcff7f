"""What goes over the wire: one write an answer, and heads of a bounded size."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.helpers.waiting import until_async
from tests.server.conftest import TOKEN, House
from tests.server.driver import connect
from tests.server.listening import BODY, REQUEST, listening
from workbench.server.http.h1_connection import _JOINED_BELOW, DISCARD, MAX_HEAD_BYTES

AUTHORIZED = b"Host: localhost\r\nAuthorization: Bearer %s\r\n" % TOKEN.encode()


async def test_head_and_body_are_one_write(house: House) -> None:
    for size in (0, 5, _JOINED_BELOW, _JOINED_BELOW + 1):
        connection, wire = connect(house.app)
        connection.reply(200, b"", (b"x" * size,))
        assert wire.writes == 1
        assert wire.written.endswith(b"\r\n\r\n" + b"x" * size)
        connection.connection_lost(None)


async def test_what_came_of_a_body_is_let_go_with_the_answer_that_did_not_need_it(house: House) -> None:
    connection, wire = connect(house.app)
    connection.data_received(
        b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n" + bytes(5000)
    )
    await until_async(lambda: wire.written)
    assert connection._body is DISCARD
    connection.data_received(bytes(4999) + REQUEST)
    await until_async(lambda: wire.written.count(b"HTTP/1.1 200") == 2)
    connection.connection_lost(None)


def test_an_answer_leaves_at_once_on_a_socket_without_nagle(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_nagle(tmp_path))


async def _nagle(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(REQUEST)
        assert b" 200 " in await reader.readline()
        (connection,) = at.server.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await writer.wait_closed()


def test_a_client_may_wait_for_the_word_to_go_on(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_expect(tmp_path))


async def _expect(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(REQUEST[: -len(BODY)].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(BODY)
        await reader.readline()
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()


def test_a_connection_serves_again_after_an_answer_without_a_body(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_again(tmp_path))


async def _again(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        for _ in range(3):
            writer.write(b"HEAD /control/models HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        # Two requests in one packet are two answers, in order.
        writer.write(REQUEST + REQUEST)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert b"digits" in await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()


LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
STRANGER = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = STRANGER + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"GET /v2/health/live HTTP/1.1\r\n", b"x-filler: " + b"x" * 1000 + b"\r\n"),
        (CHUNKED + b"0\r\n", b"x-filler: " + b"x" * 1000 + b"\r\n"),
        (CHUNKED + b"0\r\nx-one: ", b"x" * 1000),
        (CHUNKED + b"2\r\n{}\r\n1;", b"x" * 1000),
    ],
    ids=["headers", "trailers", "one trailer", "a chunk's extension"],
)
def test_a_head_that_never_ends_is_cut_off(runner: asyncio.Runner, tmp_path: Path, start: bytes, again: bytes) -> None:
    runner.run(_endless(tmp_path, start, again))


async def _endless(tmp_path: Path, start: bytes, again: bytes) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(start)
        for _ in range(20 * MAX_HEAD_BYTES // len(again)):  # most of it after the answer has been sent
            writer.write(again)
            await writer.drain()
        async with asyncio.timeout(20):
            answer = await reader.read()
        # A stranger's request is refused without waiting for its end.
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 431"))
        writer.close()
        await writer.wait_closed()
        await until_async(lambda: not at.server.connections)


def test_trailers_are_no_headers(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_trailers(tmp_path))


async def _trailers(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY) + AUTHORIZED + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_an_upgrade_is_answered_as_any_other_request(
    runner: asyncio.Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: bytes
) -> None:
    runner.run(_upgrade(tmp_path, protocol))
    assert not caplog.records


async def _upgrade(tmp_path: Path, protocol: bytes) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        upgrade = b"Connection: Upgrade\r\nUpgrade: %s\r\n\r\n" % protocol
        for headers, status in ((b"Host: localhost\r\n", 401), (AUTHORIZED, 200)):
            writer.write(b"GET /control/models HTTP/1.1\r\n" + headers + upgrade)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d" % status)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert (b"Bearer TOKEN" if status == 401 else b"digits") in await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()


def test_a_large_body_is_no_large_head(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_large(tmp_path))


async def _large(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        body = b"x" * (4 * MAX_HEAD_BYTES)
        writer.write(
            b"POST /control/models/new/stage HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413")  # by its Content-Length; the body is read and thrown away
        writer.close()
        await writer.wait_closed()


def test_connections_that_come_as_the_server_ends_are_answered(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_latecomers(tmp_path))


async def _latecomers(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        plugs = [socket.create_connection(at.address) for _ in range(20)]
        for plug in plugs[::2]:
            plug.sendall(LIVE)
        await asyncio.sleep(0)  # some are accepted, and their connections made on a later turn
        at.server.begin_drain()
        at.server.stop()
        for plug in plugs[1::2]:
            plug.sendall(LIVE)
        for number, plug in enumerate(plugs):
            plug.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=plug)
            async with asyncio.timeout(20):
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            if number % 2:  # those before may have been answered before
                assert b"connection: close\r\n" in answer
            writer.close()
            await writer.wait_closed()
        await until_async(lambda: not at.server.connections)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(at.address)
