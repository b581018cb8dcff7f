"""RFC 9112 by a table of requests, and the limits of what a client may hold or ask for."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from pathlib import Path

import pytest

from tests.helpers.waiting import until_async
from tests.server.conftest import TOKEN, House
from tests.server.driver import connect
from tests.server.http.h1_cases import ACCEPTED, BROKEN_CHUNKS, CHUNKED, LIVE, NEXT, POST, REFUSED, Case
from tests.server.listening import BODY, REQUEST, listening
from workbench.http2.lingering_close import LINGER_BYTES
from workbench.http2.time_limits import LEAST_BYTES_PER_S
from workbench.server.gate.connection_caps import ConnectionCaps
from workbench.server.http import shared_turns
from workbench.server.http.h1_connection import MAX_AHEAD_BYTES, STEPS_A_TURN, ConnectionLimits
from workbench.server.http.h1_server import H1Server
from workbench.server.http.request_head import MAX_FIELDS


def statuses(written: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", written)]


@pytest.mark.parametrize("case", [*ACCEPTED, *REFUSED], ids=lambda case: case[0])
@pytest.mark.parametrize("cut", [0, 1, 7], ids=["whole", "by bytes", "by sevens"])
async def test_a_request_is_answered_as_the_table_says(house: House, case: Case, cut: int) -> None:
    _, sent, expected, stays_open = case
    connection, wire = connect(house.app)
    for at in range(0, len(sent), cut or len(sent)):
        if wire.closed:
            break
        connection.data_received(sent[at : at + (cut or len(sent))])
    await until_async(lambda: wire.closed or len(statuses(wire.written)) == len(expected))
    await asyncio.sleep(0)
    assert statuses(wire.written) == expected
    assert wire.closed is not stays_open
    connection.connection_lost(None)


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS, ids=lambda chunks: repr(chunks[:12]))
@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "by bytes"])
async def test_broken_chunks_end_the_connection(house: House, chunks: bytes, cut: int) -> None:
    authorized = house.call.head("POST", "/v2/models/digits/infer", transfer_encoding="chunked")
    for head, expected in ((CHUNKED, [401]), (authorized, [400])):
        connection, wire = connect(house.app)
        connection.data_received(head)
        for at in range(0, len(chunks), cut or len(chunks)):
            if not wire.closed:
                connection.data_received(chunks[at : at + (cut or len(chunks))])
        if not wire.closed:
            connection.data_received(NEXT)
        assert statuses(wire.written) == expected
        assert wire.closed
        connection.connection_lost(None)
    assert house.service.bodies.held == 0
    assert house.app.gate._owner.in_flight == 0


async def test_a_head_has_a_cap_on_its_fields(house: House) -> None:
    for count, status in ((MAX_FIELDS - 1, 200), (MAX_FIELDS, 431)):
        connection, wire = connect(house.app)
        connection.data_received(LIVE + b"x: y\r\n" * count + b"\r\n")
        await until_async(lambda wire=wire: bool(wire.written))  # type: ignore[misc]
        assert statuses(wire.written) == [status]
        connection.connection_lost(None)


async def test_tiny_requests_ahead_are_taken_in_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 MB of requests without a token, as fast as they are taken."""
    monkeypatch.setattr(shared_turns, "TURN_S", 0.0)
    connection, wire = connect(house.app)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    sent = answered = 0
    piece = request * (MAX_AHEAD_BYTES * 2 // len(request))
    while sent < 6_000_000:
        while wire.reading and sent < 6_000_000:
            connection.data_received(piece)
            sent += len(piece)
        assert len(connection._input) - connection._at <= MAX_AHEAD_BYTES + len(piece)
        before = answered
        await asyncio.sleep(0)
        answered += wire.written.count(b"HTTP/1.1 401")
        wire.written.clear()
        assert answered - before <= 2 * STEPS_A_TURN
    connection.connection_lost(None)


async def test_a_client_that_does_not_read_is_not_answered_further(house: House) -> None:
    connection, wire = connect(house.app)
    connection.pause_writing()
    for _ in range(100):
        if wire.reading:
            connection.data_received(NEXT * 100)
    await asyncio.sleep(0)
    assert not wire.written
    assert not wire.reading
    connection.resume_writing()
    await until_async(lambda: wire.reading)
    connection.connection_lost(None)


LIMITS = ConnectionLimits(head_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.4)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", []),
        (NEXT, [200]),
        (b"GET /v2", [408]),
        (NEXT + b"GET /v2", [200, 408]),
        (POST + b"Content-Length: 9\r\n\r\nabc", [401]),
        (REQUEST[:-3], [408]),
        (REQUEST + REQUEST[:-3], [200, 408]),
        (CHUNKED + b"5\r\nabc", [401]),
    ],
    ids=["nothing", "idle", "a head", "a second head", "a refused body", "a body", "a known head's body", "chunks"],
)
def test_what_does_not_come_in_time_is_ended(
    runner: asyncio.Runner, tmp_path: Path, sent: bytes, expected: list[int]
) -> None:
    async def wait() -> None:
        async with listening(tmp_path, connection_limits=LIMITS) as at:
            reader, writer = await asyncio.open_connection(*at.address)
            writer.write(sent)
            async with asyncio.timeout(20):
                answer = await reader.read()
            assert statuses(answer) == expected
            assert at.house.service.bodies.held == 0
            assert at.house.app.gate._owner.in_flight == 0
            writer.close()

    runner.run(wait())


async def test_a_head_that_comes_drop_by_drop_has_no_more_time(house: House) -> None:
    connection, wire = connect(house.app, H1Server(house.app, house.service.connections, house.service.unread, LIMITS))
    for _ in range(100):
        if wire.closed:
            break
        connection.data_received(b"x")
        await asyncio.sleep(0.02)
    assert statuses(wire.written) == [408]
    connection.connection_lost(None)


async def test_a_body_that_comes_drop_by_drop_has_no_more_time(house: House) -> None:
    server = H1Server(house.app, house.service.connections, house.service.unread, LIMITS)
    head = REQUEST[: -len(BODY)].replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 5000")
    for start, answers in ((head, [408]), (POST + b"Content-Length: 5000\r\n\r\n", [401])):
        connection, wire = connect(house.app, server)
        connection.data_received(start)
        for _ in range(200):
            if wire.closed:
                break
            connection.data_received(b"[")  # 50 bytes in a second
            await asyncio.sleep(0.02)
        assert wire.closed
        assert statuses(wire.written) == answers
        connection.connection_lost(None)


async def test_a_body_has_more_time_the_more_of_it_comes_and_while_its_reader_pauses(house: House) -> None:
    connection, wire = connect(house.app)
    connection.data_received(REQUEST[: -len(BODY)].replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 5000"))
    connection.data_received(b" " * 10 * LEAST_BYTES_PER_S)
    for passed_s, paused_s, closed in ((35, 0, False), (60, 60, False), (10, 0, True)):  # 30 s and 10 s for the bytes
        connection.pause_body(True)
        connection._body_began -= passed_s
        connection._paused_at -= paused_s
        connection.pause_body(False)
        connection._check_time()
        assert wire.closed == closed
    assert statuses(wire.written) == [408]
    connection.connection_lost(None)


async def test_a_stranger_sends_no_body_without_end_after_its_answer(house: House) -> None:
    connection, wire = connect(house.app)
    connection.data_received(POST + b"Content-Length: 99999999999\r\n\r\n")
    sent = 0
    while not wire.closed:
        connection.data_received(bytes(1_000_000))
        sent += 1_000_000
        assert sent <= 2 * LINGER_BYTES
    assert statuses(wire.written) == [401]
    connection.connection_lost(None)


async def test_a_run_that_takes_long_is_no_idle_connection(house: House) -> None:
    connection, wire = connect(house.app, H1Server(house.app, house.service.connections, house.service.unread, LIMITS))
    house.session.hold()
    connection.data_received(REQUEST)
    await asyncio.sleep(1)
    assert not wire.closed
    house.session.gate.set()
    await until_async(lambda: statuses(wire.written) == [200])
    connection.connection_lost(None)


async def test_a_connection_without_a_token_makes_room_for_another_one(house: House) -> None:
    server = H1Server(house.app, ConnectionCaps(3, 3), house.service.unread)
    owner, owners = connect(house.app, server)
    owner.data_received(REQUEST)
    await until_async(lambda: statuses(owners.written) == [200])
    strangers = [connect(house.app, server) for _ in range(4)]
    assert [statuses(wire.written) for _, wire in strangers] == [[503], [503], [], []]
    assert [wire.closed for _, wire in strangers] == [True, True, False, False]
    assert not owners.closed
    strangers[2][0].data_received(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until_async(lambda: statuses(strangers[2][1].written) == [200])
    connect(house.app, server)
    assert strangers[2][1].closed  # what needs no token makes nobody known
    for each, _ in strangers:
        each.connection_lost(None)
    owner.connection_lost(None)
    assert server.caps.open == 1


async def test_a_head_that_was_seen_before_makes_its_connection_known(house: House) -> None:
    server = H1Server(house.app, ConnectionCaps(10, 10), house.service.unread)
    for _ in range(2):
        connection, wire = connect(house.app, server)
        assert connection.is_stranger
        connection.data_received(REQUEST)
        await until_async(lambda wire=wire: statuses(wire.written) == [200])
        assert not connection.is_stranger
        assert not server.caps.close_a_stranger("of a test")
        connection.connection_lost(None)
    assert server.caps.open == 0


async def test_an_answer_before_the_body_that_was_waited_for_ends_the_connection(house: House) -> None:
    connection, wire = connect(house.app)
    connection.data_received(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert statuses(wire.written) == [401]  # nothing of the body may come, or all of it
    assert wire.closed
    connection.connection_lost(None)


@pytest.mark.parametrize("reads", [True, False], ids=["slowly", "not at all"])
def test_an_answer_has_the_time_that_its_reader_takes_as_long_as_it_reads(
    runner: asyncio.Runner, tmp_path: Path, reads: bool
) -> None:
    size = 30_000_000

    async def wait() -> None:
        async with listening(tmp_path, connection_limits=LIMITS) as at:
            plug = socket.socket()
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            plug.connect(at.address)
            plug.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=plug, limit=65536)
            await until_async(lambda: bool(at.server.connections))
            (connection,) = at.server.connections
            connection.reply(200, b"", (bytes(size),))
            came = 0
            if reads:
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head
                while came < size and (part := await reader.read(200_000)):
                    came += len(part)
                    await asyncio.sleep(0.01)
                assert came == size
            await until_async(lambda: not at.server.connections)
            writer.close()

    runner.run(wait())


async def test_a_client_that_closes_gets_its_answer_while_it_still_sends(house: House) -> None:
    connection, wire = connect(house.app)
    connection.data_received(POST + b"Connection: close\r\nContent-Length: 5\r\n\r\nab")
    assert statuses(wire.written) == [401]
    assert b"connection: close" in wire.written
    assert not wire.closed  # with bytes on their way this would be a reset, and the answer lost
    connection.data_received(b"cde" + NEXT)
    assert wire.closed
    assert statuses(wire.written) == [401]
    connection.connection_lost(None)


async def test_a_stream_before_the_body_that_was_waited_for_ends_the_connection(house: House) -> None:
    connection, wire = connect(house.app)
    authorized = b"Authorization: Bearer %s\r\n" % TOKEN.encode()
    stream = LIVE.replace(b"/v2/health/live", b"/control/stream") + authorized
    connection.data_received(stream + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    await until_async(lambda: b"epoch" in wire.written)
    assert b"connection: close" in wire.written
    house.service.draining.set()
    await until_async(lambda: wire.closed)
    connection.connection_lost(None)


async def test_a_head_that_comes_by_bytes_is_searched_once(house: House) -> None:
    """And not from its beginning for each of them, which took 24 s for one head."""
    connection, wire = connect(house.app)
    began_at = time.process_time()
    connection.data_received(LIVE + b"x: ")
    for _ in range(60_000):
        connection.data_received(b"x")
    for byte in b"\r\n\r\n":
        connection.data_received(bytes([byte]))
    assert time.process_time() - began_at < 5
    await until_async(lambda: statuses(wire.written) == [200])
    connection.connection_lost(None)
