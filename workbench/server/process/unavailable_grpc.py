"""Answers gRPC calls with UNAVAILABLE while there is no worker, with as much of HTTP/2 as that takes. Light."""

from __future__ import annotations

import struct

from workbench.server.process.unavailable_responder import WITHOUT_REASON

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_BYTES = 16_384

MAX_FRAMES = 1000
"""Of one conversation, some milliseconds of the keeper; then the client is told to go, as by `farewell`."""

_HEADERS, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0x1, 0x4, 0x6, 0x7, 0x9
_ACK, _END_STREAM, _END_HEADERS = 0x1, 0x1, 0x4


class GrpcConversation:
    """Answers each call with its status alone, until `farewell` sends the client elsewhere (GOAWAY).

    Header blocks are not decoded: every call gets the same answer, so HPACK's state does not matter. The reason is not
    told, since it may quote the log and the token is not looked at.
    """

    greeting: bytes

    def __init__(self) -> None:
        self.greeting = _frame(_SETTINGS, 0, 0, b"")
        self.answered = False
        self._received = b""
        self._expected = PREFACE
        self._frames = 0
        self._last = 0

    def received(self, data: bytes) -> bytes:
        self._received += data
        if self._expected:
            begun = self._received[: len(PREFACE)]
            if not PREFACE.startswith(begun):
                self.answered = True  # whatever speaks here, it is not HTTP/2
                return b""
            if len(begun) < len(PREFACE):
                return b""
            self._received, self._expected = self._received[len(PREFACE) :], b""
        said = bytearray()
        content, at = self._received, 0
        while len(content) - at >= 9:
            high, low, kind, flags, stream = struct.unpack_from("!BHBBI", content, at)
            length = high << 16 | low
            if length > MAX_FRAME_BYTES:
                self.answered = True
                break
            if len(content) - at < 9 + length:
                break
            if self._frames == MAX_FRAMES:
                said += self.farewell()
                break
            self._frames += 1
            payload = content[at + 9 : at + 9 + length]
            at += 9 + length
            if kind == _SETTINGS and not flags & _ACK:
                said += _frame(_SETTINGS, _ACK, 0, b"")
            elif kind == _PING and not flags & _ACK and length == 8:
                said += _frame(_PING, _ACK, 0, payload)
            elif kind in (_HEADERS, _CONTINUATION) and flags & _END_HEADERS:
                self._last = stream & 0x7FFFFFFF
                said += _frame(_HEADERS, _END_STREAM | _END_HEADERS, self._last, _UNAVAILABLE)
        self._received = content[at:] if not self.answered else b""
        return bytes(said)

    def farewell(self) -> bytes:
        """Calls after the last that was answered may be made again elsewhere."""
        if self.answered:
            return b""
        self.answered = True
        return _frame(_GOAWAY, 0, 0, struct.pack("!II", self._last, 0))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field as HPACK writes it without tables and Huffman codes; both texts are shorter than 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


_UNAVAILABLE = b"".join(
    (
        b"\x88",  # :status 200, of HPACK's static table
        _literal(b"content-type", b"application/grpc"),
        _literal(b"grpc-status", b"14"),
        _literal(b"grpc-message", WITHOUT_REASON.encode()),
    )
)
