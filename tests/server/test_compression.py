from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.conftest import House
from tests.server.driver import Sender
from workbench.errors import InvalidInput, QueueFull, TooLarge
from workbench.server.compression import PIECE, Inflater, compressed, deflated
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.http.message import read_body

COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}
MIB = 1024 * 1024


def inflated(parts: list[bytes], coding: bytes) -> bytes:
    inflater = Inflater(coding)
    found = [piece for part in parts for piece in inflater.pieces(part)]
    inflater.finish()
    assert all(len(piece) <= PIECE for piece in found)
    return b"".join(found)


@given(st.binary(max_size=300), st.integers(1, 40), st.sampled_from(sorted(COMPRESS)))
def test_a_body_comes_back_however_it_was_cut(body: bytes, cut: int, coding: bytes) -> None:
    sent = COMPRESS[coding](body)
    assert inflated([sent[at : at + cut] for at in range(0, len(sent), cut)], coding) == body
    assert inflated([deflated([body[:7], memoryview(body)[7:]], coding)], coding) == body


@pytest.mark.parametrize("coding", sorted(COMPRESS))
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_long_bodies_come_back_whole(size: int, coding: bytes) -> None:
    assert inflated([await compressed(bytes(size), coding)], coding) == bytes(size)


@given(st.binary(max_size=100), st.sampled_from(sorted(COMPRESS)))
def test_any_other_bytes_are_refused(body: bytes, coding: bytes) -> None:
    with pytest.raises(InvalidInput):
        assert inflated([body], coding) != body
        raise InvalidInput("by chance it was a compressed body")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (gzip.compress(b"abc")[:-1], "cut off"),
        (gzip.compress(b"abc") + b"x", "1 bytes follow"),
        (zlib.compress(b"abc"), "no gzip"),
        (b"", "cut off"),
    ],
)
def test_what_is_wrong_is_said(sent: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        inflated([sent], b"gzip")


async def test_a_bomb_is_stopped_at_the_cap() -> None:
    bomb = zlib.compress(bytes(200 * MIB), 9)
    assert len(bomb) < MIB
    held = InFlightBytes(100 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="decompressed"):
            await read_body(Sender(bomb).pieces(), {b"content-encoding": b"deflate"}, MIB, held)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert held.held == 0


async def test_what_is_held_is_what_was_decompressed() -> None:
    body = zlib.compress(bytes(1000))
    held = InFlightBytes(1000)
    assert await read_body(Sender(body[:5], body[5:]).pieces(), {b"content-encoding": b"deflate"}, 1000, held) == bytes(
        1000
    )
    assert held.held == 1000
    with pytest.raises(QueueFull):
        await read_body(Sender(body).pieces(), {b"content-encoding": b"deflate"}, 1000, held)
    assert held.held == 1000


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_any_route_takes_compressed_json(house: House, coding: str) -> None:
    body = COMPRESS[coding.encode()](b'{"ready": true}')
    reply = await house.call("POST", "/v2/repository/index", body, content_encoding=coding)
    assert [each["name"] for each in reply.json] == ["digits"]
    reply = await house.call("POST", "/v2/repository/index", body[:-2], content_encoding=coding)
    assert reply.status == 400


async def test_an_answer_is_compressed_where_one_coding_is_asked_for(house: House) -> None:
    sent: dict[str, Any] = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    plain = await house.call("POST", "/v2/models/digits/infer", sent)
    for accepted, coding in (("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate, br", None), ("br", None)):
        reply = await house.call("POST", "/v2/models/digits/infer", sent, accept_encoding=accepted)
        assert reply.headers.get("content-encoding") == coding
        body = inflated([reply.body], coding.encode()) if coding else reply.body
        assert body == plain.body
        assert reply.headers["content-length"] == str(len(reply.body))
