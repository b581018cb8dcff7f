"""One stream of HTTP/2: a request and its answer, as whoever answers sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from workbench.http2 import frames
from workbench.http2.frames import ErrorCode
from workbench.http2.headers import RequestHead

if TYPE_CHECKING:
    from workbench.http2.connection import Connection

STREAM_WINDOW: Final = 1 << 20
"""How much of one stream may be on its way or unread."""

Part: TypeAlias = bytes | memoryview

_LAST: Final = frames.END_HEADERS | frames.END_STREAM


class Stream:
    """One request and its answer. For subclasses, whose hooks are called as things come; none of them may raise.

    A stream ends when its answer has been sent: by `answer` or `end`, or by `reset`. `on_reset` is called where it
    ended in another way, once, and then nothing that is sent goes anywhere.
    """

    __slots__ = (
        "_taken",
        "connection",
        "due",
        "ended",
        "expected",
        "last_block",
        "number",
        "remote_ended",
        "window_in",
        "window_out",
    )

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.ended = False
        """Nothing more goes out, and nothing comes in."""
        self.remote_ended = False
        """The request has come whole."""
        self.window_in = STREAM_WINDOW
        self.window_out = connection.out.initial_window
        self._taken = 0
        self.expected: int | None = None
        """Of the body, what its Content-Length has left."""
        self.due: list[Part] | None = None
        """Of the answer, what waits for the peer's windows; None: nothing."""
        self.last_block: bytes | None = None
        """The block that follows what is due."""

    # What comes

    def on_headers(self, head: RequestHead, ended: bool) -> None:
        """The request's head, which keeps HTTP's rules; `ended`: it has no body."""

    def on_data(self, data: bytes, ended: bool) -> None:
        """Some of the body; `ended`: there is no more. Call `ack_data` for what is no longer kept."""

    def on_reset(self) -> None:
        """The peer reset it or left, or it broke a rule."""

    def on_writable(self) -> None:
        """All that waited for the peer's windows has been sent."""

    # What goes

    @property
    def blocked(self) -> bool:
        """Something waits for the peer's windows."""
        return self.due is not None

    def ack_data(self, size: int) -> None:
        """So many bytes of what was received are no longer kept: as many may come."""
        self._taken += size
        if self._taken * 2 >= STREAM_WINDOW and not self.ended and not self.remote_ended:
            self.window_in += self._taken
            self.connection.out.write(frames.window_update(self.number, self._taken))
            self._taken = 0

    def answer(self, head: bytes, body: bytes, end: bytes) -> None:
        """The whole answer: two blocks, and what lies between them."""
        if self.ended:
            return
        out, size, number = self.connection.out, len(body), self.number
        if size > self.window_out or size > out.window or size > out.max_frame or out.prefix or out.paused:
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
        self.connection.finished(self)

    def send_head(self, block: bytes) -> None:
        if not self.ended:
            self.connection.out.block(self.number, block, 0)

    def send(self, parts: Sequence[Part]) -> None:
        """Some of the answer's body, after its head; what the peer has no room for waits."""
        if self.ended:
            return
        if self.due is None:
            self.due = list(parts)
            self.connection.out.pump(self)
        else:
            self.due.extend(parts)

    def end(self, block: bytes) -> None:
        """The trailers, or a head without a body, behind everything else."""
        if self.ended or self.last_block is not None:
            return
        self.last_block = block
        if self.due is None:
            self.connection.out.pump(self)

    def refuse(self, block: bytes) -> None:
        """Answers a request that should not have been made. Only from `on_headers`; it may end the connection."""
        self.connection.refused()
        self.end(block)

    def reset(self, code: ErrorCode) -> None:
        """End it at once; `on_reset` is not called."""
        if not self.ended:
            self.connection.reset_stream(self, code)
