"""One connection of HTTP/2 as a server sees it: bytes in, calls of its streams, bytes out. Knows no socket.

What RFC 9113 leaves to a server is decided for safety: whatever a peer can make us keep has a cap, and a peer that
sends much that leads to nothing is told to calm down, and left (`patience`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from struct import unpack_from
from typing import Final

from workbench.http2 import frames
from workbench.http2.abuse_guard import REFUSED, AbuseBudget
from workbench.http2.frames import ErrorCode, H2ConnectionError
from workbench.http2.headers import (
    MAX_BLOCK_BYTES,
    MAX_LIST_BYTES,
    SHRINK_TABLE,
    H2StreamError,
    HeaderReader,
    RequestHead,
    check_request,
    check_trailers,
)
from workbench.http2.send_queue import SendQueue
from workbench.http2.stream import STREAM_WINDOW, Stream

MAX_STREAMS: Final = 1024
"""Open at once on one connection."""

MAX_FRAME: Final = 128 * 1024
"""The longest frame that may come."""

CONNECTION_WINDOW: Final = 1 << 30
"""Of all streams together; each has its own bound, so this one is never to be felt."""

_REMEMBERED_CUT: Final = 1024
"""Streams that were ended here first, of which something may still be on its way."""

FRAMES_A_TURN: Final = 256
"""That are worked off before other connections have their turn."""

_STREAMS_AT_A_TRY: Final = 64
"""Whose windows a peer may move at once for what one frame costs it."""

_BYTES_AT_A_TRY, _FIELDS_AT_A_TRY = 4096, 64
"""Of a header block that has to be read, which takes up to 0.4 us for each byte and 6 us for each field."""

_WELL_FILLED: Final = 1024
"""Bytes of DATA that cost its sender no less than us, also when nobody wants it any more."""

_NOT_HTTP_2: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This port speaks gRPC, which is HTTP/2 from its first byte on.\n"
)

_SETTINGS_ACK: Final = frames.frame(frames.SETTINGS, frames.ACK, 0)


class Connection:
    """`write` takes what goes out, in order, and returns at once; `close` is called when nothing more is to come either
    way. Neither raises, and nor does anything here.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        close: Callable[[], None],
        make_stream: Callable[[Connection, int], Stream],
        clock: Callable[[], float],
    ) -> None:
        """`clock`: seconds, monotonic."""
        self._patience = AbuseBudget(clock)
        self.out = SendQueue(write, self._patience)
        self._write = write
        self._close = close
        self._make_stream = make_stream
        self._reader = HeaderReader()
        self._streams: dict[int, Stream] = {}
        self._cut: OrderedDict[int, None] = OrderedDict()
        self._rest = b""
        self._greeted = False
        self._settled = False
        """The client's first settings have come."""
        self._last = 0
        self._block: list[bytes] | None = None
        """Of a header block that goes on in further frames."""
        self._block_number = self._block_flags = self._block_bytes = 0
        self._window_in = frames.DEFAULT_WINDOW
        self._last_of_all: int | None = None
        """No stream beyond this one is served any more."""
        self.closed = False
        """Nothing more is read; what was written is all."""

    @property
    def settled(self) -> bool:
        return self._settled

    def send_settings(self) -> None:
        """What a server begins with."""
        ours = {
            frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            frames.MAX_FRAME_SIZE: MAX_FRAME,
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
        }
        self._write(frames.settings(ours))
        self._refill()

    def receive(self, data: bytes) -> bool:
        """What came from the peer, in any pieces. True where there was more than is worked off in one turn: call again,
        with nothing or with what has come meanwhile."""
        if self.closed:
            return False
        if self._rest:
            data = self._rest + data
        try:
            at, more = self._read(data)
        except H2ConnectionError as error:
            self._break(error)
            return False
        self._rest = data[at:] if at < len(data) else b""
        return more and not self.closed

    def ping(self) -> None:
        self._write(frames.frame(frames.PING, 0, 0, b"workingg"))

    def send_goaway(self) -> None:
        """Serve what has begun, and nothing more."""
        if self._last_of_all is None and not self.closed:
            self._last_of_all = self._last
            self._write(frames.goaway(self._last, ErrorCode.NO_ERROR))
            self._close_if_over()

    def pause(self) -> None:
        """Hold what streams send, until `resume`."""
        self.out.paused = True

    def resume(self) -> None:
        self.out.resume()

    def connection_lost(self) -> None:
        """The peer is gone."""
        self.closed = True
        self._rest = b""
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            self.out.forget(stream.number)
            stream.ended = True
            stream.due = None
            stream.on_reset()

    # For streams

    def refused(self) -> None:
        """A stream's request was not one to be asked. Broken, when there were too many of them."""
        self._patience.tried(REFUSED)

    def finished(self, stream: Stream) -> None:
        """Its answer has been written."""
        stream.ended = True
        self._patience.worked()
        number = stream.number
        del self._streams[number]
        self.out.forget(number)
        if not stream.remote_ended:  # section 8.1: the rest of the request is of no interest
            self._remember_cut(number)
            self._write(frames.rst_stream(number, ErrorCode.NO_ERROR))
        self._close_if_over()

    def reset_stream(self, stream: Stream, code: ErrorCode) -> None:
        stream.ended = True
        stream.due = stream.last_block = None
        number = stream.number
        self._streams.pop(number, None)
        self.out.forget(number)
        self._remember_cut(number)
        self._write(frames.rst_stream(number, code))
        self._close_if_over()

    # What comes

    def _read(self, data: bytes) -> tuple[int, bool]:
        """How many bytes were whole frames, which were handled; and whether there may be more of them."""
        at, end = 0, len(data)
        if not self._greeted:
            if end < len(frames.PREFACE):
                if not frames.PREFACE.startswith(data):
                    raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "this is no HTTP/2")
                return 0, False
            if not data.startswith(frames.PREFACE):
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "this is no HTTP/2")
            self._greeted = True
            at = len(frames.PREFACE)
        unpack = frames.HEAD.unpack_from
        left = FRAMES_A_TURN
        while end - at >= frames.HEAD_BYTES and not self.closed:
            high, low, kind, flags, number = unpack(data, at)
            size = high << 8 | low
            if size > MAX_FRAME:
                raise H2ConnectionError(
                    ErrorCode.FRAME_SIZE_ERROR, f"a frame has {size} bytes; {MAX_FRAME} is the most"
                )
            if not self._settled and (kind != frames.SETTINGS or flags & frames.ACK):
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is to be SETTINGS")
            stop = at + frames.HEAD_BYTES + size
            if stop > end:
                break
            if not left:
                return at, True
            left -= 1
            payload = data[at + frames.HEAD_BYTES : stop]
            at = stop
            number &= frames.STREAM_BITS
            if self._block is not None and (kind != frames.CONTINUATION or number != self._block_number):
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
            if kind == frames.DATA:
                self._data(number, flags, payload)
            elif kind == frames.HEADERS:
                self._headers(number, flags, payload)
            elif kind == frames.CONTINUATION:
                self._continuation(number, flags, payload)
            else:
                self._patience.tried()
                frames.check_shape(kind, number, size)
                if (handle := _HANDLERS.get(kind)) is not None:
                    handle(self, number, flags, payload)
        return at, False

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if not number & 1:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"a client does not open stream {number}")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(payload, flags)
            if flags & frames.HAS_PRIORITY:
                if len(payload) < 5:
                    raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS have no room for their priority")
                if unpack_from(">L", payload)[0] & frames.STREAM_BITS == number:
                    raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {number} depends on itself")
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._block_came(number, bool(flags & frames.END_STREAM), payload)
        else:
            self._block = [payload]
            self._block_number, self._block_flags, self._block_bytes = number, flags, len(payload)

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "there is no header block to go on with")
        self._block.append(payload)
        self._block_bytes += len(payload)
        if self._block_bytes > MAX_BLOCK_BYTES:  # no more of it is kept
            raise H2ConnectionError(
                ErrorCode.ENHANCE_YOUR_CALM, f"a header block has more than {MAX_BLOCK_BYTES} bytes"
            )
        self._patience.tried()
        if flags & frames.END_HEADERS:
            block, self._block = b"".join(self._block), None
            self._block_came(number, bool(self._block_flags & frames.END_STREAM), block)

    def _block_came(self, number: int, ended: bool, block: bytes) -> None:
        # Every block is read, also of a stream that nobody serves: those after it build upon it.
        head = self._reader.remembered(block)
        if head is None:
            size = len(block)
            if size > MAX_BLOCK_BYTES:
                raise H2ConnectionError(
                    ErrorCode.ENHANCE_YOUR_CALM, f"a header block has more than {MAX_BLOCK_BYTES} bytes"
                )
            head = self._reader.read(block)
            if size > _BYTES_AT_A_TRY or len(head.fields) > _FIELDS_AT_A_TRY:
                self._patience.tried(size // _BYTES_AT_A_TRY + len(head.fields) // _FIELDS_AT_A_TRY)
        if number > self._last:
            self._last = number
            self._begin(number, ended, head)
            return
        stream = self._streams.get(number)
        if stream is None:
            self._patience.tried()
            if number not in self._cut:
                raise H2ConnectionError(ErrorCode.STREAM_CLOSED, f"stream {number} is over")
        elif stream.remote_ended:
            self._fail(stream, ErrorCode.STREAM_CLOSED)
        else:
            try:
                check_trailers(head)
                if not ended or stream.expected:
                    raise H2StreamError("the body does not end with its trailers, or sooner than it was to")
            except H2StreamError:
                self._fail(stream, ErrorCode.PROTOCOL_ERROR)
                return
            stream.remote_ended = True
            stream.on_data(b"", True)

    def _begin(self, number: int, ended: bool, head: RequestHead) -> None:
        if self._last_of_all is not None or len(self._streams) >= MAX_STREAMS:
            self._refuse(number, ErrorCode.REFUSED_STREAM)
            return
        try:
            if not head.request:
                check_request(head)
            if ended and head.length:
                raise H2StreamError("the body ends sooner than it was to")
        except H2StreamError as error:
            self._refuse(number, error.code)
            return
        stream = self._streams[number] = self._make_stream(self, number)
        stream.remote_ended = ended
        stream.expected = head.length
        stream.on_headers(head, ended)

    def _refuse(self, number: int, code: ErrorCode) -> None:
        """It never becomes a stream."""
        self._patience.tried()
        self._remember_cut(number)
        self._write(frames.rst_stream(number, code))

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._window_in -= size
        if self._window_in < 0:
            raise H2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more came than the connection's window allows")
        if self._window_in * 2 < CONNECTION_WINDOW:
            self._refill()
        stream = self._streams.get(number)
        if stream is None:
            if number > self._last or not number & 1:
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {number}, which was never opened")
            # What was on its way when the stream was refused is as much as its window, and no fault of the client's.
            if size < _WELL_FILLED or number not in self._cut:
                self._patience.tried()
            if number not in self._cut:
                self._remember_cut(number)
                self._write(frames.rst_stream(number, ErrorCode.STREAM_CLOSED))
            return
        if stream.remote_ended:
            self._fail(stream, ErrorCode.STREAM_CLOSED)
            return
        if size > stream.window_in:
            self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        stream.window_in -= size
        ended = bool(flags & frames.END_STREAM)
        if flags & frames.PADDED:
            payload = frames.unpadded(payload, flags)
            stream.ack_data(size - len(payload))
        if stream.expected is not None:
            stream.expected -= len(payload)
            if stream.expected < 0 or (ended and stream.expected):
                self._fail(stream, ErrorCode.PROTOCOL_ERROR)
                return
        if ended:
            stream.remote_ended = True
        elif not payload:
            self._patience.tried()
            return
        stream.on_data(payload, ended)

    def _priority(self, number: int, flags: int, payload: bytes) -> None:
        if unpack_from(">L", payload)[0] & frames.STREAM_BITS == number:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {number} depends on itself")

    def _rst_stream(self, number: int, flags: int, payload: bytes) -> None:
        self._never_idle(number, "RST_STREAM")
        stream = self._streams.pop(number, None)
        if stream is not None:
            self.out.forget(number)
            stream.ended = True
            stream.due = stream.last_block = None
            stream.on_reset()
            self._close_if_over()

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that only confirm are empty")
            return
        if len(payload) % frames.SETTING.size:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS have 6 bytes each")
        self._settled = True
        waiting: list[Stream] = []
        # Of those that come twice the last holds: nothing lies between them that the first could be for.
        for name, value in dict(frames.SETTING.iter_unpack(payload)).items():
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise H2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window is larger than any may be")
                self._patience.tried(len(self._streams) // _STREAMS_AT_A_TRY)
                more, self.out.initial_window = value - self.out.initial_window, value
                for stream in self._streams.values():
                    stream.window_out += more
                    if stream.window_out > frames.LARGEST_WINDOW:
                        raise H2ConnectionError(
                            ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is larger than any may be"
                        )
                waiting = [stream for stream in self._streams.values() if stream.due is not None]
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.LEAST_FRAME <= value <= frames.LARGEST_FRAME:
                    raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes do not exist")
                self.out.max_frame = min(value, MAX_FRAME)
            elif name == frames.ENABLE_PUSH:
                if value > 1:
                    raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            elif name == frames.HEADER_TABLE_SIZE:
                self.out.prefix = SHRINK_TABLE
        # The peer keeps to its settings from when it sees this: nothing that needs them may go before it.
        self._write(_SETTINGS_ACK)
        for stream in waiting:
            self.out.widened(stream)

    def _push_promise(self, number: int, flags: int, payload: bytes) -> None:
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client does not push")

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _window_update(self, number: int, flags: int, payload: bytes) -> None:
        more = frames.UINT32.unpack(payload)[0] & frames.STREAM_BITS
        if number:
            self._never_idle(number, "WINDOW_UPDATE")
            stream = self._streams.get(number)
            if stream is None:
                return
            if not more:
                self._fail(stream, ErrorCode.PROTOCOL_ERROR)
            else:
                stream.window_out += more
                if stream.window_out > frames.LARGEST_WINDOW:
                    self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR)
                else:
                    self.out.widened(stream)
            return
        if not more:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        self.out.widen(more)

    def _never_idle(self, number: int, kind: str) -> None:
        if number > self._last or not number & 1:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"{kind} on stream {number}, which was never opened")

    # How it ends

    def _fail(self, stream: Stream, code: ErrorCode) -> None:
        """It broke a rule that is its own."""
        self._patience.tried()
        self.reset_stream(stream, code)
        stream.on_reset()

    def _break(self, error: H2ConnectionError) -> None:
        last = self._last if self._last_of_all is None else self._last_of_all  # which is never to grow again
        self._write(frames.goaway(last, error.code, error.why) if self._greeted else _NOT_HTTP_2)
        self.connection_lost()
        self._close()

    def _close_if_over(self) -> None:
        if self._last_of_all is not None and not self._streams and not self.closed:
            self.closed = True
            self._close()

    def _remember_cut(self, number: int) -> None:
        self._cut[number] = None
        if len(self._cut) > _REMEMBERED_CUT:
            self._cut.popitem(last=False)

    def _refill(self) -> None:
        more = CONNECTION_WINDOW - self._window_in
        self._window_in += more
        self._write(frames.window_update(0, more))


_HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    frames.PRIORITY: Connection._priority,
    frames.RST_STREAM: Connection._rst_stream,
    frames.SETTINGS: Connection._settings,
    frames.PUSH_PROMISE: Connection._push_promise,
    frames.PING: Connection._ping,
    frames.WINDOW_UPDATE: Connection._window_update,
}
"""GOAWAY of a client ends nothing here: it closes when it has its answers. Kinds to come are passed over."""
