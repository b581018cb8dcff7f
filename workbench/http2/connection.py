"""One HTTP/2 connection as a server sees it: received bytes become calls on its streams. It knows no socket.

Where RFC 9113 leaves a choice, the safe one is made: everything that a peer can make this side keep has a cap, and a
peer that sends too many useless frames is disconnected (`abuse_guard`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, ValuesView
from time import thread_time
from typing import Final

from workbench.http2 import frames
from workbench.http2.abuse_guard import COST_PER_CPU_S, REFUSAL_COST, AbuseBudget
from workbench.http2.frame_reader import MAX_FRAME, FrameReader, check_block_size, check_priority
from workbench.http2.frames import ErrorCode, H2ConnectionError
from workbench.http2.headers import (
    MAX_LIST_BYTES,
    SHRINK_TABLE,
    H2RequestHead,
    H2StreamError,
    HeaderReader,
    check_request,
    check_trailers,
)
from workbench.http2.send_queue import SendQueue
from workbench.http2.stream import STREAM_WINDOW, Stream

MAX_STREAMS: Final = 1024
"""Streams that may be open at once on one connection."""

CONNECTION_WINDOW: Final = 1 << 30
"""Bytes of all streams together. So large that only the windows of the streams ever limit a client."""

_MAX_RESET_REMEMBERED: Final = 1024
"""Streams ended by this side for which frames may still be in flight."""

_STREAMS_PER_COST: Final = 64
"""Streams whose windows a peer may move with one frame at the cost of one."""

_WELL_FILLED: Final = 1024
"""Bytes from which on an unwanted DATA frame costs its sender no less than it costs this side."""

_HTTP_1_ANSWER: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This port serves gRPC, which needs HTTP/2 from the first byte on.\n"
)

_SEEN: Final = b"goaway.."
"""The PING after an announced GOAWAY: its acknowledgement says that the peer has read both."""

_SETTINGS_ACK: Final = frames.frame(frames.SETTINGS, frames.ACK, 0)


class H2Connection:
    """Handles a peer's frames (as a `FrameHandler`) and owns its streams (as a `StreamOwner`).

    `write` takes outgoing bytes, in order, and returns at once. `close` is called when nothing more will be read or
    written. Neither may raise. Of the methods, only those of `FrameHandler` and `charge_refusal` raise; `receive`
    catches it.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        close: Callable[[], None],
        make_stream: Callable[[H2Connection, int], Stream],
        clock: Callable[[], float],
        stranger_streams: int = MAX_STREAMS,
        charge_address: Callable[[float], bool] | None = None,
    ) -> None:
        """`clock`: seconds, monotonic. `stranger_streams`: that may be open at once until `trust`. `charge_address`: as
        of `AbuseBudget`."""
        self._budget = AbuseBudget(clock, charge_address)
        self.out: SendQueue[Stream] = SendQueue(write, self._budget)
        self._write = write
        self._close = close
        self._make_stream = make_stream
        self._frames = FrameReader(self._budget, clock)
        self._headers = HeaderReader()
        self._streams: dict[int, Stream] = {}
        self._reset: OrderedDict[int, None] = OrderedDict()
        self._last_stream = 0
        self._window_in = frames.DEFAULT_WINDOW
        self._goaway_last: int | None = None
        """The last stream that is still served, once GOAWAY has been sent."""
        self.peer: object = None
        """The other end's address, as its socket gives it; whoever has the socket sets it."""
        self.closed = False
        """Nothing more is read or written."""
        self.abused = False
        """It was ended for what its peer did too often, too large or too slowly."""
        self.why = ""
        """It failed for this."""
        self.trusted = False
        """A call came on it with a token."""
        self.on_trust: Callable[[bool], None] = _nothing_told
        """Told that, each time anew, and whether it is a guest."""
        self.on_distrust: Callable[[], None] = _nothing
        """Told that the token may be valid no longer."""
        self._max_streams = stranger_streams

    @property
    def settings_received(self) -> bool:
        return self._frames.settings_received

    def send_settings(self) -> None:
        """Sends the server's preface."""
        ours = {
            frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            frames.MAX_FRAME_SIZE: MAX_FRAME,
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
        }
        self._write(frames.settings(ours))
        self._refill()

    def receive(self, data: bytes) -> bool:
        """Handles received bytes, in pieces of any size.

        Returns True where more has come than is handled in one turn. Call it again then, with b"" or with new bytes.
        """
        if self.closed:
            return False
        try:
            return self._frames.read(data, self)
        except H2ConnectionError as error:
            self.fail(error)
            return False

    @property
    def open_streams(self) -> ValuesView[Stream]:
        return self._streams.values()

    @property
    def last_stream(self) -> int:
        """The highest number of a stream that the peer has opened; 0: none."""
        return self._last_stream

    @property
    def unfinished_since_s(self) -> float | None:
        """When the frame or header block began of which a part is still to come; None: there is none."""
        return self._frames.unfinished_since_s

    def restart_time(self) -> None:
        """Begins the time of what is unfinished again: this side did not read for a while."""
        self._frames.restart_time()

    def ping(self) -> None:
        self._write(frames.frame(frames.PING, 0, 0, b"workingg"))

    def announce_goaway(self) -> None:
        """Tells the peer to open no more streams, and serves those on their way. Once the peer has seen that, or has
        been sent `send_goaway`, the end begins."""
        if self._goaway_last is None and not self.closed:
            self._write(frames.goaway(frames.STREAM_BITS, ErrorCode.NO_ERROR))
            self._write(frames.frame(frames.PING, 0, 0, _SEEN))

    @property
    def leaving(self) -> bool:
        """No new stream is served."""
        return self.closed or self._goaway_last is not None

    def send_goaway(self) -> None:
        """Refuses new streams, and closes once those that have begun are answered."""
        if self._goaway_last is None and not self.closed:
            self._goaway_last = self._last_stream
            self._write(frames.goaway(self._last_stream, ErrorCode.NO_ERROR))
            self._close_if_done()

    def pause(self) -> None:
        """Holds back DATA until `resume`."""
        self.out.paused = True

    def resume(self) -> None:
        self.out.resume()

    def connection_lost(self) -> None:
        """Ends all streams: the peer has gone."""
        self._stop_reading()
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            self.out.remove(stream)
            stream.ended = True
            stream.due = None
            stream.on_reset()

    # For streams

    def trust(self, guest: bool = False) -> None:
        """A call came with a token; `guest`: with one that somebody else was given. To say so again does nothing."""
        self.trusted = True
        self._max_streams = MAX_STREAMS
        self._budget.trust()
        self.on_trust(guest)

    def charge_refusal(self) -> None:
        """Charges the peer for a refused request, and ends the connection where there were too many."""
        self._budget.spend(REFUSAL_COST)

    def stream_sent(self, stream: Stream) -> None:
        """Ends a stream whose answer has been written."""
        stream.ended = True
        self._budget.earn()
        number = stream.number
        del self._streams[number]
        if not stream.remote_ended:  # section 8.1: the rest of the request is not needed
            self._remember_reset(number)
            self._write(frames.rst_stream(number, ErrorCode.NO_ERROR))
        self._close_if_done()

    def reset_stream(self, stream: Stream, code: ErrorCode) -> None:
        stream.ended = True
        stream.due = stream.last_block = None
        number = stream.number
        self._streams.pop(number, None)
        self.out.remove(stream)
        self._remember_reset(number)
        self._write(frames.rst_stream(number, code))
        self._close_if_done()

    def reconsider(self) -> None:
        """Derives anew what heads mean, those under way included, and whether a call comes with a token."""
        if self.trusted:
            self.trusted = False
            self.on_distrust()
        self._headers.forget()
        for stream in list(self._streams.values()):
            stream.on_reconsider()

    # Frames received

    def on_headers(self, number: int, ended: bool, block: bytes) -> None:
        # Every block is decoded, even for a stream that is not served: later blocks depend on the table it builds.
        head = self._headers.cached(block)
        if head is None:
            check_block_size(len(block))
            began_s = thread_time()
            try:
                head = self._headers.read(block)
            finally:
                self._budget.spend((thread_time() - began_s) * COST_PER_CPU_S)
        if number > self._last_stream:
            self._last_stream = number
            self._begin(number, ended, head)
            return
        stream = self._streams.get(number)
        if stream is None:
            self._budget.spend()
            if number not in self._reset:
                raise H2ConnectionError(ErrorCode.STREAM_CLOSED, f"stream {number} has ended")
        elif stream.remote_ended:
            self._fail_stream(stream, ErrorCode.STREAM_CLOSED)
        else:
            try:
                check_trailers(head)
                if not ended or stream.expected:
                    raise H2StreamError("trailers must end a body that is as long as its content-length")
            except H2StreamError:
                self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
                return
            stream.remote_ended = True
            stream.on_data(b"", True)

    def _begin(self, number: int, ended: bool, head: H2RequestHead) -> None:
        if self._goaway_last is not None or len(self._streams) >= self._max_streams:
            self._refuse(number, ErrorCode.REFUSED_STREAM)
            return
        try:
            if not head.request:
                check_request(head)
            if ended and head.length:
                raise H2StreamError("the body is shorter than its content-length")
        except H2StreamError as error:
            self._refuse(number, error.code)
            return
        stream = self._streams[number] = self._make_stream(self, number)
        stream.remote_ended = ended
        stream.expected = head.length
        stream.on_headers(head, ended)

    def _refuse(self, number: int, code: ErrorCode) -> None:
        """Resets a stream that never began."""
        self._budget.spend()
        self._remember_reset(number)
        self._write(frames.rst_stream(number, code))

    def on_data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._window_in -= size
        if self._window_in < 0:
            raise H2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "DATA exceeds the connection's window")
        if self._window_in * 2 < CONNECTION_WINDOW:
            self._refill()
        stream = self._streams.get(number)
        if stream is None:
            if number > self._last_stream or not number & 1:
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {number}, which was never opened")
            # A client may fill the window of a stream before it learns that the stream was refused.
            if size < _WELL_FILLED or number not in self._reset:
                self._budget.spend()
            if number not in self._reset:
                self._remember_reset(number)
                self._write(frames.rst_stream(number, ErrorCode.STREAM_CLOSED))
            return
        if stream.remote_ended:
            self._fail_stream(stream, ErrorCode.STREAM_CLOSED)
            return
        if size > stream.window_in:
            self._fail_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        stream.window_in -= size
        ended = bool(flags & frames.END_STREAM)
        if flags & frames.PADDED:
            payload = frames.unpadded(payload, flags)
            stream.ack_data(size - len(payload))
        if stream.expected is not None:
            stream.expected -= len(payload)
            if stream.expected < 0 or (ended and stream.expected):
                self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
                return
        if ended:
            stream.remote_ended = True
        elif not payload:
            self._budget.spend()
            return
        stream.on_data(payload, ended)

    def on_control(self, kind: int, number: int, flags: int, payload: bytes) -> None:
        # GOAWAY needs no handler: the client closes when it has its answers. Unknown kinds are ignored.
        if (handle := _HANDLERS.get(kind)) is not None:
            handle(self, number, flags, payload)

    def _on_priority(self, number: int, flags: int, payload: bytes) -> None:
        check_priority(number, payload)

    def _on_rst_stream(self, number: int, flags: int, payload: bytes) -> None:
        self._check_opened(number, "RST_STREAM")
        stream = self._streams.pop(number, None)
        if stream is not None:
            self.out.remove(stream)
            stream.ended = True
            stream.due = stream.last_block = None
            stream.on_reset()
            self._close_if_done()

    def _on_settings(self, number: int, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement must be empty")
            return
        values = frames.parse_settings(payload)
        waiting: list[Stream] = []
        if (window := values.get(frames.INITIAL_WINDOW_SIZE)) is not None:
            self._budget.spend(len(self._streams) // _STREAMS_PER_COST)
            more, self.out.initial_window = window - self.out.initial_window, window
            for stream in self._streams.values():
                stream.window_out += more
                frames.check_window(stream.window_out)
            waiting = [stream for stream in self._streams.values() if stream.due is not None]
        if (size := values.get(frames.MAX_FRAME_SIZE)) is not None:
            self.out.max_frame = min(size, MAX_FRAME)
        if frames.HEADER_TABLE_SIZE in values:
            self.out.prefix = SHRINK_TABLE
        # The peer applies its settings once it sees this, so nothing that relies on them may be sent before.
        self._write(_SETTINGS_ACK)
        for stream in waiting:
            self.out.stream_window_opened(stream)

    def _on_push_promise(self, number: int, flags: int, payload: bytes) -> None:
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client must not push")

    def _on_ping(self, number: int, flags: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == _SEEN:
            self.send_goaway()

    def _on_window_update(self, number: int, flags: int, payload: bytes) -> None:
        more = frames.UINT32.unpack(payload)[0] & frames.STREAM_BITS
        if number:
            self._check_opened(number, "WINDOW_UPDATE")
            stream = self._streams.get(number)
            if stream is None:
                return
            if not more:
                self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
            else:
                stream.window_out += more
                if stream.window_out > frames.LARGEST_WINDOW:
                    self._fail_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
                else:
                    self.out.stream_window_opened(stream)
            return
        if not more:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE must not be 0")
        self.out.open_window(more)

    def _check_opened(self, number: int, kind: str) -> None:
        if number > self._last_stream or not number & 1:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"{kind} on stream {number}, which was never opened")

    # Endings

    def _fail_stream(self, stream: Stream, code: ErrorCode) -> None:
        """Resets a stream that violated the protocol."""
        self._budget.spend()
        self.reset_stream(stream, code)
        stream.on_reset()

    def stall(self, stream: Stream) -> None:
        """Resets a stream whose answer the peer does not read."""
        self.reset_stream(stream, ErrorCode.CANCEL)
        stream.on_reset()

    def fail(self, error: H2ConnectionError) -> None:
        """Ends the connection, and says why."""
        if self.closed:
            return
        # A second GOAWAY must not name a later stream than the first.
        last = self._last_stream if self._goaway_last is None else self._goaway_last
        self.abused = error.code == ErrorCode.ENHANCE_YOUR_CALM
        self.why = error.why
        http_2 = self._frames.preface_received
        self._write(frames.goaway(last, error.code, error.why) if http_2 else _HTTP_1_ANSWER)
        self.connection_lost()
        self._close()

    def _close_if_done(self) -> None:
        if self._goaway_last is not None and not self._streams and not self.closed:
            self._stop_reading()
            self._close()

    def _stop_reading(self) -> None:
        self.closed = True
        self._frames.stop()

    def _remember_reset(self, number: int) -> None:
        self._reset[number] = None
        if len(self._reset) > _MAX_RESET_REMEMBERED:
            self._reset.popitem(last=False)

    def _refill(self) -> None:
        more = CONNECTION_WINDOW - self._window_in
        self._window_in += more
        self._write(frames.window_update(0, more))


def _nothing() -> None: ...


def _nothing_told(guest: bool) -> None: ...


_HANDLERS: Final[dict[int, Callable[[H2Connection, int, int, bytes], None]]] = {
    frames.PRIORITY: H2Connection._on_priority,
    frames.RST_STREAM: H2Connection._on_rst_stream,
    frames.SETTINGS: H2Connection._on_settings,
    frames.PUSH_PROMISE: H2Connection._on_push_promise,
    frames.PING: H2Connection._on_ping,
    frames.WINDOW_UPDATE: H2Connection._on_window_update,
}
