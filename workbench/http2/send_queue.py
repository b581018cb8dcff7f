"""Sends the answers of one connection: header blocks at once, DATA as far as the peer's windows allow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from workbench.http2 import frames
from workbench.http2.abuse_guard import AbuseBudget

FRAMES_AT_ONCE: Final = 16
"""DATA frames that one stream sends before the next waiting stream gets its turn."""

_NO_LIMIT: Final = 1 << 30
_NO_BOUND: Final = 1 << 62

Part: TypeAlias = bytes | memoryview


class Sender(Protocol):
    """What the queue needs of a stream."""

    number: int
    window_out: int
    due: list[Part] | None
    last_block: bytes | None
    kept: int
    sent: int

    def on_writable(self) -> None: ...

    def on_sent(self) -> None: ...


S = TypeVar("S", bound=Sender)


class SendQueue(Generic[S]):
    """Streams that wait for the connection's window send in turn. Each DATA frame earns the peer credit."""

    def __init__(self, write: Callable[[bytes], None], budget: AbuseBudget) -> None:
        """`write` takes the bytes in order and returns at once."""
        self.write = write
        self._budget = budget
        self.window = frames.DEFAULT_WINDOW
        """Bytes of DATA that the peer accepts on all streams together."""
        self.initial_window = frames.DEFAULT_WINDOW
        """Bytes of DATA that the peer accepts on a new stream."""
        self.max_frame = frames.LEAST_FRAME
        self.prefix = b""
        """Bytes that must begin the next header block."""
        self.paused = False
        """The transport's buffer is full, so DATA is held back."""
        self.kept = 0
        """Bytes of all answers that wait for the peer."""
        self.sent = 0
        """Bytes of DATA that were sent after they had to wait."""
        self.most_kept = _NO_BOUND
        """Bytes that several answers may have together that wait for the peer."""
        self.on_kept: Callable[[], None] = _nothing
        """Told that `kept` has changed."""
        self._blocked: OrderedDict[int, S] = OrderedDict()
        """Streams that wait for `window`, in turn."""

    def send_headers(self, number: int, block: bytes, flags: int) -> None:
        block, self.prefix = self.prefix + block, b""
        most = self.max_frame
        if len(block) <= most:
            self.write(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, number, block))
            return
        self.write(frames.frame(frames.HEADERS, flags, number, block[:most]))
        for at in range(most, len(block), most):
            last = frames.END_HEADERS if at + most >= len(block) else 0
            self.write(frames.frame(frames.CONTINUATION, last, number, block[at : at + most]))

    def pump(self, stream: S, max_frames: int = _NO_LIMIT) -> None:
        """Sends what the stream has due, as far as the windows allow."""
        due = stream.due
        if due is not None:
            most = self.max_frame
            number = stream.number
            at = 0
            while at < len(due):
                part = due[at]
                room = min(stream.window_out, self.window, most)
                if part and (room <= 0 or max_frames <= 0 or self.paused):
                    break
                max_frames -= 1
                size = len(part)
                if size <= room:
                    at += 1
                else:
                    due[at] = memoryview(part)[room:]
                    part, size = memoryview(part)[:room], room
                if not size:
                    continue
                stream.window_out -= size
                stream.sent += size
                self.window -= size
                self.sent += size
                self._budget.earn()
                self.write(frames.frame_head(size, frames.DATA, 0, number) + part)
            del due[:at]
            if due:
                if stream.window_out > 0:
                    self._blocked[number] = stream
                return
            stream.due = None
            self._let_go(stream)
        if stream.last_block is not None:
            self.send_headers(stream.number, stream.last_block, frames.END_STREAM)
            stream.on_sent()
        elif due is not None:
            stream.on_writable()

    def stream_window_opened(self, stream: S) -> None:
        """Resumes a stream whose own window may have become larger."""
        if stream.due is not None and stream.window_out > 0 and stream.number not in self._blocked:
            self.pump(stream)

    def open_window(self, more: int) -> None:
        """Adds to the connection's window. Raises H2ConnectionError where it becomes too large."""
        self.window += more
        frames.check_window(self.window)
        self._pump_blocked()

    def resume(self) -> None:
        self.paused = False
        self._pump_blocked()

    def is_full(self, stream: S, size: int) -> bool:
        """Whether so much of the stream would have to wait, and too much of others waits already."""
        if not self.kept or self.kept + size <= self.most_kept:
            return False
        return self.paused or size > stream.window_out or size > self.window

    def keep(self, stream: S, size: int) -> None:
        """Counts parts that the stream could not send yet, until all that is due is sent."""
        stream.kept += size
        self.kept += size
        self.on_kept()

    def remove(self, stream: S) -> None:
        """Forgets a stream that has ended with something `kept`. There is nothing of others."""
        self._blocked.pop(stream.number, None)
        self._let_go(stream)

    def _let_go(self, stream: S) -> None:
        if stream.kept:
            self.kept -= stream.kept
            stream.kept = 0
            self.on_kept()

    def _pump_blocked(self) -> None:
        while self._blocked and self.window > 0 and not self.paused:
            _, stream = self._blocked.popitem(last=False)
            self.pump(stream, FRAMES_AT_ONCE)


def _nothing() -> None: ...
