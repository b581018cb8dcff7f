"""One HTTP/2 stream: a request and its answer. The code that answers requests subclasses `Stream`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from workbench.http2 import frames
from workbench.http2.frames import ErrorCode
from workbench.http2.headers import H2RequestHead
from workbench.http2.send_queue import Part, SendQueue

STREAM_WINDOW: Final = 1 << 20
"""Bytes of one stream's DATA that may be in flight or unread."""

_LAST: Final = frames.END_HEADERS | frames.END_STREAM


class StreamOwner(Protocol):
    """What a stream needs of its connection."""

    @property
    def out(self) -> SendQueue[Stream]: ...

    @property
    def peer(self) -> object:
        """The other end's address, as its socket gives it."""
        ...

    def trust(self, guest: bool = False) -> None: ...

    def stream_sent(self, stream: Stream) -> None: ...

    def charge_refusal(self) -> None: ...

    def reset_stream(self, stream: Stream, code: ErrorCode) -> None: ...


class Stream:
    """One request and its answer. Subclasses override the `on_...` hooks for what is received; no hook may raise.

    A stream ends when its answer has been sent (by `answer` or `end`) or by `reset`. Where it ends otherwise,
    `on_reset` is called once; whatever is sent after that is dropped.
    """

    __slots__ = (
        "_taken",
        "connection",
        "due",
        "ended",
        "expected",
        "kept",
        "last_block",
        "number",
        "remote_ended",
        "sent",
        "window_in",
        "window_out",
    )

    def __init__(self, connection: StreamOwner, number: int) -> None:
        self.connection = connection
        self.number = number
        self.ended = False
        """Nothing more is sent or received."""
        self.remote_ended = False
        """The whole request has been received."""
        self.window_in = STREAM_WINDOW
        self.window_out = connection.out.initial_window
        self._taken = 0
        self.expected: int | None = None
        """Bytes of the body still to come, where the request has a Content-Length."""
        self.due: list[Part] | None = None
        """Parts of the answer that wait for the peer's windows; None where none do."""
        self.last_block: bytes | None = None
        """The trailers, to be sent after what is due."""
        self.kept = 0
        """Bytes of the parts that are due, also of what was sent of one that is not sent whole."""
        self.sent = 0
        """Bytes of DATA that were sent after they had to wait."""

    # Receiving

    def on_headers(self, head: H2RequestHead, ended: bool) -> None:
        """The request's head has been received and is well-formed; `ended`: there is no body."""

    def on_data(self, data: bytes, ended: bool) -> None:
        """Part of the body has been received; `ended`: it is the last part. Call `ack_data` once it is processed."""

    def on_reset(self) -> None:
        """The peer reset the stream, closed the connection, or broke a rule."""

    def on_writable(self) -> None:
        """All that waited for the peer's windows has been sent."""

    def on_full(self) -> None:
        """Its answer is not sent, since the peer has too much to read already. To end the stream is left to this."""
        self.reset(ErrorCode.ENHANCE_YOUR_CALM)

    def owed(self) -> int | None:
        """How many bytes have come of a message that the peer is to go on with; None: it is not the peer's turn."""
        return None

    def on_stalled(self, limit_s: float) -> None:
        """Too little came within `limit_s` of what is `owed`."""

    def on_reconsider(self) -> None:
        """What heads mean has changed, and with it perhaps whether this one may go on."""

    # Sending

    @property
    def blocked(self) -> bool:
        """Whether some of the answer waits for the peer's windows."""
        return self.due is not None

    def ack_data(self, size: int) -> None:
        """Frees `size` bytes of received data, so that as many more may be sent by the peer."""
        self._taken += size
        if self._taken * 2 >= STREAM_WINDOW and not self.ended and not self.remote_ended:
            self.window_in += self._taken
            self.connection.out.write(frames.window_update(self.number, self._taken))
            self._taken = 0

    def answer(self, head: bytes, body: bytes, end: bytes) -> None:
        """Sends a whole answer: head block, body and trailer block, in one write where the windows allow."""
        if self.ended:
            return
        out, size, number = self.connection.out, len(body), self.number
        if size > self.window_out or size > out.window or size > out.max_frame or out.prefix or out.paused:
            if out.is_full(self, size):
                self.on_full()
                return
            self.send_head(head)
            self.send((body,))
            self.end(end)
            return
        out.window -= size
        pack, head_size, end_size = frames.HEAD.pack, len(head), len(end)
        out.write(
            b"".join(
                (
                    pack(head_size >> 8, head_size & 0xFF, frames.HEADERS, frames.END_HEADERS, number),
                    head,
                    pack(size >> 8, size & 0xFF, frames.DATA, 0, number),
                    body,
                    pack(end_size >> 8, end_size & 0xFF, frames.HEADERS, _LAST, number),
                    end,
                )
            )
        )
        self.connection.stream_sent(self)

    def send_head(self, block: bytes) -> None:
        if not self.ended:
            self.connection.out.send_headers(self.number, block, 0)

    def send(self, parts: Sequence[Part]) -> None:
        """Sends some of the body, after the head. What exceeds the peer's windows is kept until they open."""
        if self.ended:
            return
        if self.due is None:
            self.due = list(parts)
            self.connection.out.pump(self)
            parts = self.due or ()
        else:
            self.due.extend(parts)
        if parts:
            self.connection.out.keep(self, sum(map(len, parts)))

    def end(self, block: bytes) -> None:
        """Ends the answer with trailers, or with a head that has no body, after all else is sent."""
        if self.ended or self.last_block is not None:
            return
        self.last_block = block
        if self.due is None:
            self.connection.out.pump(self)

    def refuse(self, block: bytes) -> None:
        """Answers a request that should not have been made. Only from `on_headers`; it may end the connection."""
        self.connection.charge_refusal()
        self.end(block)

    def reset(self, code: ErrorCode) -> None:
        """Ends the stream at once; `on_reset` is not called."""
        if not self.ended:
            self.connection.reset_stream(self, code)

    def on_sent(self) -> None:
        """The send queue has written the last block."""
        self.connection.stream_sent(self)
