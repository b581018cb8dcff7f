"""Header blocks: read with `hpack`, and remembered, since a client that stays sends the same few bytes again and again.

What a block means depends on the table that the blocks before it have built (RFC 7541, section 2.3), so what is
remembered is forgotten as soon as that table changes. Ours are written without a table: a block is the same bytes for
every connection, and can be made once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from workbench.http2.frames import ErrorCode, H2ConnectionError

MAX_LIST_BYTES: Final = 16 * 1024
"""Of names and values, with 32 more for each (RFC 9113, section 6.5.2)."""

MAX_BLOCK_BYTES: Final = 64 * 1024
"""Of a block and what follows of it in further frames."""

MAX_REMEMBERED, MAX_REMEMBERED_BYTES, MAX_REMEMBERED_FIELDS = 64, 1024, 64
"""Blocks of one connection, how long each may be, and how many fields it may unpack to."""

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)

_LENGTH_DIGITS: Final = 18

_ODD_VALUE: Final = "a header's value holds what none may"

_SIZE_UPDATE: Final = 0x20
_MOST_UPDATES: Final = 2

SHRINK_TABLE: Final = b"\x20"
"""Begins a block: the table of whoever writes it has no room. Due once when the reader makes its own smaller."""


class H2StreamError(Exception):
    """A request or trailers that break HTTP's rules: an error of the stream alone."""

    code = ErrorCode.PROTOCOL_ERROR


class HeaderListTooLarge(H2StreamError):
    """Headers that are in order, and too many. gRPC clients are told RESOURCE_EXHAUSTED."""

    code = ErrorCode.ENHANCE_YOUR_CALM


class RequestHead:
    """What came in one block."""

    __slots__ = ("fields", "known", "length", "request")

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        self.fields = fields
        """(name, value), in the order in which they came."""
        self.request: dict[bytes, bytes] = {}
        """A request's fields by name, of those that came twice the last; empty until `check_request` found it right."""
        self.length: int | None = None
        """A request's Content-Length."""
        self.known: Any = None
        """For whoever answers: what it has found out about this head, which may come again."""


class HeaderReader:
    """The blocks of one connection, in their order."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_BLOCK_BYTES)
        self._remembered: dict[bytes, RequestHead] = {}
        self.remembered = self._remembered.get
        """What a block means that came before, as a request's head; None: it has to be read."""

    def read(self, block: bytes) -> RequestHead:
        """Any block, trailers too. Broken for what is no header block, after which no other can be read."""
        if _begins_with_updates(block):
            raise H2ConnectionError(
                ErrorCode.COMPRESSION_ERROR, f"a block changes its table's size more than {_MOST_UPDATES} times"
            )
        table = self._decoder.header_table
        before = _newest(table), len(table.dynamic_entries), table.maxsize
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "the headers are far too long") from None
        except (HPACKError, IndexError, ValueError):
            raise H2ConnectionError(ErrorCode.COMPRESSION_ERROR, "the header block cannot be read") from None
        head = RequestHead(tuple((bytes(name), bytes(value)) for name, value in fields))
        newest, length, most = before
        if _newest(table) is not newest or len(table.dynamic_entries) != length or table.maxsize != most:
            self._remembered.clear()
        elif len(block) <= MAX_REMEMBERED_BYTES and len(head.fields) <= MAX_REMEMBERED_FIELDS:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[block] = head
        return head


def _begins_with_updates(block: bytes) -> bool:
    """Whether more changes of the table's size come first than a block has any use for (RFC 7541, section 4.2)."""
    at = 0
    for _ in range(_MOST_UPDATES + 1):
        if at >= len(block) or block[at] & 0xE0 != _SIZE_UPDATE:
            return False
        long = block[at] & 0x1F == 0x1F
        at += 1
        while long and at < len(block):
            long = block[at] & 0x80 != 0
            at += 1
    return True


def _newest(table: HeaderTable) -> tuple[bytes, bytes] | None:
    """The entry that was added last. Each that is added is an object of its own, so this tells whether one was."""
    return table.dynamic_entries[0] if table.dynamic_entries else None


def check_request(head: RequestHead) -> None:
    """Fill in what it says as a request. Malformed (RFC 9113, sections 8.1.1, 8.2 and 8.3)."""
    found: dict[bytes, bytes] = {}
    size = 0
    regular = False
    for name, value in head.fields:
        size += 32 + len(name) + len(value)
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO:
                raise H2StreamError(f"the pseudo-header {name[:40]!r} is out of place")
        else:
            regular = True
            _check_field(name, value)
        if _BAD_VALUE.search(value):
            raise H2StreamError(_ODD_VALUE)
        if name == b"content-length" and found.get(name, value) != value:
            raise H2StreamError("the Content-Length comes twice, with two values")
        found[name] = value
    if size > MAX_LIST_BYTES:
        raise HeaderListTooLarge(f"the headers have more than {MAX_LIST_BYTES} bytes")
    if not (b":method" in found and b":scheme" in found and found.get(b":path")):
        raise H2StreamError("the request has no method, scheme or path")
    if (length := found.get(b"content-length")) is not None:
        if not length.isdigit() or len(length) > _LENGTH_DIGITS:
            raise H2StreamError("the Content-Length is no number")
        head.length = int(length)
    head.request = found


def check_trailers(head: RequestHead) -> None:
    """Malformed."""
    for name, value in head.fields:
        if name[:1] == b":":
            raise H2StreamError("trailers have no pseudo-headers")
        _check_field(name, value)
        if _BAD_VALUE.search(value):
            raise H2StreamError(_ODD_VALUE)


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise H2StreamError(f"the header {name[:40]!r} is not in lower case, or no name")
    if name in _OF_A_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
        raise H2StreamError(f"the header {name.decode()!r} does not exist in HTTP/2")


def block_of(*fields: tuple[bytes, bytes]) -> bytes:
    """A header block that changes no table: literals, with the name from the static table where it is there."""
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
    """RFC 7541, section 5.1, with zeros above the prefix."""
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
