"""The open-loop generator, against a server in the same loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import Body
from benchmarks.poisson import drive_open
from benchmarks.wire import connect, request_bytes

pytestmark = pytest.mark.serial

REQUEST = request_bytes("/", Body(b"{}", {}))
Reply = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def server(reply: Reply) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readexactly(len(REQUEST))
                writer.write(await reply())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def replying(status: int) -> Reply:
    async def reply() -> bytes:
        return f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\nNamed: Value\r\n\r\n{{}}".encode()

    return reply


async def test_every_arrival_is_sent_and_answered() -> None:
    async with server(replying(200)) as port:
        found = await drive_open(port, REQUEST, rate_per_s=500, seconds=0.5, seed=1)
    assert 150 < found.sent < 350 and found.failed == 0
    assert 0 < found.p50_s <= found.p99_s < 1


async def test_other_answers_than_200_are_failures() -> None:
    async with server(replying(503)) as port:
        found = await drive_open(port, REQUEST, rate_per_s=200, seconds=0.2, seed=1)
    assert found.failed == found.sent > 0


async def test_latency_counts_from_the_due_time_when_the_server_pauses() -> None:
    resumed, came = asyncio.Event(), 0

    async def reply() -> bytes:
        nonlocal came
        came += 1
        if came == 20:
            resumed.set()
        await resumed.wait()
        return await replying(200)()

    async with server(reply) as port:
        found = await drive_open(port, REQUEST, rate_per_s=200, seconds=0.3, seed=1)
    assert found.failed == 0
    assert found.p99_s > 0.05  # the first waited for nineteen others, which take 95 ms to come


async def test_a_connection_reads_an_answer_in_pieces() -> None:
    async def reply() -> bytes:
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"

    async with server(reply) as port:
        connection = await connect(port)
        answer = await connection.send(REQUEST)
        assert (answer.status, answer.body) == (200, b"{}")
        connection.close()
