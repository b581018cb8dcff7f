"""Header fields by RFC 9113, section 8, and their compression by RFC 7541."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.http2.cases import ANSWERED, CALL, EMPTY, MALFORMED, OTHER_END, Case, calls, check, connection
from tests.http2.raw import DATA, END_STREAM, PADDED, Fields, Frame, data, headers, integer, literal, plain, reset
from tests.http2.service import LIVE, head


def changed(*changes: tuple[bytes, bytes], drop: Sequence[bytes] = (), put_first: Fields = ()) -> list[Frame]:
    """A whole call with further fields."""
    fields = [*put_first, *(field for field in head(LIVE) if field[0] not in drop), *changes]
    return calls(block=plain(fields))


def replaced(name: bytes, value: bytes) -> list[Frame]:
    """A whole call with another value of a field."""
    return calls(block=plain([(each, value if each == name else old) for each, old in head(LIVE)]))


FIELDS = [
    # 8.1 Message framing
    Case("trailers", [headers(1, CALL), data(1, EMPTY), headers(1, plain([(b"x-end", b"1")]), OTHER_END)], ANSWERED),
    Case(
        "trailers that do not end the stream",
        [headers(1, CALL), data(1, EMPTY), headers(1, plain([(b"x-end", b"1")]))],
        MALFORMED + connection("PROTOCOL_ERROR"),
    ),
    Case(
        "a pseudo header among trailers",
        [headers(1, CALL), data(1, EMPTY), headers(1, plain([(b":method", b"POST")]), OTHER_END)],
        MALFORMED,
    ),
    Case("no field at all", calls(block=b""), MALFORMED),
    # 8.2 Fields
    Case("an uppercase name", changed((b"X-Test", b"1")), MALFORMED),
    Case("a space in a name", changed((b"x test", b"1")), MALFORMED),
    Case("a colon in a name", changed((b"x:test", b"1")), MALFORMED),
    Case("a newline in a name", changed((b"x\ntest", b"1")), MALFORMED),
    Case("a byte over 127 in a name", changed((b"x\xfftest", b"1")), MALFORMED),
    Case("an empty name", changed((b"", b"1")), MALFORMED),
    Case("a newline in a value", changed((b"x-test", b"1\n2")), MALFORMED),
    Case("a carriage return in a value", changed((b"x-test", b"1\r2")), MALFORMED),
    Case("a zero byte in a value", changed((b"x-test", b"1\x002")), MALFORMED),
    Case("space before a value", changed((b"x-test", b" 1")), MALFORMED + ANSWERED),
    Case("space after a value", changed((b"x-test", b"1\t")), MALFORMED + ANSWERED),
    Case(
        "a name and a value of tables and tabs", changed((b"x-test", b"1\t2 3"), (b"!#$%&'*+-.^_`|~", b"~")), ANSWERED
    ),
    Case("a value over 127", changed((b"x-test", b"\xc3\xa9 \xff")), ANSWERED),
    Case("an empty value", changed((b"x-test", b"")), ANSWERED),
    # 8.2.2 Fields of connections
    Case("connection", changed((b"connection", b"keep-alive")), MALFORMED),
    Case("keep-alive", changed((b"keep-alive", b"timeout=5")), MALFORMED),
    Case("proxy-connection", changed((b"proxy-connection", b"keep-alive")), MALFORMED),
    Case("transfer-encoding", changed((b"transfer-encoding", b"chunked")), MALFORMED),
    Case("upgrade", changed((b"upgrade", b"h2c")), MALFORMED),
    Case("te of gzip", replaced(b"te", b"gzip"), MALFORMED),
    Case("te of trailers and gzip", replaced(b"te", b"trailers, gzip"), MALFORMED),
    # 8.3 Control data
    Case("an unknown pseudo header", changed(put_first=[(b":test", b"1")]), MALFORMED),
    Case("the pseudo header of an answer", changed(put_first=[(b":status", b"200")]), MALFORMED),
    Case("a pseudo header after others", changed((b":method", b"POST"), drop=[b":method"]), MALFORMED),
    Case("no :method", changed(drop=[b":method"]), MALFORMED),
    Case("no :scheme", changed(drop=[b":scheme"]), MALFORMED),
    Case("no :path", changed(drop=[b":path"]), MALFORMED),
    Case("an empty :path", replaced(b":path", b""), MALFORMED),
    Case(
        "a :path without a slash",
        replaced(b":path", LIVE[1:]),
        (*MALFORMED, "stream 1 is answered 200", "stream 1 is answered 400", "stream 1 is answered 404"),
    ),
    Case(":method twice", changed(put_first=[(b":method", b"POST")]), MALFORMED),
    Case(":scheme twice", changed(put_first=[(b":scheme", b"http")]), MALFORMED),
    Case(":path twice", changed(put_first=[(b":path", LIVE)]), MALFORMED),
    Case(":authority twice", changed(put_first=[(b":authority", b"127.0.0.1")]), MALFORMED),
    Case("host in the place of :authority", changed((b"host", b"127.0.0.1"), drop=[b":authority"]), ANSWERED),
    Case("cookies in many fields", changed((b"cookie", b"a=1"), (b"cookie", b"b=2")), ANSWERED),
    # 8.1.1 Malformed messages
    Case("content-length of less than comes", changed((b"content-length", b"4")), MALFORMED),
    Case("content-length of more than comes", changed((b"content-length", b"6")), MALFORMED),
    Case("content-length of exactly what comes", changed((b"content-length", b"5")), ANSWERED),
    Case("content-length that is no number", changed((b"content-length", b"five")), MALFORMED),
    Case("content-length with a sign", changed((b"content-length", b"+5")), MALFORMED),
    Case(
        "content-length twice, which disagree", changed((b"content-length", b"5"), (b"content-length", b"6")), MALFORMED
    ),
    Case(
        "content-length of something, and END_STREAM",
        [headers(1, plain([*head(LIVE), (b"content-length", b"5")]), OTHER_END)],
        MALFORMED,
    ),
    Case(
        "content-length and padding, which does not count",
        [
            headers(1, plain([*head(LIVE), (b"content-length", b"5")])),
            Frame(DATA, PADDED | END_STREAM, 1, b"\7" + EMPTY + bytes(7)),
        ],
        ANSWERED,
    ),
]

GARBAGE = connection("COMPRESSION_ERROR")

HPACK = [
    Case("the index 0", calls(block=b"\x80" + CALL), GARBAGE),
    Case("an index beyond both tables", calls(block=b"\xbe" + CALL), GARBAGE),
    Case("an index far beyond both tables", calls(block=integer(1 << 40, 7, 0x80) + CALL), GARBAGE),
    Case("the name of an index beyond both tables", calls(block=CALL + integer(70, 6, 0x40) + b"\x011"), GARBAGE),
    Case("an index that never ends", calls(block=b"\xff" + b"\x80" * 5_000 + b"\x01" + CALL), GARBAGE),
    Case("an index that is cut off", calls(block=CALL + b"\xff\x80"), GARBAGE),
    Case("a name that is cut off", calls(block=CALL + b"\x00\x0aabc"), GARBAGE),
    Case("a value that is cut off", calls(block=CALL + b"\x00\x01a\x0aabc"), GARBAGE),
    Case("a field without a value", calls(block=CALL + b"\x00\x01a"), GARBAGE),
    Case("a length far beyond the block", calls(block=CALL + b"\x00\x7f" + b"\xff" * 6 + b"\x01"), GARBAGE),
    Case("a Huffman code with padding of zeros", calls(block=CALL + b"\x00\x01a\x81\x00"), GARBAGE),
    Case("a Huffman code with a byte of padding", calls(block=CALL + b"\x00\x01a\x82\x1f\xff"), GARBAGE),
    Case("a Huffman code with the end of strings", calls(block=CALL + b"\x00\x01a\x84\xff\xff\xff\xff"), GARBAGE),
    Case("a Huffman code that is right", calls(block=CALL + b"\x00\x01a\x81\x1f"), ANSWERED),
    Case("a table as large as allowed", calls(block=integer(4096, 5, 0x20) + CALL), ANSWERED),
    Case("a table of none and of something", calls(block=b"\x20" + integer(100, 5, 0x20) + CALL), ANSWERED),
    Case("a table's size again and again", calls(block=b"\x20" * 10_000 + CALL), GARBAGE),
    Case("two long sizes and a third", calls(block=integer(100, 5, 0x20) * 2 + b"\x20" + CALL), GARBAGE),
    Case("a table that is larger than allowed", calls(block=integer(1 << 20, 5, 0x20) + CALL), GARBAGE),
    Case("a table's size after a field", calls(block=CALL + b"\x20"), GARBAGE),
    Case(
        "an index into a table that was emptied",
        [headers(1, CALL + literal(b"a", b"1", 0x40)), reset(1), *calls(3, b"\x20" + CALL + b"\xbe")],
        GARBAGE,
    ),
    Case(
        "an entry larger than the table empties it",
        [*calls(1, CALL + literal(b"a", b"1", 0x40) + literal(b"b", b"2" * 5_000, 0x40)), *calls(3, CALL + b"\xbe")],
        GARBAGE,
    ),
    Case("a field never to be indexed", calls(block=CALL + literal(b"a", b"1", 0x10)), ANSWERED),
    Case("bytes that nobody made", calls(block=bytes(range(255, 0, -1))), GARBAGE),
    Case("garbage on a stream that was reset", [headers(1, CALL), reset(1), headers(3, CALL + b"\xff\x80")], GARBAGE),
    Case("garbage among trailers", [headers(1, CALL), data(1, EMPTY), headers(1, b"\x80", OTHER_END)], GARBAGE),
]


@pytest.mark.parametrize("case", [*FIELDS, *HPACK], ids=lambda case: case.name)
def test_what_comes_of(case: Case, address: str) -> None:
    check(case, address)
