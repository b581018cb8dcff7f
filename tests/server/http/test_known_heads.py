"""A request whose head came before is answered as any other, past the parser, the table and the gate."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.waiting import until_async
from tests.server.conftest import TOKEN, House, open_house
from tests.server.driver import Wire, connect
from tests.server.listening import BODY, REQUEST, listening
from workbench.config import Limits
from workbench.server.http import h1_connection, routes_infer
from workbench.server.http.h1_connection import MAX_AHEAD_BYTES, ConnectionLimits, H1Connection
from workbench.server.http.request_head import RequestHead, parse_head
from workbench.server.http.routes_infer import MAX_BODY_BYTES, InferRoute

INFER = b"POST /v2/models/digits/infer HTTP/1.1\r\n"
AUTHORIZED = b"Host: localhost\r\nAuthorization: Bearer %s\r\n" % TOKEN.encode()


def request(body: bytes, *headers: bytes, line: bytes = INFER, length: bool = True) -> bytes:
    more = b"".join(header + b"\r\n" for header in headers)
    return line + AUTHORIZED + more + (b"Content-Length: %d\r\n" % len(body) if length else b"") + b"\r\n" + body


def body_of(data: object, **more: object) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": data}], **more}).encode()


def binary() -> bytes:
    described = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    headers = (b"Content-Type: application/octet-stream", b"Inference-Header-Content-Length: %d" % len(head))
    return request(head + b"\0\0\x80?\0\0\0@", *headers)


ASKED = {
    "compressed": request(BODY, b"Accept-Encoding: gzip"),
    "raw": request(b"\0\0\x80?\0\0\0@", b"Inference-Header-Content-Length: 0"),
    "good": request(BODY),
    "binary": binary(),
    "with an id": request(body_of([3, 4], id="mine", parameters={"timings": False})),
    "kept alive": request(BODY, b"Connection: Keep-Alive"),
    "no JSON": request(b"{]"),
    "nothing": request(b""),
    "a wrong shape": request(body_of([1, 2, 3])),
    "too late": request(body_of([1, 2], parameters={"timeout": 0.5})),
    "unknown model": request(BODY, line=b"POST /v2/models/nobody/infer HTTP/1.1\r\n"),
    "of a version": request(BODY, line=b"POST /v2/models/digits/versions/1/infer HTTP/1.1\r\n"),
    "unknown version": request(BODY, line=b"POST /v2/models/digits/versions/7/infer HTTP/1.1\r\n"),
}


def answers(written: bytes) -> list[bytes]:
    """Each answer that is whole, without what differs from one to the next."""
    found = []
    while (end := written.find(b"\r\n\r\n") + 4) > 3:
        head = written[:end]
        size = end + int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
        if len(written) < size:
            break
        own = (b"x-request-id: ", b"x-model-epoch: ", b"date: ")
        lines = sorted(line for line in head.split(b"\r\n")[1:] if not line.startswith(own))
        assert b"x-request-id: " in head
        body = re.sub(rb"run itself takes [^ ]* ms", b"run itself takes SOME ms", written[end:size])
        found.append(b"\n".join((head.split(b"\r\n")[0], *lines, body)))
        written = written[size:]
    return found


async def ask(connection: H1Connection, wire: Wire, pieces: list[bytes], expected: int) -> list[bytes]:
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    await until_async(lambda: wire.closed or len(answers(bytes(wire.written))) >= expected)
    return answers(bytes(wire.written))


def test_it_answers_as_the_parsed_way_does(
    runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = [0]

    def counting(raw: bytes) -> RequestHead:
        parsed[0] += 1
        return parse_head(raw)

    monkeypatch.setattr(h1_connection, "parse_head", counting)
    short = runner.run(_each_twice(tmp_path / "short"))
    assert parsed == [len(ASKED)]
    monkeypatch.setattr(InferRoute, "_worth_remembering", lambda *_: False)
    long = runner.run(_each_twice(tmp_path / "long"))
    assert parsed == [3 * len(ASKED)]
    assert short == long
    assert len(long) == 2 * len(ASKED)


async def _each_twice(folder: Path) -> list[bytes]:
    folder.mkdir()
    async with open_house(folder) as house:
        connection, wire = connect(house.app)
        found: list[bytes] = []
        for asked in ASKED.values():
            for _ in range(2):
                found = await ask(connection, wire, [asked], len(found) + 1)
        state = house.service.metrics.state()
        counts = dict(state.figures["digits", "1"].outcomes)
        connection.connection_lost(None)
        return [*found[:-1], found[-1] + repr((sorted(counts.items()), sorted(state.answers.items()))).encode()]


@given(
    asked=st.lists(st.sampled_from(list(ASKED)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 400), max_size=12),
)
def test_it_does_not_matter_how_the_bytes_are_cut(
    tmp_path_factory: pytest.TempPathFactory, asked: list[str], cuts: list[int]
) -> None:
    stream = b"".join(ASKED[name] for name in asked)
    places = sorted({min(place, len(stream)) for place in _sums(cuts)} | {0, len(stream)})
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    asyncio.run(_cut(tmp_path_factory.mktemp("cut"), asked, pieces))


def _sums(numbers: list[int]) -> Iterator[int]:
    total = 0
    for number in numbers:
        total += number
        yield total


async def _cut(folder: Path, asked: list[str], pieces: list[bytes]) -> None:
    async with open_house(folder) as house:
        connection, wire = connect(house.app)
        expected: list[bytes] = []
        for name in asked:  # one by one, and all heads are known from now on
            expected = await ask(connection, wire, [ASKED[name]], len(expected) + 1)
        again, heard = connect(house.app)
        assert await ask(again, heard, pieces, len(asked)) == expected
        connection.connection_lost(None)
        again.connection_lost(None)


@pytest.mark.parametrize(
    "asked",
    [
        request(BODY, b"Expect: 100-continue"),
        request(BODY, b"Connection: close"),
        request(BODY, b"Connection: keep-alive, upgrade"),
        request(BODY, b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        request(BODY, b"x-request-id: mine"),
        request(BODY, b"Content-Encoding: gzip"),
        request(BODY, b"Content-Type: text/html"),
        request(BODY, b"Host: localhost"),
        request(BODY, b"Origin: http://elsewhere"),
        request(BODY, b"x-filler: " + b"x" * 5000),
        request(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), b"Transfer-Encoding: chunked", length=False),
        request(BODY, line=INFER.replace(b"infer", b"infer?a=b")),
        request(BODY, line=INFER.replace(b"1.1", b"1.0")),
        request(BODY, line=b"POST /control/models/digits/unload HTTP/1.1\r\n"),
        request(b"x" * (MAX_BODY_BYTES + 1)),
        request(BODY).replace(TOKEN.encode(), b"another"),
    ],
    ids=lambda asked: asked[-400:][:60].decode("latin-1"),
)
async def test_what_needs_the_long_way_is_never_known(house: House, asked: bytes) -> None:
    house.app.inference.limits = Limits()
    connection, wire = connect(house.app)
    connection.data_received(asked)
    await until_async(lambda: len(wire.written) > 0)
    assert not house.app.infer.heads
    connection.connection_lost(None)


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\n\r\n\r\n"])
async def test_empty_lines_before_a_request_are_not_taken_for_its_head(house: House, before: bytes) -> None:
    connection, wire = connect(house.app)
    found = await ask(connection, wire, [before + REQUEST], 1)
    assert found[0].startswith(b"HTTP/1.1 200")
    assert all(head.startswith(b"POST ") for head in house.app.infer.heads)
    connection.connection_lost(None)
    stranger, heard = connect(house.app)
    stranger.data_received(before + BODY)
    assert b"200 OK" not in heard.written
    stranger.connection_lost(None)


async def test_no_more_heads_are_known_than_fit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_infer, "MAX_HEADS", 3)
    connection, wire = connect(house.app)
    for index in range(4):
        await ask(connection, wire, [request(BODY, b"x-number: %d" % index)], index + 1)
    assert len(house.app.infer.heads) == 1
    connection.connection_lost(None)


async def test_an_answer_that_cannot_be_written_harms_nobody_in_its_batch(house: House) -> None:
    broken, wire = connect(house.app)
    other, heard = connect(house.app)
    await ask(broken, wire, [REQUEST], 1)
    await ask(other, heard, [REQUEST], 1)

    def fail(data: Any) -> None:
        raise RuntimeError("the handle is closed")

    broken._write = fail
    broken.data_received(REQUEST)
    other.data_received(REQUEST)
    await until_async(lambda: len(answers(bytes(heard.written))) == 2)
    assert wire.closed
    assert house.app.gate._owner.in_flight == 0
    for connection in (broken, other):
        connection.connection_lost(None)


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(house: House) -> None:
    connection, wire = connect(house.app)
    await ask(connection, wire, [REQUEST], 1)
    connection.data_received(REQUEST[:-3])
    connection.connection_lost(None)
    connection._check_time()
    assert connection._timer is None
    assert house.service.bodies.held == 0
    assert len(answers(bytes(wire.written))) == 1


def test_an_answer_under_way_is_given_before_the_door_closes(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_closing(tmp_path))


async def _closing(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(REQUEST)
        await _answer(reader)
        at.house.session.hold()
        writer.write(REQUEST)
        await asyncio.to_thread(at.house.session.entered.acquire)
        for connection in list(at.server.connections):
            connection.shutdown()
        at.house.session.gate.set()
        head = await _answer(reader)
        assert head.startswith(b"HTTP/1.1 200") and b"connection: close" in head
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
    return head


async def test_reading_stops_where_too_much_comes_ahead_of_an_answer(house: House) -> None:
    connection, wire = connect(house.app)
    await ask(connection, wire, [REQUEST], 1)
    house.session.hold()
    connection.data_received(REQUEST)
    sent = 0
    while wire.reading:
        connection.data_received(REQUEST)
        sent += 1
        assert sent * len(REQUEST) < 2 * MAX_AHEAD_BYTES
    house.session.gate.set()
    # Counted rather than taken apart at each turn of the loop, which would take longer than the answers.
    await until_async(lambda: wire.written.count(b"HTTP/1.1 200 OK") == 2 + sent)
    assert wire.reading
    connection.connection_lost(None)


async def test_a_large_answer_goes_out_whole(house: House) -> None:
    connection, wire = connect(house.app)
    assert connection.reply(200, b"content-type: text/plain\r\n", (b"a" * 50_000, b"b" * 50_000)) == 100_000
    assert wire.written.endswith(b"a" * 50_000 + b"b" * 50_000)
    connection.connection_lost(None)


async def test_a_quiet_connection_is_closed_and_one_in_use_is_not(house: House) -> None:
    connection, wire = connect(house.app)
    await ask(connection, wire, [REQUEST], 1)
    await ask(connection, wire, [REQUEST], 2)
    connection._check_time()
    assert not wire.closed
    house.session.hold()
    connection.data_received(REQUEST)
    connection._since -= 2 * ConnectionLimits().idle_timeout_s
    connection._check_time()
    assert not wire.closed
    house.session.gate.set()
    await until_async(lambda: len(answers(bytes(wire.written))) == 3)
    connection._since -= 2 * ConnectionLimits().idle_timeout_s
    connection._check_time()
    assert wire.closed
    connection.connection_lost(None)
