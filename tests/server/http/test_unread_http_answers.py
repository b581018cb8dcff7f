"""HTTP clients that do not read what they asked for."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.helpers.waiting import until_async
from tests.server.listening import Listening, listening
from workbench.config import Limits
from workbench.server.gate import unread_answers
from workbench.server.http import h1_connection
from workbench.server.http.h1_connection import ConnectionLimits, H1Connection

SIZE = 20_000_000
"""More than the buffers of two sockets."""

LIMITS = Limits(max_body_bytes=10_000, max_body_bytes_in_flight=3 * SIZE)
PATIENT = ConnectionLimits(idle_timeout_s=1000.0)


async def connected(at: Listening) -> tuple[socket.socket, H1Connection]:
    before = set(at.server.connections)
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, at.address)
    (connection,) = await until_async(lambda: at.server.connections - before)
    return plug, connection


async def unread(at: Listening) -> tuple[socket.socket, H1Connection]:
    """A client with an answer of SIZE that it does not read."""
    plug, connection = await connected(at)
    connection.reply(200, b"", (bytes(SIZE),))
    return plug, connection


def test_answers_count_until_they_are_read_or_reset(
    runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread_answers, "STALLED_S", 0.0)

    async def story() -> None:
        async with listening(tmp_path, limits=LIMITS, connection_limits=PATIENT) as at:
            bodies = at.house.service.bodies
            plugs = []
            for count in range(1, 9):
                plugs.append((await unread(at))[0])
                await until_async(lambda: bodies.held <= LIMITS.max_body_bytes_in_flight)
                assert bodies.held > min(count - 1, 2) * SIZE / 2
            await until_async(lambda: len(at.server.connections) <= 4)
            for plug in plugs:
                plug.close()
            await until_async(lambda: bodies.held == 0)

    runner.run(story())


def test_what_is_read_counts_no_more(runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h1_connection, "STALLED_S", 0.04)

    async def story() -> None:
        async with listening(tmp_path, limits=LIMITS, connection_limits=PATIENT) as at:
            bodies = at.house.service.bodies
            plug, connection = await unread(at)
            connection.begin_drain()
            held = await until_async(lambda: bodies.held)
            reader, writer = await asyncio.open_connection(sock=plug)
            await reader.readexactly(SIZE // 2)
            await until_async(lambda: 0 < bodies.held < held)  # while it still reads
            await reader.readexactly(SIZE // 2)
            await until_async(lambda: bodies.held == 0)
            writer.close()

    runner.run(story())


@pytest.mark.parametrize("closes", [False, True], ids=["kept", "closing"])
def test_an_unread_answer_of_a_connection_that_closes_counts_too(
    runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    monkeypatch.setattr(h1_connection, "STALLED_S", 0.04)

    async def story() -> None:
        async with listening(tmp_path, limits=LIMITS, connection_limits=ConnectionLimits(idle_timeout_s=0.5)) as at:
            bodies = at.house.service.bodies
            if closes:
                at.server.begin_drain()
            plug, _ = await unread(at)
            assert bodies.held > SIZE / 2
            await until_async(lambda: bodies.held == 0)  # for want of progress
            await until_async(lambda: not at.server.connections)
            plug.close()

    runner.run(story())


def test_a_stream_that_is_not_read_waits_and_is_reset(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, limits=LIMITS, connection_limits=ConnectionLimits(idle_timeout_s=0.5)) as at:
            plug, connection = await connected(at)
            connection._start_request(True, False, True)
            connection.start_stream(200, b"")
            sent = 0
            while connection in at.server.connections:
                await connection.send_chunk(bytes(SIZE))
                sent += 1
            assert sent == 1
            assert at.house.service.bodies.held == 0
            plug.close()

    runner.run(story())
