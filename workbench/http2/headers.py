"""Header blocks: decodes them with `hpack`, caches what they mean, and encodes our own.

A client that keeps its connection sends the same few blocks again and again. What a block means depends on the dynamic
table that earlier blocks have built (RFC 7541, section 2.3), so the cache is cleared whenever that table changes. Our
own blocks use no dynamic table: a block is the same bytes on every connection and can be built once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from workbench.http2.frames import ErrorCode, H2ConnectionError

MAX_LIST_BYTES: Final = 16 * 1024
"""Of the names and values of one block, plus 32 bytes for each field (RFC 9113, section 6.5.2)."""

MAX_BLOCK_BYTES: Final = 64 * 1024
"""Of a compressed block, CONTINUATION frames included."""

MAX_CACHED, MAX_CACHED_BYTES, MAX_CACHED_FIELDS = 64, 1024, 64
"""Blocks cached for each connection, and the bytes and fields that each of them may have."""

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_CONNECTION_FIELDS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)

_MAX_LENGTH_DIGITS: Final = 18

_BAD_VALUE_MESSAGE: Final = "a header value must not contain NUL, CR or LF, or begin or end with whitespace"

_SIZE_UPDATE: Final = 0x20
_MAX_SIZE_UPDATES: Final = 2

SHRINK_TABLE: Final = b"\x20"
"""Sets the encoder's dynamic table to size 0. Must begin the next block after the peer has reduced its table size."""


class H2StreamError(Exception):
    """A malformed request or malformed trailers. Only the stream ends, not the connection."""

    code = ErrorCode.PROTOCOL_ERROR


class HeaderListTooLarge(H2StreamError):
    """Well-formed headers that exceed MAX_LIST_BYTES. gRPC clients see RESOURCE_EXHAUSTED."""

    code = ErrorCode.ENHANCE_YOUR_CALM


class H2RequestHead:
    """The decoded fields of one block."""

    __slots__ = ("fields", "known", "length", "request")

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        self.fields = fields
        """(name, value), in the order received."""
        self.request: dict[bytes, bytes] = {}
        """A request's fields by name; the last one wins. Empty until `check_request` has accepted the head."""
        self.length: int | None = None
        """A request's Content-Length, in bytes."""
        self.known: Any = None
        """A place for the server to keep what it has derived from this head, which is cached with it."""


class HeaderReader:
    """Decodes the header blocks of one connection. Every block must be passed in, in order."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_BLOCK_BYTES)
        self._cached: dict[bytes, H2RequestHead] = {}
        self.cached = self._cached.get
        """Returns the head of a block that was read before, or None where the block must be passed to `read`."""

    def forget(self) -> None:
        """Forgets what heads meant. The table stays, on which later blocks depend."""
        self._cached.clear()

    def read(self, block: bytes) -> H2RequestHead:
        """Decodes a block of a request or of trailers. Raises H2ConnectionError: no later block can be decoded then."""
        if _has_excess_size_updates(block):
            raise H2ConnectionError(
                ErrorCode.COMPRESSION_ERROR,
                f"a header block may change the table size at most {_MAX_SIZE_UPDATES} times",
            )
        table = self._decoder.header_table
        before = _newest(table), len(table.dynamic_entries), table.maxsize
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise H2ConnectionError(
                ErrorCode.ENHANCE_YOUR_CALM, f"the headers have more than {MAX_BLOCK_BYTES} bytes"
            ) from None
        except (HPACKError, IndexError, ValueError):
            raise H2ConnectionError(ErrorCode.COMPRESSION_ERROR, "the header block cannot be decoded") from None
        head = H2RequestHead(tuple((bytes(name), bytes(value)) for name, value in fields))
        newest, length, most = before
        if _newest(table) is not newest or len(table.dynamic_entries) != length or table.maxsize != most:
            self._cached.clear()
        elif len(block) <= MAX_CACHED_BYTES and len(head.fields) <= MAX_CACHED_FIELDS:
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            self._cached[block] = head
        return head


def _has_excess_size_updates(block: bytes) -> bool:
    """Whether the block begins with more table size updates than are ever needed (RFC 7541, section 4.2)."""
    at = 0
    for _ in range(_MAX_SIZE_UPDATES + 1):
        if at >= len(block) or block[at] & 0xE0 != _SIZE_UPDATE:
            return False
        long = block[at] & 0x1F == 0x1F
        at += 1
        while long and at < len(block):
            long = block[at] & 0x80 != 0
            at += 1
    return True


def _newest(table: HeaderTable) -> tuple[bytes, bytes] | None:
    """The entry added last. Each addition is a new object, so comparing by identity tells whether one was added."""
    return table.dynamic_entries[0] if table.dynamic_entries else None


def check_request(head: H2RequestHead) -> None:
    """Validates a request (RFC 9113, sections 8.1.1, 8.2, 8.3) and fills in `request` and `length`. H2StreamError."""
    found: dict[bytes, bytes] = {}
    size = 0
    regular = False
    for name, value in head.fields:
        size += 32 + len(name) + len(value)
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO:
                raise H2StreamError(f"the pseudo-header {name[:40]!r} is unknown, repeated or misplaced")
        else:
            regular = True
            _check_field(name, value)
        if _BAD_VALUE.search(value):
            raise H2StreamError(_BAD_VALUE_MESSAGE)
        if name == b"content-length" and found.get(name, value) != value:
            raise H2StreamError("content-length is repeated with different values")
        found[name] = value
    if size > MAX_LIST_BYTES:
        raise HeaderListTooLarge(f"the headers have more than {MAX_LIST_BYTES} bytes")
    if not (b":method" in found and b":scheme" in found and found.get(b":path")):
        raise H2StreamError("the request lacks :method, :scheme or :path")
    if (length := found.get(b"content-length")) is not None:
        if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
            raise H2StreamError(
                f"content-length must be a number of at most {_MAX_LENGTH_DIGITS} digits, got {length[:40]!r}"
            )
        head.length = int(length)
    head.request = found


def check_trailers(head: H2RequestHead) -> None:
    """Validates a request's trailers. Raises H2StreamError."""
    for name, value in head.fields:
        if name[:1] == b":":
            raise H2StreamError("trailers must not contain pseudo-headers")
        _check_field(name, value)
        if _BAD_VALUE.search(value):
            raise H2StreamError(_BAD_VALUE_MESSAGE)


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise H2StreamError(f"the header name {name[:40]!r} is not a lower-case token")
    if name in _CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise H2StreamError(f"the header {name.decode()!r} is not allowed in HTTP/2")


def block_of(*fields: tuple[bytes, bytes]) -> bytes:
    """Encodes a header block without touching the dynamic table: literals, with names from the static table."""
    return b"".join(_field(name, value) for name, value in fields)


@lru_cache(maxsize=256)
def _name(name: bytes) -> bytes:
    found = HeaderTable.STATIC_TABLE_MAPPING.get(name)
    if found is None:
        return b"\0" + _integer(len(name), 7) + name
    return _integer(found[0], 4)


def _field(name: bytes, value: bytes) -> bytes:
    found = HeaderTable.STATIC_TABLE_MAPPING.get(name)
    if found is not None and (index := found[1].get(value)) is not None:
        return bytes((0x80 | index,))
    return b"".join((_name(name), _integer(len(value), 7), value))


def _integer(value: int, prefix_bits: int) -> bytes:
    """Encodes an integer (RFC 7541, section 5.1); the bits above the prefix are 0."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((value,))
    found = bytearray((most,))
    value -= most
    while value >= 128:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
