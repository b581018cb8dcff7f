"""Cuts the received bytes into frames, joins header blocks that span several frames, and hands both on."""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from
from typing import Final, Protocol

from workbench.http2 import frames
from workbench.http2.abuse_guard import AbuseBudget
from workbench.http2.frames import ErrorCode, H2ConnectionError
from workbench.http2.headers import MAX_BLOCK_BYTES

MAX_FRAME: Final = 128 * 1024
"""The longest payload of a frame that is accepted."""

FRAMES_A_TURN: Final = 256
"""Frames handled before other connections get their turn."""

_PRIORITY_BYTES: Final = 5


class FrameHandler(Protocol):
    """Receives the frames of a connection. Each method may raise H2ConnectionError."""

    def on_headers(self, number: int, ended: bool, block: bytes) -> None:
        """A whole header block, without padding and priority."""

    def on_data(self, number: int, flags: int, payload: bytes) -> None:
        """A DATA frame. Padding is still in `payload`, since it counts for the windows."""

    def on_control(self, kind: int, number: int, flags: int, payload: bytes) -> None:
        """Any other frame; those of unknown kind must be ignored."""


class FrameReader:
    """The receiving end of one connection, from the client's preface on."""

    def __init__(self, budget: AbuseBudget, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._budget = budget
        self._clock = clock
        self._rest = b""
        self._rest_since_s = self._block_since_s = 0.0
        self._stopped = False
        self._block: list[bytes] | None = None
        """The parts of an unfinished header block."""
        self._block_number = self._block_flags = self._block_bytes = 0
        self.preface_received = False
        self.settings_received = False

    def stop(self) -> None:
        """Ignores whatever else has come or will come."""
        self._stopped = True
        self._rest = b""

    @property
    def unfinished_since_s(self) -> float | None:
        """When the header block began of which a part is still to come, or else the frame; None: there is none."""
        if self._block is not None:
            return self._block_since_s
        return self._rest_since_s if self._rest else None

    def restart_time(self) -> None:
        """Begins the time of what is unfinished again: this side did not read for a while."""
        self._rest_since_s = self._block_since_s = self._clock()

    def read(self, data: bytes, handler: FrameHandler) -> bool:
        """Handles received bytes, in pieces of any size. Raises H2ConnectionError.

        Returns True where more has come than is handled in one turn. Call it again then, with b"" or with new bytes.
        """
        goes_on = bool(self._rest)
        if goes_on:
            data = self._rest + data
        at, end = 0, len(data)
        if not self.preface_received:
            if not data.startswith(frames.PREFACE):
                if not frames.PREFACE.startswith(data):
                    raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the connection preface is missing")
                self._rest = data
                return False
            self.preface_received = True
            at = len(frames.PREFACE)
        unpack = frames.HEAD.unpack_from
        left = FRAMES_A_TURN
        more = False
        while end - at >= frames.HEAD_BYTES and not self._stopped:
            high, low, kind, flags, number = unpack(data, at)
            size = high << 8 | low
            if size > MAX_FRAME:
                raise H2ConnectionError(
                    ErrorCode.FRAME_SIZE_ERROR, f"a frame may have at most {MAX_FRAME} bytes, got {size}"
                )
            if not self.settings_received and (kind != frames.SETTINGS or flags & frames.ACK):
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            stop = at + frames.HEAD_BYTES + size
            if stop > end:
                break
            if not left:
                more = True
                break
            left -= 1
            payload = data[at + frames.HEAD_BYTES : stop]
            at = stop
            number &= frames.STREAM_BITS
            if self._block is not None and (kind != frames.CONTINUATION or number != self._block_number):
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted by another frame")
            if kind == frames.DATA:
                handler.on_data(number, flags, payload)
            elif kind == frames.HEADERS:
                self._read_headers(number, flags, payload, handler)
            elif kind == frames.CONTINUATION:
                self._read_continuation(number, flags, payload, handler)
            else:
                self._budget.spend()
                frames.check_shape(kind, number, size)
                handler.on_control(kind, number, flags, payload)
                self.settings_received = True
        if self._stopped:
            return False
        if at >= end:
            self._rest = b""
            return False
        if at or not goes_on:
            self._rest_since_s = self._clock()
        self._rest = data[at:]
        return more

    def _read_headers(self, number: int, flags: int, payload: bytes, handler: FrameHandler) -> None:
        if not number & 1:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"a client must not open stream {number}")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(payload, flags)
            if flags & frames.HAS_PRIORITY:
                if len(payload) < _PRIORITY_BYTES:
                    raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS are too short for their priority")
                check_priority(number, payload)
                payload = payload[_PRIORITY_BYTES:]
        if flags & frames.END_HEADERS:
            handler.on_headers(number, bool(flags & frames.END_STREAM), payload)
        else:
            self._block = [payload]
            self._block_since_s = self._clock()
            self._block_number, self._block_flags, self._block_bytes = number, flags, len(payload)

    def _read_continuation(self, number: int, flags: int, payload: bytes, handler: FrameHandler) -> None:
        if self._block is None:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a preceding HEADERS frame")
        self._block.append(payload)
        self._block_bytes += len(payload)
        check_block_size(self._block_bytes)  # before more of it is kept
        self._budget.spend()
        if flags & frames.END_HEADERS:
            block, self._block = b"".join(self._block), None
            handler.on_headers(number, bool(self._block_flags & frames.END_STREAM), block)


def check_block_size(size: int) -> None:
    """Raises H2ConnectionError for a compressed header block that is too long."""
    if size > MAX_BLOCK_BYTES:
        raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, f"a header block may have at most {MAX_BLOCK_BYTES} bytes")


def check_priority(number: int, payload: bytes) -> None:
    """Raises H2ConnectionError where a stream depends on itself. Priorities are otherwise ignored."""
    if unpack_from(">L", payload)[0] & frames.STREAM_BITS == number:
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {number} must not depend on itself")
