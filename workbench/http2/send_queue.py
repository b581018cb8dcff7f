"""What goes out of one connection: header blocks at once, DATA as far as the peer's windows reach, streams in turn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from workbench.http2 import frames
from workbench.http2.abuse_guard import AbuseBudget
from workbench.http2.frames import ErrorCode, H2ConnectionError
from workbench.http2.stream import Stream

FRAMES_AT_ONCE: Final = 16
"""That one stream sends before the next one's turn."""

_NO_END: Final = 1 << 30


class SendQueue:
    """`write` takes what goes out, in order, and returns at once. Each answer, and each frame of one, is to the peer's
    credit with `patience`."""

    def __init__(self, write: Callable[[bytes], None], patience: AbuseBudget) -> None:
        self.write = write
        self._patience = patience
        self.window = frames.DEFAULT_WINDOW
        """Bytes of DATA that the peer has room for, of all streams together."""
        self.initial_window = frames.DEFAULT_WINDOW
        """Of each stream that begins."""
        self.max_frame = frames.LEAST_FRAME
        self.prefix = b""
        """What the next header block has to begin with."""
        self.paused = False
        """`write` has enough for now; DATA is held."""
        self._blocked: OrderedDict[int, Stream] = OrderedDict()
        """Those that wait for `window`, in turn."""

    def block(self, number: int, block: bytes, flags: int) -> None:
        block, self.prefix = self.prefix + block, b""
        most = self.max_frame
        if len(block) <= most:
            self.write(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, number, block))
            return
        self.write(frames.frame(frames.HEADERS, flags, number, block[:most]))
        for at in range(most, len(block), most):
            last = frames.END_HEADERS if at + most >= len(block) else 0
            self.write(frames.frame(frames.CONTINUATION, last, number, block[at : at + most]))

    def pump(self, stream: Stream, most_frames: int = _NO_END) -> None:
        """Send what is due of it, as far as the windows reach."""
        due = stream.due
        if due is not None:
            most = self.max_frame
            number = stream.number
            at = 0
            while at < len(due):
                part = due[at]
                room = min(stream.window_out, self.window, most)
                if part and (room <= 0 or most_frames <= 0 or self.paused):
                    break
                most_frames -= 1
                size = len(part)
                if size <= room:
                    at += 1
                else:
                    due[at] = memoryview(part)[room:]
                    part, size = memoryview(part)[:room], room
                if not size:
                    continue
                stream.window_out -= size
                self.window -= size
                self._patience.worked()
                self.write(frames.frame_head(size, frames.DATA, 0, number) + part)
            del due[:at]
            if due:
                if stream.window_out > 0:
                    self._blocked[number] = stream
                return
            stream.due = None
        if stream.last_block is not None:
            self.block(stream.number, stream.last_block, frames.END_STREAM)
            stream.connection.finished(stream)
        elif due is not None:
            stream.on_writable()

    def widened(self, stream: Stream) -> None:
        """Its own window may have become wider."""
        if stream.due is not None and stream.window_out > 0 and stream.number not in self._blocked:
            self.pump(stream)

    def widen(self, more: int) -> None:
        """The peer has room for so many bytes more. Broken."""
        self.window += more
        if self.window > frames.LARGEST_WINDOW:
            raise H2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is larger than any may be")
        self._pump_blocked()

    def resume(self) -> None:
        self.paused = False
        self._pump_blocked()

    def forget(self, number: int) -> None:
        """The stream is over."""
        self._blocked.pop(number, None)

    def _pump_blocked(self) -> None:
        while self._blocked and self.window > 0 and not self.paused:
            _, stream = self._blocked.popitem(last=False)
            self.pump(stream, FRAMES_AT_ONCE)
