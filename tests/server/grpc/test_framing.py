"""What gRPC says upon HTTP/2: deadlines, codings, messages, and how calls end."""

from __future__ import annotations

import gzip
import zlib
from urllib.parse import unquote_to_bytes

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInput, ModelNotFound, QueueFull, TooManyRequests, Unsupported, WorkbenchError
from workbench.http2.headers import H2RequestHead, check_trailers
from workbench.protocols.status_codes import GRPC_CODE_KEY, grpc_status
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.grpc import framing
from workbench.server.grpc.framing import MessageTooLarge


def fields(block: bytes) -> dict[bytes, bytes]:
    return dict(hpack.Decoder().decode(block, raw=True))


@pytest.mark.parametrize(
    ("content_type", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/grpcs", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_what_speaks_grpc(content_type: bytes, is_grpc: bool) -> None:
    assert framing.speaks_grpc(content_type) is is_grpc


@pytest.mark.parametrize(
    ("value", "expected_s"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"4m", 4e-3),
        (b"5u", 5e-6),
        (b"6n", 6e-9),
        (b"0S", 0),
        (b"99999999S", 99_999_999),
    ],
)
def test_timeouts_are_read_in_seconds(value: bytes, expected_s: float) -> None:
    assert framing.timeout_s(value) == pytest.approx(expected_s)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"-1S", b"1.5S", b"100000000S", b"1s", b"1S\n", b" 1S", b"\xb2S"])
def test_what_is_no_timeout_is_said_to_be_none(value: bytes) -> None:
    with pytest.raises(InvalidInput, match="grpc-timeout"):
        framing.timeout_s(value)


def test_codings() -> None:
    assert [framing.coding(each) for each in (b"", b"identity", b"gzip", b"deflate")] == [
        b"",
        b"",
        b"gzip",
        b"deflate",
    ]
    with pytest.raises(Unsupported, match="'snappy' is not served"):
        framing.coding(b"snappy")


# Messages


@given(st.binary(max_size=300))
def test_a_message_s_length_is_read_as_it_was_written(message: bytes) -> None:
    framed = framing.framed(message)
    assert framed[framing.PREFIX_BYTES :] == message
    assert framing.message_length(framed[: framing.PREFIX_BYTES], 300) == len(message)


def test_a_message_over_the_cap_has_a_status_of_its_own() -> None:
    prefix = framing.framed(bytes(101))[: framing.PREFIX_BYTES]
    assert framing.message_length(prefix, 101) == 101
    with pytest.raises(MessageTooLarge, match="101 bytes; 100 is the most") as error:
        framing.message_length(prefix, 100)
    assert fields(framing.failure(error.value, (), head=False))[b"grpc-status"] == b"8"
    with pytest.raises(InvalidInput, match="begins with 2"):
        framing.message_length(b"\2\0\0\0\1", 100)


@pytest.mark.parametrize(("coding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
async def test_compressed_messages_are_unpacked_up_to_the_cap(coding: bytes, pack: object) -> None:
    assert callable(pack)
    message = bytes(range(256)) * 4000
    packed = pack(message)
    held = InFlightBytes(len(message))
    assert await framing.inflated(packed, coding, len(message), held) == message
    assert held.held == len(message)
    with pytest.raises(TooManyRequests):  # of both together
        await framing.inflated(packed, coding, len(message), held)
    held.give_back(len(message))
    with pytest.raises(MessageTooLarge):
        await framing.inflated(packed, coding, len(message) - 1, held)
    for damaged in (packed[:-1], packed + b"a", b"no " + packed):
        with pytest.raises(InvalidInput):
            await framing.inflated(damaged, coding, len(message), held)
    with pytest.raises(InvalidInput, match="no grpc-encoding"):
        await framing.inflated(packed, b"", len(message), held)
    assert held.held == 0


# Ends


def test_success_is_a_status_and_what_there_is_to_tell() -> None:
    assert fields(framing.SUCCESS) == {b"grpc-status": b"0"}
    assert fields(framing.success((b"x-request-id", b"7"))) == {b"grpc-status": b"0", b"x-request-id": b"7"}
    assert fields(framing.not_grpc(415)) == {b":status": b"415"}


@pytest.mark.parametrize("kind", [InvalidInput, ModelNotFound, QueueFull, Unsupported, WorkbenchError])
def test_failures_say_their_status_their_code_and_why(kind: type[WorkbenchError]) -> None:
    error = kind("50% of 'größe'\nis too much")
    for head in (False, True):
        found = fields(framing.failure(error, ((b"x-request-id", b"7"),), head=head))
        assert found[b"grpc-status"] == str(grpc_status(error)).encode()
        assert unquote_to_bytes(found[b"grpc-message"]).decode() == error.message
        assert found[GRPC_CODE_KEY.encode()] == error.code.encode()
        assert found[b"x-request-id"] == b"7"
        assert (b":status" in found) is head
        assert (b"grpc-accept-encoding" in found) is (kind is Unsupported)


@given(st.text(max_size=200) | st.text("aä%", min_size=3000, max_size=3100))
def test_any_text_can_be_a_message(text: str) -> None:
    encoded = framing.percent_encoded(text)
    assert len(encoded) < 4096 + 3
    check_trailers(H2RequestHead(((b"grpc-message", encoded),)))
    whole = text.encode("utf-8", "replace").strip(b" ")
    assert whole.startswith(unquote_to_bytes(encoded))
    assert len(encoded) >= 4096 or unquote_to_bytes(encoded) == whole
