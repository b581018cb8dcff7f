"""What clients have not read of their answers: it counts with the bodies, and who reads nothing makes room."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from workbench.server.gate.in_flight import InFlightBytes
from workbench.telemetry.rate_limiter import RateLimiter

STALLED_S: Final = 5.0
"""Without reading anything; then a client is the first to make room where there is none. Connections look at theirs
more often than that."""

log = logging.getLogger("workbench.server")


class Reader(Protocol):
    """A connection with answers that are not read."""

    def reset(self) -> None:
        """Give up what it has not read, at once."""
        ...


class UnreadAnswers:
    """Counts, among the bytes of `bodies`, those of answers that wait to be read, of HTTP and gRPC connections.

    An answer exists before it is known that its client does not read it, so it is counted and never refused. Where it
    is too much, or a body finds no room, the clients that have read nothing for STALLED_S are reset, the longest ones
    first. Belongs to the event loop.
    """

    def __init__(self, bodies: InFlightBytes, now: Callable[[], float] = time.monotonic) -> None:
        self._bodies = bodies
        self._now = now
        self._readers: dict[Reader, tuple[int, float]] = {}
        """(bytes, when it last read something), the longest first."""
        self._lines = RateLimiter(0.1, 1)
        self._resets = 0
        """Since the last line in the log."""
        bodies.make_room = self._make_room

    def count(self, reader: Reader, size: int, *, reads: bool = False) -> None:
        """`reader` has `size` bytes to read: said when it falls behind, every few seconds until it has read them, and
        with 0 then, or when its connection is lost. `reads`: it has read of them, though all are still held."""
        before, read_at = self._readers.get(reader, (0, 0.0))
        if reads or size < before or not before:
            self._readers.pop(reader, None)
            read_at = self._now()
        if size:
            self._readers[reader] = size, read_at
        self._bodies.held += size - before
        if size > before and self._bodies.held > self._bodies.most:
            self._make_room(0)

    def _make_room(self, wanted: int) -> None:
        stalled_at = self._now() - STALLED_S
        for reader, (size, read_at) in list(self._readers.items()):
            if read_at > stalled_at or self._bodies.held + wanted <= self._bodies.most:
                break
            del self._readers[reader]
            self._bodies.held -= size
            self._resets += 1
            reader.reset()
        if self._resets and self._lines.take(time.monotonic()):
            log.warning(
                "%d connections were reset whose clients did not read their answers: what is held of bodies and "
                "answers may have %d bytes (max_body_bytes_in_flight)",
                self._resets,
                self._bodies.most,
            )
            self._resets = 0
