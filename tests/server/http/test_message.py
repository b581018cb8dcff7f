from __future__ import annotations

import pytest

from tests.server.driver import Sender
from workbench.errors import Cancelled, InvalidInput, QueueFull, TooLarge, UnsupportedMediaType
from workbench.protocols.control import BODY_BYTES
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.http.message import BodyType, check_body_type, json_length, read_body

LENGTH = {b"inference-header-content-length": b"10"}


@pytest.fixture
def held() -> InFlightBytes:
    return InFlightBytes(5)


async def test_a_body_is_read_whole_and_counted_until_it_is_given_back(held: InFlightBytes) -> None:
    for sender in (Sender(b"abc"), Sender(b"a", b"", b"bc")):
        assert await read_body(sender.pieces(), {}, 3, held) == b"abc"
        assert held.held == 3
        held.give_back(3)
    assert await read_body(Sender(b"").pieces(), {b"content-length": b"0"}, 3, held) == b""
    assert held.held == 0


async def test_a_body_announced_too_large_is_refused_before_it_is_read(held: InFlightBytes) -> None:
    sender = Sender(b"abcd")
    with pytest.raises(TooLarge, match="the body has 4 bytes; this service takes 3"):
        await read_body(sender.pieces(), {b"content-length": b"4"}, 3, held)
    assert sender.asked == 0


async def test_a_cap_that_no_setting_raises_names_none(held: InFlightBytes) -> None:
    headers = {b"content-length": b"70000"}
    with pytest.raises(TooLarge, match="raise max_body_bytes"):
        await read_body(Sender().pieces(), headers, 69_999, held)
    with pytest.raises(TooLarge) as refused:
        await read_body(Sender().pieces(), headers, BODY_BYTES, held)
    assert "65536" in refused.value.message
    assert "max_body_bytes" not in refused.value.message


async def test_a_chunked_body_is_refused_where_it_goes_over_the_cap(held: InFlightBytes) -> None:
    sender = Sender(b"ab", b"cd", b"ef", b"gh")
    with pytest.raises(TooLarge, match="more than 3 bytes"):
        await read_body(sender.pieces(), {}, 3, held)
    assert (sender.asked, held.held) == (2, 0)


async def test_a_body_is_refused_where_those_under_way_are_too_large_together(held: InFlightBytes) -> None:
    assert await read_body(Sender(b"abc").pieces(), {}, 10, held) == b"abc"
    sender = Sender(b"ab", b"c", b"d")
    with pytest.raises(
        QueueFull, match="bodies and unread answers under way have 5 bytes, and max_body_bytes_in_flight allows 5"
    ):
        await read_body(sender.pieces(), {}, 10, held)
    assert (sender.asked, held.held) == (2, 3)
    held.give_back(3)
    assert await read_body(Sender(b"ab", b"c", b"d").pieces(), {}, 10, held) == b"abcd"


async def test_a_client_that_leaves_while_sending_is_a_cancelled_request(held: InFlightBytes) -> None:
    for sender in (Sender(b"ab", leaves=True), Sender(leaves=True)):
        with pytest.raises(Cancelled):
            await read_body(sender.pieces(), {}, 10, held)
        assert held.held == 0


@pytest.mark.parametrize(
    ("headers", "takes"),
    [
        ({}, BodyType.JSON),
        ({}, BodyType.INFERENCE),
        ({}, BodyType.MODEL),
        ({b"content-type": b"application/json"}, BodyType.JSON),
        ({b"content-type": b"Application/JSON; charset=utf-8"}, BodyType.INFERENCE),
        ({b"content-type": b"application/json", **LENGTH}, BodyType.INFERENCE),
        ({b"content-type": b"application/octet-stream", **LENGTH}, BodyType.INFERENCE),
        ({b"content-type": b"application/octet-stream"}, BodyType.MODEL),
        ({b"content-type": b"application/json", b"origin": b"http://localhost"}, BodyType.JSON),
        ({b"content-encoding": b"identity"}, BodyType.JSON),
        ({b"content-encoding": b"gzip"}, BodyType.JSON),
        ({b"content-type": b"application/json", b"content-encoding": b"deflate"}, BodyType.INFERENCE),
    ],
)
def test_bodies_of_the_right_type_are_taken(headers: dict[bytes, bytes], takes: BodyType) -> None:
    check_body_type(headers, takes)


@pytest.mark.parametrize(
    ("headers", "takes"),
    [
        ({b"content-type": b"text/plain"}, BodyType.JSON),
        ({b"content-type": b""}, BodyType.JSON),
        ({b"content-type": b"application/x-www-form-urlencoded"}, BodyType.JSON),
        ({b"content-type": b"multipart/form-data; boundary=x"}, BodyType.MODEL),
        ({b"content-type": b"application/octet-stream"}, BodyType.INFERENCE),
        ({b"content-type": b"application/octet-stream", **LENGTH}, BodyType.JSON),
        ({b"content-type": b"application/json"}, BodyType.MODEL),
        ({b"origin": b"http://localhost"}, BodyType.JSON),
        ({b"content-type": b"application/json", b"content-encoding": b"br"}, BodyType.INFERENCE),
        ({b"content-encoding": b"gzip, gzip"}, BodyType.INFERENCE),
        ({b"content-encoding": b"gzip"}, BodyType.MODEL),
    ],
)
def test_bodies_of_another_type_are_refused_by_name(headers: dict[bytes, bytes], takes: BodyType) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_body_type(headers, takes)


def test_the_json_length_is_digits_and_nothing_else() -> None:
    assert json_length({}) is None
    assert json_length({b"inference-header-content-length": b"0012"}) == 12
    for value in (b"", b"-1", b"+1", b"1_0", b" 1", b"1.0", b"0x1", b"9" * 30, "٣".encode()):
        with pytest.raises(InvalidInput, match="Inference-Header-Content-Length"):
            json_length({b"inference-header-content-length": value})
