"""Frames of HTTP/2 (RFC 9113, sections 4, 6 and 7): their names, and how those that we send are written."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's connection begins with."""

HEAD: Final = Struct(">HBBBL")
"""The nine bytes before a payload: the upper 16 and the lower 8 bits of its length, type, flags, stream."""

HEAD_BYTES: Final = 9

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

DEFAULT_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = (1 << 31) - 1
LEAST_FRAME, LARGEST_FRAME = 1 << 14, (1 << 24) - 1
"""What MAX_FRAME_SIZE may be; the first is also what holds where nobody says anything."""

STREAM_BITS: Final = (1 << 31) - 1
"""Of a stream's number and of an increment; the bit above is reserved."""

SETTING: Final = Struct(">HL")
UINT32: Final = Struct(">L")


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class H2ConnectionError(Exception):
    """The peer broke a rule after which the connection cannot go on."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


_NAMES: Final = {
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
}
_SIZES: Final = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_LEAST_GOAWAY: Final = 8
_OF_THE_CONNECTION: Final = frozenset({SETTINGS, PING, GOAWAY})
_OF_A_STREAM: Final = frozenset({PRIORITY, RST_STREAM})


def check_shape(kind: int, stream: int, size: int) -> None:
    """Whether a frame that is neither DATA nor headers can be what it says. Broken."""
    if kind in _OF_THE_CONNECTION if stream else kind in _OF_A_STREAM:
        raise H2ConnectionError(
            ErrorCode.PROTOCOL_ERROR, f"{_NAMES[kind]} on {f'stream {stream}' if stream else 'no stream'}"
        )
    if size != _SIZES.get(kind, size) or (kind == GOAWAY and size < _LEAST_GOAWAY):
        raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"{_NAMES[kind]} of {size} bytes")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def frame_head(size: int, kind: int, flags: int, stream: int) -> bytes:
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, UINT32.pack(more))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream, UINT32.pack(code))


def goaway(last_stream: int, code: ErrorCode, why: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, UINT32.pack(last_stream) + UINT32.pack(code) + why.encode())


def unpadded(payload: bytes, flags: int) -> bytes:
    """What DATA or HEADERS carry beside their padding. Broken."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
