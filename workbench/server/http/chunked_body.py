"""A request body in chunks (RFC 9112, section 7.1), read strictly: what is ambiguous is refused."""

from __future__ import annotations

import re
from typing import Final

from workbench.server.http.request_head import MalformedRequest

MAX_LINE_BYTES: Final = 4096
"""The line before a chunk: its size and extensions."""

MAX_TRAILER_BYTES: Final = 64 * 1024

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n\0]*)?\r\n")


class ChunkedBody:
    """Takes the chunks of one body apart. Trailers are read, and passed over."""

    def __init__(self) -> None:
        self.complete = False
        self._left = 0
        """Bytes of the current chunk that are still to come."""
        self._ends_chunk = False
        """The line end after a chunk's data is due."""
        self._trailer_bytes = -1
        """Of the trailers so far; -1: they have not begun."""

    def take(self, data: bytes, at: int) -> tuple[bytes, int]:
        """(bytes of the body, where to go on in `data`); no bytes and `at` again: more has to come first.

        Raises MalformedRequest.
        """
        if self._left:
            piece = data[at : at + self._left]
            self._left -= len(piece)
            self._ends_chunk = not self._left
            return piece, at + len(piece)
        if self._ends_chunk:
            if len(data) - at < 2:
                if data[at:] not in (b"", b"\r"):
                    raise MalformedRequest("A chunk is longer than its size says.")
                return b"", at
            if data[at : at + 2] != b"\r\n":
                raise MalformedRequest("A chunk is longer than its size says.")
            self._ends_chunk = False
            at += 2
        if self._trailer_bytes >= 0:
            return b"", self._past_trailer(data, at)
        end = data.find(b"\n", at, at + MAX_LINE_BYTES) + 1
        if not end:
            if len(data) - at >= MAX_LINE_BYTES:
                raise MalformedRequest(f"A chunk's line has more than {MAX_LINE_BYTES} bytes.")
            return b"", at
        found = _SIZE_LINE.fullmatch(data, at, end)
        if found is None:
            raise MalformedRequest("A chunk does not begin with its size.")
        self._left = int(found[1], 16)
        if not self._left:
            self._trailer_bytes = 0
        return b"", end

    def _past_trailer(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        if self._trailer_bytes + (end or len(data)) - at > MAX_TRAILER_BYTES:
            raise MalformedRequest(f"The trailers have more than {MAX_TRAILER_BYTES} bytes.")
        if not end:
            return at
        if data[end - 2 : end] != b"\r\n" or end - at < 2:
            raise MalformedRequest("A trailer's line does not end as a line does.")
        self._trailer_bytes += end - at
        self.complete = end - at == 2
        return end
