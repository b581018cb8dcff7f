"""How long a peer may take for what it owes: frames, messages, and reading its answers.

The decisions are made now and then, with the time as an argument, from what the connection shows of itself. So they
cost nothing when a call is served, and are late by the time between two looks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from workbench.http2.frames import ErrorCode, H2ConnectionError
from workbench.http2.send_queue import SendQueue
from workbench.http2.stream import Stream

LEAST_BYTES_PER_S: Final = 256
"""Of a message or an answer under way; slower is as good as nothing."""

READ_WITHIN_S: Final = 1800.0
"""All answers that wait for a peer must be read at a rate at which it would have read them by then."""

LOOK_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """In seconds."""

    settings_s: float = 10.0
    """Until a client's first SETTINGS."""
    frame_s: float = 30.0
    """For a frame, or for a header block of several, from its first byte to its last."""
    message_s: float = 30.0
    """For LEAST_BYTES_PER_S * message_s more bytes of a message that is not whole, or for the rest of it."""
    unread_s: float = 75.0
    """For the same of an answer that the client's windows hold up."""
    idle_s: float = 75.0
    """Without a call, on a connection on which no token was seen."""
    keepalive_s: float = 60.0
    """A client that has been silent for so long is pinged."""
    keepalive_timeout_s: float = 20.0
    """It is disconnected where it stays silent for so long after that."""
    stall_s: float = 60.0
    """What a client may leave unread, without progress, of its last answers."""

    @property
    def look_every_s(self) -> float:
        """The time between two looks at a connection."""
        shortest = min(self.settings_s, self.frame_s, self.message_s, self.unread_s, self.idle_s)
        return min(LOOK_EVERY_S, shortest / 2, self.keepalive_s / 2, self.keepalive_timeout_s / 2)


class Watched(Protocol):
    """What is looked at of a connection, and done to it."""

    out: SendQueue[Stream]
    trusted: bool

    @property
    def open_streams(self) -> Collection[Stream]: ...

    @property
    def last_stream(self) -> int: ...

    @property
    def unfinished_since_s(self) -> float | None:
        """When the frame or header block began of which a part is still to come; None: there is none."""
        ...

    def fail(self, error: H2ConnectionError) -> None: ...

    def stall(self, stream: Stream) -> None:
        """Resets a stream whose answer is not read."""
        ...

    def announce_goaway(self) -> None: ...

    def send_goaway(self) -> None: ...


class Overdue:
    """What one peer is late with."""

    def __init__(self, limits: TimeLimits, now_s: float) -> None:
        self._limits = limits
        self._called_s = now_s
        """When it had a call the last time, as far as was seen."""
        self._last_stream = 0
        self._announced = False
        self._reading = _Progress(now_s)
        """Of all answers together."""
        self._streams: dict[tuple[int, bool], _Progress] = {}
        """(stream, whether its answer waits, and not its message) -> how that goes on."""

    def look(self, connection: Watched, now_s: float, *, reads: bool = True) -> str:
        """Ends what is late. Returns what that was, or "". Not `reads`: this side does not read at present, so that
        nothing more can come."""
        since_s = connection.unfinished_since_s if reads else None
        if since_s is not None and now_s - since_s >= self._limits.frame_s:
            why = f"a frame or a header block did not come whole within {self._limits.frame_s:g} s"
            connection.fail(H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, why))
            return why
        streams = connection.open_streams
        if streams or connection.last_stream != self._last_stream:
            self._last_stream, self._called_s = connection.last_stream, now_s
        if streams:
            return self._look_at_streams(connection, list(streams), now_s, reads)
        self._streams = {}
        if connection.trusted or now_s - self._called_s < self._limits.idle_s:
            return ""
        if self._announced:
            connection.send_goaway()
            return ""
        self._announced = True
        connection.announce_goaway()
        return f"no call came for {self._limits.idle_s:g} s"

    def _look_at_streams(self, connection: Watched, streams: list[Stream], now_s: float, reads: bool) -> str:
        limits, out = self._limits, connection.out
        before, self._streams = self._streams, {}
        why = ""
        waiting = held_up = False
        for stream in streams:
            owed = stream.owed() if reads else None
            if owed is None and stream.due is None:
                continue
            key = (stream.number, owed is None)
            progress = self._streams[key] = before.get(key) or _Progress(now_s)
            if owed is not None:
                if progress.stalled(owed, LEAST_BYTES_PER_S * limits.message_s, now_s, limits.message_s):
                    why = f"a message did not come whole: too little of it came in {limits.message_s:g} s"
                    stream.on_stalled(limits.message_s)
                continue
            waiting = True
            least = max(LEAST_BYTES_PER_S, stream.kept / READ_WITHIN_S) * limits.unread_s
            late = progress.stalled(stream.sent, least, now_s, limits.unread_s)
            if stream.window_out > 0:
                held_up = True  # by the window of all, or by the network
            elif late:
                why = f"an answer was not read: too little of it in {limits.unread_s:g} s"
                connection.stall(stream)
        if not waiting:
            self._reading = _Progress(now_s)
        else:
            least = max(LEAST_BYTES_PER_S, out.kept / READ_WITHIN_S) * limits.unread_s
            if self._reading.stalled(out.sent, least, now_s, limits.unread_s) and held_up:
                why = f"answers were not read: too little of them in {limits.unread_s:g} s"
                connection.fail(H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, why))
        return why


class _Progress:
    """Whether a count grows fast enough."""

    __slots__ = ("_done", "_since_s")

    def __init__(self, now_s: float) -> None:
        self._done = 0
        self._since_s = now_s

    def stalled(self, done: int, least: float, now_s: float, limit_s: float) -> bool:
        """Whether it has not grown by `least` for `limit_s`."""
        if done - self._done >= least:
            self._done, self._since_s = done, now_s
        return now_s - self._since_s >= limit_s
