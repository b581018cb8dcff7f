"""HTTP/2 frames (RFC 9113, sections 4, 6 and 7): their constants, checks, and the encoding of those a server sends."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every client connection."""

HEAD: Final = Struct(">HBBBL")
"""The frame header: upper 16 and lower 8 bits of the payload's length, type, flags, stream."""

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
"""The range of MAX_FRAME_SIZE. The lower end is also the default."""

STREAM_BITS: Final = (1 << 31) - 1
"""Masks a stream number or a window increment; the highest bit is reserved."""

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
    """The peer violated the protocol in a way that ends the whole connection."""

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
_PAYLOAD_BYTES: Final = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_MIN_GOAWAY_BYTES: Final = 8
_CONNECTION_KINDS: Final = frozenset({SETTINGS, PING, GOAWAY})
_STREAM_KINDS: Final = frozenset({PRIORITY, RST_STREAM})


def check_shape(kind: int, stream: int, size: int) -> None:
    """Checks stream number and size of any frame but DATA, HEADERS and CONTINUATION. Raises H2ConnectionError."""
    if kind in _CONNECTION_KINDS if stream else kind in _STREAM_KINDS:
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"{_NAMES[kind]} must not be sent on stream {stream}")
    if size != _PAYLOAD_BYTES.get(kind, size) or (kind == GOAWAY and size < _MIN_GOAWAY_BYTES):
        raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"{_NAMES[kind]} must not have {size} bytes")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_head(len(payload), kind, flags, stream) + payload


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


def check_window(size: int) -> None:
    """Raises H2ConnectionError for a window that has become too large."""
    if size > LARGEST_WINDOW:
        raise H2ConnectionError(
            ErrorCode.FLOW_CONTROL_ERROR, f"a window must not exceed {LARGEST_WINDOW} bytes, got {size}"
        )


def parse_settings(payload: bytes) -> dict[int, int]:
    """Decodes and checks a SETTINGS payload. Raises H2ConnectionError.

    The last of repeated settings wins: no frame lies between them that an earlier one could apply to.
    """
    if len(payload) % SETTING.size:
        raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS must be 6 bytes each, got {len(payload)} bytes")
    found: dict[int, int] = dict(SETTING.iter_unpack(payload))
    check_window(found.get(INITIAL_WINDOW_SIZE, 0))
    if not LEAST_FRAME <= (size := found.get(MAX_FRAME_SIZE, LEAST_FRAME)) <= LARGEST_FRAME:
        raise H2ConnectionError(
            ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE must be {LEAST_FRAME} to {LARGEST_FRAME}, got {size}"
        )
    if (push := found.get(ENABLE_PUSH, 0)) > 1:
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH must be 0 or 1, got {push}")
    return found


def unpadded(payload: bytes, flags: int) -> bytes:
    """Strips the padding of a DATA or HEADERS payload. Raises H2ConnectionError where it is longer than the frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
