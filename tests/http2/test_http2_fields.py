"""Header fields by RFC 9113, section 8, and their compression by RFC 7541."""

from __future__ import annotations

from collections.abc import Sequence

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2.cases import CALL, EMPTY, GARBAGE, MALFORMED, OK, OPEN, Case, calls, check
from tests.http2.in_process import echo_peer
from tests.http2.raw import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    PADDED,
    Fields,
    Frame,
    Peer,
    data,
    headers,
    integer,
    literal,
    message,
    plain,
    reset,
)
from tests.http2.raw import settings as settings_frame
from tests.http2.service import INFER, LIVE, answered, head, inference

LAST = END_HEADERS | END_STREAM
FIVE = plain([*head(LIVE), (b"content-length", b"5")])


def changed(*changes: tuple[bytes, bytes], drop: Sequence[bytes] = (), put_first: Fields = ()) -> list[Frame]:
    """A whole call with fields added to its head, or dropped from it."""
    fields = [*put_first, *(field for field in head(LIVE) if field[0] not in drop), *changes]
    return calls(block=plain(fields))


def trailers(field: tuple[bytes, bytes]) -> list[Frame]:
    """A whole call that ends with a field."""
    return [OPEN, data(1, EMPTY), headers(1, plain([field]), LAST)]


def replaced(name: bytes, value: bytes) -> list[Frame]:
    """A whole call with another value of a field."""
    return calls(block=plain([(each, value if each == name else old) for each, old in head(LIVE)]))


FIELDS: list[Case] = [
    # 8.1 Message framing
    ("trailers", trailers((b"x-end", b"1")), OK),
    ("trailers that do not end the stream", [OPEN, data(1, EMPTY), headers(1, plain([(b"x-end", b"1")]))], MALFORMED),
    (
        "a pseudo header among trailers",
        trailers((b":method", b"POST")),
        MALFORMED,
    ),
    ("an uppercase name among trailers", trailers((b"X", b"1")), MALFORMED),
    ("te among trailers", trailers((b"te", b"gzip")), MALFORMED),
    ("a newline in a trailer's value", trailers((b"x", b"a\nb")), MALFORMED),
    ("a list of 16 kB", changed((b"x", b"y" * 16_384)), "RST_STREAM 1 ENHANCE_YOUR_CALM"),
    ("no field at all", calls(block=b""), MALFORMED),
    # 8.2 Fields
    ("an uppercase name", changed((b"X-Test", b"1")), MALFORMED),
    ("a space in a name", changed((b"x test", b"1")), MALFORMED),
    ("a colon in a name", changed((b"x:test", b"1")), MALFORMED),
    ("a newline in a name", changed((b"x\ntest", b"1")), MALFORMED),
    ("a byte over 127 in a name", changed((b"x\xfftest", b"1")), MALFORMED),
    ("an empty name", changed((b"", b"1")), MALFORMED),
    ("a newline in a value", changed((b"x-test", b"1\n2")), MALFORMED),
    ("a carriage return in a value", changed((b"x-test", b"1\r2")), MALFORMED),
    ("a zero byte in a value", changed((b"x-test", b"1\x002")), MALFORMED),
    ("space before a value", changed((b"x-test", b" 1")), MALFORMED),
    ("space after a value", changed((b"x-test", b"1\t")), MALFORMED),
    ("tabs in a value, symbols in a name", changed((b"x-test", b"1\t2 3"), (b"!#$%&'*+-.^_`|~", b"~")), OK),
    ("a value over 127", changed((b"x-test", b"\xc3\xa9 \xff")), OK),
    ("an empty value", changed((b"x-test", b"")), OK),
    # 8.2.2 Fields of connections
    ("connection", changed((b"connection", b"keep-alive")), MALFORMED),
    ("keep-alive", changed((b"keep-alive", b"timeout=5")), MALFORMED),
    ("proxy-connection", changed((b"proxy-connection", b"keep-alive")), MALFORMED),
    ("transfer-encoding", changed((b"transfer-encoding", b"chunked")), MALFORMED),
    ("upgrade", changed((b"upgrade", b"h2c")), MALFORMED),
    ("te of gzip", replaced(b"te", b"gzip"), MALFORMED),
    ("te of trailers and gzip", replaced(b"te", b"trailers, gzip"), MALFORMED),
    # 8.3 Control data
    ("an unknown pseudo header", changed(put_first=[(b":test", b"1")]), MALFORMED),
    ("the pseudo header of an answer", changed(put_first=[(b":status", b"200")]), MALFORMED),
    ("a pseudo header after others", changed((b":method", b"POST"), drop=[b":method"]), MALFORMED),
    ("no :method", changed(drop=[b":method"]), MALFORMED),
    ("no :scheme", changed(drop=[b":scheme"]), MALFORMED),
    ("no :path", changed(drop=[b":path"]), MALFORMED),
    ("an empty :path", replaced(b":path", b""), MALFORMED),
    ("a :path without a slash", replaced(b":path", LIVE[1:]), OK),
    (":method twice", changed(put_first=[(b":method", b"POST")]), MALFORMED),
    (":scheme twice", changed(put_first=[(b":scheme", b"http")]), MALFORMED),
    (":path twice", changed(put_first=[(b":path", LIVE)]), MALFORMED),
    (":authority twice", changed(put_first=[(b":authority", b"127.0.0.1")]), MALFORMED),
    ("host in the place of :authority", changed((b"host", b"127.0.0.1"), drop=[b":authority"]), OK),
    ("cookies in many fields", changed((b"cookie", b"a=1"), (b"cookie", b"b=2")), OK),
    # 8.1.1 Malformed messages
    ("content-length of less than comes", changed((b"content-length", b"4")), MALFORMED),
    ("content-length of more than comes", changed((b"content-length", b"6")), MALFORMED),
    ("content-length of exactly what comes", changed((b"content-length", b"5")), OK),
    ("content-length that is no number", changed((b"content-length", b"five")), MALFORMED),
    ("content-length with a sign", changed((b"content-length", b"+5")), MALFORMED),
    ("content-length, empty", changed((b"content-length", b"")), MALFORMED),
    ("content-length of a list", changed((b"content-length", b"5,5")), MALFORMED),
    ("content-length of 19 digits", changed((b"content-length", b"1" * 19)), MALFORMED),
    ("content-length of another script's digits", changed((b"content-length", b"\xb2")), MALFORMED),
    ("content-length twice, which disagree", changed((b"content-length", b"5"), (b"content-length", b"6")), MALFORMED),
    ("content-length of something, and END_STREAM", [headers(1, FIVE, LAST)], MALFORMED),
    (
        "content-length and padding, which does not count",
        [headers(1, FIVE), Frame(DATA, PADDED | END_STREAM, 1, b"\7" + EMPTY + bytes(7))],
        OK,
    ),
]

HPACK: list[Case] = [
    ("the index 0", calls(block=b"\x80" + CALL), GARBAGE),
    ("an index beyond both tables", calls(block=b"\xbe" + CALL), GARBAGE),
    ("an index far beyond both tables", calls(block=integer(1 << 40, 7, 0x80) + CALL), GARBAGE),
    ("a name index beyond both tables", calls(block=CALL + integer(70, 6, 0x40) + b"\x011"), GARBAGE),
    ("an index that never ends", calls(block=b"\xff" + b"\x80" * 5_000 + b"\x01" + CALL), GARBAGE),
    ("an index that is cut off", calls(block=CALL + b"\xff\x80"), GARBAGE),
    ("a name that is cut off", calls(block=CALL + b"\x00\x0aabc"), GARBAGE),
    ("a value that is cut off", calls(block=CALL + b"\x00\x01a\x0aabc"), GARBAGE),
    ("a field without a value", calls(block=CALL + b"\x00\x01a"), GARBAGE),
    ("a length far beyond the block", calls(block=CALL + b"\x00\x7f" + b"\xff" * 6 + b"\x01"), GARBAGE),
    ("a Huffman code with padding of zeros", calls(block=CALL + b"\x00\x01a\x81\x00"), GARBAGE),
    ("a Huffman code with a byte of padding", calls(block=CALL + b"\x00\x01a\x82\x1f\xff"), GARBAGE),
    ("a Huffman code with the end of strings", calls(block=CALL + b"\x00\x01a\x84\xff\xff\xff\xff"), GARBAGE),
    ("a Huffman code that is right", calls(block=CALL + b"\x00\x01a\x81\x1f"), OK),
    ("a table as large as allowed", calls(block=integer(4096, 5, 0x20) + CALL), OK),
    ("a table of size 0, then 100", calls(block=b"\x20" + integer(100, 5, 0x20) + CALL), OK),
    ("a table's size again and again", calls(block=b"\x20" * 10_000 + CALL), GARBAGE),
    ("two long sizes and a third", calls(block=integer(100, 5, 0x20) * 2 + b"\x20" + CALL), GARBAGE),
    ("a table that is larger than allowed", calls(block=integer(1 << 20, 5, 0x20) + CALL), GARBAGE),
    ("a table's size after a field", calls(block=CALL + b"\x20"), GARBAGE),
    (
        "an index into a table that was emptied",
        [headers(1, CALL + literal(b"a", b"1", 0x40)), reset(1), *calls(3, b"\x20" + CALL + b"\xbe")],
        GARBAGE,
    ),
    (
        "an entry larger than the table empties it",
        [*calls(1, CALL + literal(b"a", b"1", 0x40) + literal(b"b", b"2" * 5_000, 0x40)), *calls(3, CALL + b"\xbe")],
        GARBAGE,
    ),
    ("a field never to be indexed", calls(block=CALL + literal(b"a", b"1", 0x10)), OK),
    ("arbitrary bytes", calls(block=bytes(range(255, 0, -1))), GARBAGE),
    ("garbage on a stream that was reset", [OPEN, reset(1), headers(3, CALL + b"\xff\x80")], GARBAGE),
    ("garbage among trailers", [OPEN, data(1, EMPTY), headers(1, b"\x80", LAST)], GARBAGE),
]


@pytest.mark.parametrize("case", [*FIELDS, *HPACK], ids=lambda case: case[0])
def test_what_comes_of(case: Case) -> None:
    check(case, echo_peer())


@pytest.mark.long
@pytest.mark.parametrize("case", [*FIELDS, *HPACK], ids=lambda case: case[0])
def test_the_service_does_all_the_same_over_a_socket(case: Case, address: str) -> None:
    with Peer(address) as peer:
        check(case, peer)


# What a block means depends on the table that all blocks before it have built

KEEP = 0x40
"""Of a literal: put it into the table."""
NEWEST, SECOND = b"\xbe", b"\xbf"
"""The last two entries that were put into the table."""


def named(value: bytes) -> bytes:
    return literal(b"x-request-id", value, KEEP)


def names(peer: Peer, *blocks: bytes) -> list[str]:
    """How the server has read x-request-id of each call, whose blocks are these."""
    found = []
    for number, block in enumerate(blocks):
        peer.send(*calls(2 * number + 1, CALL + block))
        answer = peer.answer(2 * number + 1)
        found.append(answer.trailers.get(b"x-request-id", b"").decode())
    return found


def test_the_same_bytes_mean_what_the_table_says_now() -> None:
    blocks = [named(b"one"), NEWEST, NEWEST, NEWEST, named(b"two"), NEWEST, NEWEST, SECOND, NEWEST]
    assert names(echo_peer(), *blocks) == [*["one"] * 4, *["two"] * 3, "one", "two"]


def test_an_evicted_entry_s_index_means_another() -> None:
    # An entry takes 32 bytes besides its name and value: this table holds two of them.
    peer = echo_peer()
    peer.send(*calls(1, integer(100, 5, 0x20) + CALL + named(b"one")))
    found = []
    for stream, block in enumerate([NEWEST, named(b"two"), SECOND, named(b"tre"), SECOND, NEWEST], 1):
        peer.send(*calls(2 * stream + 1, CALL + block))
        found.append(peer.answer(2 * stream + 1).trailers[b"x-request-id"])
    assert found == [b"one", b"two", b"one", b"tre", b"two", b"tre"]


def test_a_cached_block_is_wrong_once_the_table_is_empty() -> None:
    peer = echo_peer()
    assert names(peer, named(b"one"), NEWEST, NEWEST) == ["one"] * 3
    peer.send(*calls(7, b"\x20" + integer(4096, 5, 0x20) + CALL), *calls(9, CALL + NEWEST))
    peer.until(lambda: peer.gone is not None)
    assert (peer.answer(7).grpc_status, peer.gone) == (0, 9)  # COMPRESSION_ERROR


def test_trailers_and_refused_streams_change_the_table_too() -> None:
    peer = echo_peer()
    assert names(peer, named(b"one"), NEWEST) == ["one", "one"]
    peer.send(headers(5, CALL + NEWEST), data(5, EMPTY), headers(5, named(b"two"), LAST))
    peer.send(*calls(7, CALL + NEWEST))
    peer.send(*calls(9, CALL + b"\0\1X\1y" + named(b"tre")))  # malformed, so the stream is reset
    peer.send(*calls(11, CALL + NEWEST))
    assert [peer.answer(n).trailers[b"x-request-id"] for n in (5, 7, 11)] == [b"one", b"two", b"tre"]
    assert peer.answer(9).reset == 1  # PROTOCOL_ERROR


def test_a_token_belongs_only_to_the_block_that_brings_it(address: str, token: str) -> None:
    """With the real service, whose gate caches what it has decided about a head."""
    call, one = plain(head(INFER)), message(inference([[1.0]]))
    ours = literal(b"authorization", f"Bearer {token}".encode(), KEEP)
    wrong = literal(b"authorization", b"Bearer somebody else's", KEEP)
    blocks = [ours, NEWEST, b"", NEWEST, wrong, NEWEST, SECOND, literal(b"x-other", b"1", KEEP), NEWEST]
    with Peer(address) as peer:
        for number, block in enumerate(blocks):
            peer.send(headers(2 * number + 1, call + block), data(2 * number + 1, one, end=True))
        statuses = [peer.answer(2 * number + 1).grpc_status for number in range(len(blocks))]
        assert statuses == [0, 0, 16, 0, 16, 16, 0, 16, 16]
    with Peer(address) as peer:  # another connection has another table and another cache
        for stream, block in ((1, literal(b"x-other", b"1", KEEP)), (3, NEWEST)):
            peer.send(headers(stream, call + block), data(stream, one, end=True))
            assert peer.answer(stream).grpc_status == 16


IDS = st.sampled_from(["a", "b", "c", "d", "a-longer-name-for-a-request", "0123456789" * 4])
WORDS = st.sampled_from([b"1", b"2", b"x" * 50, b"\xff\xfe", b""])
METADATA = st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"x-c-bin"]), WORDS), max_size=3)
WHO = st.sampled_from([b"owner", b"owner", b"stranger", b""])
RESIZED = st.one_of(st.none(), st.none(), st.sampled_from([0, 60, 100, 200, 400, 4096]))
CALLS = st.lists(st.tuples(IDS, METADATA, WHO, RESIZED, st.booleans(), st.booleans()), min_size=2, max_size=14)


@settings(max_examples=120)
@given(size=st.sampled_from([0, 60, 120, 250, 500, 4096]), calls=CALLS)
def test_each_head_is_read_as_it_was_meant_whatever_the_table_went_through(
    size: int, calls: Sequence[tuple[str, Fields, bytes, int | None, bool, bool]]
) -> None:
    """Each is written by an encoder that uses its table as it can, and echoed."""
    peer = echo_peer()
    peer.encoder.header_table_size = size
    sent = {}
    for name, metadata, who, resized, huffman, sensitive in calls:
        if resized is not None:
            peer.encoder.header_table_size = resized
        fields = [*metadata, (b"x-request-id", name.encode()), *([(b"authorization", who)] if who else [])]
        listed = [hpack.NeverIndexedHeaderTuple(*field) if sensitive else field for field in fields]
        stream = peer.open([*head(INFER), *listed], huffman=huffman)
        peer.send(data(stream, EMPTY, end=True))
        sent[stream] = name, who
    for stream, (name, who) in sent.items():
        told = peer.answer(stream).trailers
        assert (told[b"x-request-id"].decode(), told.get(b"authorization", b"")) == (name, who)


# The server's own blocks


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 65536, 2**32 - 1])
def test_the_server_s_table_is_as_large_as_the_client_allows(address: str, token: str, size: int) -> None:
    with Peer(address, {HEADER_TABLE_SIZE: size}) as peer:
        for name in (b"one", b"two", b"two"):
            stream = peer.call(head(INFER, (b"x-request-id", name), token=token), inference([[1.0]]))
            answered(stream)
            assert stream.trailers[b"x-request-id"] == name


def test_a_table_that_shrinks_between_calls_shrinks_at_the_next_block() -> None:
    peer = echo_peer()
    for sizes in ([0], [4096], [100], [0, 4096], [4096, 0], [200, 100, 300]):
        assert peer.call(head(LIVE)).grpc_status == 0
        peer.send(settings_frame([(HEADER_TABLE_SIZE, size) for size in sizes]))
        assert peer.pong()
        known = len(peer.raw_blocks)
        assert peer.call(head(LIVE)).grpc_status == 0
        if min(sizes) < 4096:
            # A table that was ever to be smaller is said to be so, even where it may be larger again.
            assert peer.raw_blocks[known][0] & 0xE0 == 0x20
            said, _ = hpack.hpack.decode_integer(peer.raw_blocks[known], 5)
            assert said <= min(sizes)
