"""The table of header compression: what a block means depends on all blocks before it, whoever remembers blocks."""

from __future__ import annotations

from collections.abc import Sequence

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2.raw import HEADER_TABLE_SIZE, Fields, Peer, headers, integer, literal, message, plain
from tests.http2.raw import data as body
from tests.http2.raw import settings as of
from tests.http2.service import INFER, LIVE, answered, head, inference, is_live

ONE = message(inference([[1.0]]))

KEEP = 0x40
"""Of a literal: put it into the table."""
NEWEST = b"\xbe"
"""The entry that was put into the table last."""


def ask(peer: Peer, stream: int, block: bytes, content: bytes = ONE) -> None:
    peer.send(headers(stream, block), body(stream, content, end=True))


def named(peer: Peer, stream: int) -> str:
    """What the answer says that its request was called."""
    answer = peer.answer(stream)
    answered(answer)
    return answer.trailers[b"x-request-id"].decode()


@pytest.fixture
def infer(token: str) -> bytes:
    return plain(head(INFER, token=token))


def test_the_same_bytes_mean_what_the_table_says_now(address: str, infer: bytes) -> None:
    with Peer(address) as peer:
        ask(peer, 1, infer + literal(b"x-request-id", b"one", KEEP))
        for stream in (3, 5, 7):
            ask(peer, stream, infer + NEWEST)
        ask(peer, 9, infer + literal(b"x-request-id", b"two", KEEP))
        for stream in (11, 13):
            ask(peer, stream, infer + NEWEST)
        ask(peer, 15, infer + b"\xbf")  # the one before the newest
        ask(peer, 17, infer + NEWEST)
        assert [named(peer, stream) for stream in range(1, 19, 2)] == [*["one"] * 4, *["two"] * 3, "one", "two"]


def test_an_entry_that_was_driven_out_is_another_now(address: str, infer: bytes) -> None:
    # An entry has 32 bytes beside its name and value: the table holds two of these.
    with Peer(address) as peer:
        ask(peer, 1, integer(100, 5, 0x20) + infer + literal(b"x-request-id", b"one", KEEP))
        ask(peer, 3, infer + NEWEST)
        ask(peer, 5, infer + literal(b"x-request-id", b"two", KEEP))
        ask(peer, 7, infer + b"\xbf")
        ask(peer, 9, infer + literal(b"x-request-id", b"tre", KEEP))
        ask(peer, 11, infer + b"\xbf")
        ask(peer, 13, infer + NEWEST)
        assert [named(peer, stream) for stream in range(1, 15, 2)] == ["one", "one", "two", "one", "tre", "two", "tre"]


def test_a_block_that_was_right_is_not_once_the_table_is_empty(address: str, infer: bytes) -> None:
    with Peer(address) as peer:
        ask(peer, 1, infer + literal(b"x-request-id", b"one", KEEP))
        ask(peer, 3, infer + NEWEST)
        ask(peer, 5, infer + NEWEST)
        ask(peer, 7, b"\x20" + integer(4096, 5, 0x20) + plain(head(LIVE)), message())
        assert [named(peer, stream) for stream in (1, 3, 5)] == ["one"] * 3
        assert peer.answer(7).grpc_status == 0
        ask(peer, 9, infer + NEWEST)
        peer.until(lambda: peer.gone is not None)
        assert peer.gone == 9  # COMPRESSION_ERROR


def test_a_token_is_nobody_s_but_the_block_s_that_brings_it(address: str, token: str) -> None:
    call = plain(head(INFER))
    with Peer(address) as peer:
        ask(peer, 1, call + literal(b"authorization", f"Bearer {token}".encode(), KEEP))
        ask(peer, 3, call + NEWEST)
        ask(peer, 5, call)
        ask(peer, 7, call + NEWEST)
        ask(peer, 9, call + literal(b"authorization", b"Bearer somebody else's", KEEP))
        ask(peer, 11, call + NEWEST)
        ask(peer, 13, call + b"\xbf")
        ask(peer, 15, call + literal(b"x-other", b"1", KEEP))
        ask(peer, 17, call + NEWEST)
        found = {stream: peer.answer(stream).grpc_status for stream in range(1, 19, 2)}
        assert found == {1: 0, 3: 0, 5: 16, 7: 0, 9: 16, 11: 16, 13: 0, 15: 16, 17: 16}
    with Peer(address) as peer:
        # Another connection has another table, and whatever was remembered is of no use to it.
        ask(peer, 1, call + literal(b"x-other", b"1", KEEP))
        ask(peer, 3, call + NEWEST)
        assert [peer.answer(stream).grpc_status for stream in (1, 3)] == [16, 16]


def test_trailers_and_refused_streams_change_the_table_too(address: str, infer: bytes) -> None:
    with Peer(address) as peer:
        ask(peer, 1, infer + literal(b"x-request-id", b"one", KEEP))
        ask(peer, 3, infer + NEWEST)
        # Trailers.
        peer.send(headers(5, infer + NEWEST), body(5, ONE), headers(5, literal(b"x-request-id", b"two", KEEP), 0x5))
        ask(peer, 7, infer + NEWEST)
        # Malformed, so that the stream is reset.
        ask(peer, 9, infer + b"\0\1X\1y" + literal(b"x-request-id", b"tre", KEEP))
        ask(peer, 11, infer + NEWEST)
        assert [named(peer, stream) for stream in (1, 3, 5, 7, 11)] == ["one", "one", "one", "two", "tre"]
        assert peer.answer(9).reset == 1  # PROTOCOL_ERROR


IDS = st.sampled_from(["a", "b", "c", "d", "a-longer-name-for-a-request", "0123456789" * 4])
WORDS = st.sampled_from([b"1", b"2", b"x" * 50, b"\xff\xfe", b""])
METADATA = st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"x-c-bin"]), WORDS), max_size=3)
WHO = st.sampled_from(["owner", "owner", "owner", "stranger", "nobody"])
RESIZED = st.one_of(st.none(), st.none(), st.sampled_from([0, 60, 100, 200, 400, 4096]))
CALLS = st.lists(st.tuples(IDS, METADATA, WHO, RESIZED, st.booleans(), st.booleans()), min_size=2, max_size=14)


@settings(max_examples=120)
@given(size=st.sampled_from([0, 60, 120, 250, 500, 4096]), calls=CALLS)
def test_each_call_is_read_as_it_was_meant_whatever_the_table_went_through(
    address: str, token: str, size: int, calls: Sequence[tuple[str, Fields, str, int | None, bool, bool]]
) -> None:
    """Each is sent by an encoder that uses its table as it can, and answered with the name that it was given."""
    with Peer(address) as peer:
        peer.encoder.header_table_size = size
        sent = {}
        for name, metadata, who, resized, huffman, sensitive in calls:
            if resized is not None:
                peer.encoder.header_table_size = resized
            fields = [*head(INFER), *metadata]
            if who != "nobody":
                secret = b"Bearer " + (token if who == "owner" else "of-somebody-else").encode()
                fields.append((b"authorization", secret))
            fields.append((b"x-request-id", name.encode()))
            listed = [hpack.NeverIndexedHeaderTuple(*field) if sensitive else field for field in fields[8:]]
            stream = peer.open([*fields[:8], *listed], huffman=huffman)
            peer.send(body(stream, ONE, end=True))
            sent[stream] = name, who
        for stream, (name, who) in sent.items():
            answer = peer.answer(stream)
            assert answer.grpc_status == (0 if who == "owner" else 16)
            if who == "owner":
                assert answer.trailers[b"x-request-id"] == name.encode()


# The server's own blocks


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 65536, 2**32 - 1])
def test_the_table_is_as_large_as_the_client_has_it(address: str, token: str, size: int) -> None:
    with Peer(address, {HEADER_TABLE_SIZE: size}) as peer:
        for name in (b"one", b"two", b"two"):
            stream = peer.call(head(INFER, (b"x-request-id", name), token=token), inference([[1.0]]))
            answered(stream)
            assert stream.trailers[b"x-request-id"] == name


def test_a_table_that_shrinks_between_calls_shrinks_at_the_next_block(address: str, token: str) -> None:
    with Peer(address) as peer:
        for sizes in ([0], [4096], [100], [0, 4096], [4096, 0], [200, 100, 300]):
            answered(peer.call(head(INFER, token=token), inference([[1.0]])))
            peer.send(of([(HEADER_TABLE_SIZE, size) for size in sizes]))
            assert peer.pong()
            known = len(peer.raw_blocks)
            answered(peer.call(head(INFER, token=token), inference([[1.0]])))
            if min(sizes) < 4096:
                # A table that was ever to be smaller is said to be so, even where it may be larger again.
                assert peer.raw_blocks[known][0] & 0xE0 == 0x20
                said, _ = hpack.hpack.decode_integer(peer.raw_blocks[known], 5)
                assert said <= min(sizes)
        is_live(peer)
