"""Header blocks against `hpack`: what is read, cached and written. Malformed requests are in test_http2_fields."""

from __future__ import annotations

import operator

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.http2.frames import ErrorCode, H2ConnectionError
from workbench.http2.headers import (
    MAX_BLOCK_BYTES,
    MAX_CACHED,
    MAX_CACHED_BYTES,
    MAX_CACHED_FIELDS,
    H2RequestHead,
    H2StreamError,
    HeaderReader,
    block_of,
    check_request,
    check_trailers,
)

Fields = list[tuple[bytes, bytes]]

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x")]

names = st.sampled_from([b"a", b"b", b":path", b"content-type", b"x-request-id", b"authorization", b"n" * 130])
values = st.sampled_from([b"", b"1", b"POST", b"application/grpc", b"v" * 126, b"v" * 127, b"v" * 128, b"\xff\0"])
field_lists = st.lists(st.tuples(names, values), max_size=6)


def read(block: bytes, reader: HeaderReader) -> tuple[H2RequestHead, bool]:
    """As a connection does; and whether it was remembered."""
    known = reader.cached(block)
    return (reader.read(block), False) if known is None else (known, True)


def of(*more: tuple[bytes, bytes]) -> H2RequestHead:
    return H2RequestHead((*REQUEST, *more))  # type: ignore[arg-type]


# What is read


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.none() | st.integers(0, 4096)), max_size=60),
    st.lists(field_lists, min_size=6, max_size=6),
)
def test_blocks_mean_what_they_say_however_the_table_changes(
    steps: list[tuple[int, bool, int | None]], heads: list[Fields]
) -> None:
    """Each step sends one of a few heads again, with or without Huffman's code, maybe with a table of another size."""
    encoder, reader, plain = hpack.Encoder(), HeaderReader(), hpack.Decoder(max_header_list_size=MAX_BLOCK_BYTES)
    for which, huffman, table in steps:
        if table is not None:
            encoder.header_table_size = table
        block = encoder.encode(heads[which], huffman=huffman)
        head, _ = read(block, reader)
        assert list(head.fields) == heads[which]
        plain.decode(block, raw=True)
        ours = reader._decoder.header_table
        assert list(ours.dynamic_entries) == list(plain.header_table.dynamic_entries)
        assert ours.maxsize == plain.header_table.maxsize


@given(st.lists(field_lists, min_size=1, max_size=8), st.integers(0, 4096))
def test_a_block_is_cached_from_when_the_table_stays(heads: list[Fields], size: int) -> None:
    encoder, reader = hpack.Encoder(), HeaderReader()
    encoder.header_table_size = size
    seen: set[bytes] = set()
    for fields in heads * 3:
        block = encoder.encode(fields)
        table = reader._decoder.header_table
        before, most = list(table.dynamic_entries), table.maxsize
        head, remembered = read(block, reader)
        assert list(head.fields) == fields
        assert remembered == (block in seen)
        entries = table.dynamic_entries
        same = len(entries) == len(before) and all(map(operator.is_, entries, before)) and table.maxsize == most
        seen = {*seen, block} if same and len(block) <= MAX_CACHED_BYTES else set()


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_rejected_with_an_error_of_the_connection(block: bytes) -> None:
    reader = HeaderReader()
    try:
        head, _ = read(block, reader)
    except H2ConnectionError as error:
        assert error.code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)
        return
    for check in (check_request, check_trailers):
        try:
            check(head)
        except H2StreamError:
            assert check is check_trailers or not head.request


def test_an_entry_that_is_added_again_clears_the_cache() -> None:
    reader = HeaderReader()
    add, first = b"\x40\x01a\x01b", b"\xbe"  # a literal that is added, and the newest entry
    reader.read(add)
    assert read(first, reader)[0].fields == ((b"a", b"b"),)
    assert read(first, reader)[1]
    reader.read(b"\x40\x01a\x01c")
    head, remembered = read(first, reader)
    assert (head.fields, remembered) == (((b"a", b"c"),), False)
    assert read(first, reader)[1]
    reader.read(b"\x20\x3f\xe1\x1f" + add)  # no room, 4096 again, and one entry, as many as at first
    assert reader.cached(first) is None


def test_few_blocks_are_cached_and_only_short_ones_with_few_fields() -> None:
    reader = HeaderReader()
    for at in range(1000):
        reader.read(block_of((b"x", b"%d" % at)))
        assert len(reader._cached) <= MAX_CACHED
    for long in (b"\x82" * (MAX_CACHED_FIELDS + 1), block_of((b"x", b"y" * MAX_CACHED_BYTES))):
        reader.read(long)
        assert reader.cached(long) is None
    reader.read(b"\x82" * MAX_CACHED_FIELDS)
    assert reader.cached(b"\x82" * MAX_CACHED_FIELDS) is not None


def test_a_list_that_is_far_too_long_ends_the_connection() -> None:
    with pytest.raises(H2ConnectionError) as error:
        HeaderReader().read(block_of((b"x", b"y" * MAX_BLOCK_BYTES)))
    assert error.value.code == ErrorCode.ENHANCE_YOUR_CALM


# What requests and trailers may hold


def test_a_request_is_its_fields_by_name() -> None:
    head = of((b"te", b"trailers"), (b"x", b"1"), (b"x", b"2"), (b"content-length", b"12"))
    check_request(head)
    assert head.request[b":path"] == b"/x"
    assert (head.request[b"x"], head.length) == (b"2", 12)


# What is written


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=8))
def test_any_fields_can_be_written(fields: Fields) -> None:
    decoder = hpack.Decoder()
    before = list(decoder.header_table.dynamic_entries)
    assert [tuple(each) for each in decoder.decode(block_of(*fields), raw=True)] == fields
    assert list(decoder.header_table.dynamic_entries) == before


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 16510, 16511, 60_000])
def test_lengths_at_the_borders_of_their_encoding(size: int) -> None:
    for field in ((b"n" * (size or 1), b"v"), (b"name", b"v" * size)):
        (found,) = hpack.Decoder(max_header_list_size=1 << 20).decode(block_of(field), raw=True)
        assert tuple(found) == field


def test_every_field_of_the_static_table_is_one_byte() -> None:
    for name, value in hpack.table.HeaderTable.STATIC_TABLE:
        assert len(block_of((name, value))) == 1
        assert hpack.Decoder().decode(block_of((name, b"other")), raw=True) == [(name, b"other")]
