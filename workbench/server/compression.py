"""Bodies compressed with gzip or deflate (zlib's form), as tritonclient sends and asks for: a step at a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from workbench.errors import InvalidInput

# What zlib calls the container: 31 is gzip, 15 its own.
_CONTAINER: Final = {b"gzip": 31, b"deflate": 15}

CODINGS: Final = frozenset(_CONTAINER)
"""Of Content-Encoding; and of Accept-Encoding where it names one of them and nothing else."""

PIECE: Final = 256 * 1024
"""The most bytes that one step gives: some 0.5 ms."""

_LEVEL: Final = 1
"""The fastest: who asks for less to send does not ask to wait for it."""

_THREAD_ABOVE: Final = 64 * 1024


class Inflater:
    """One body, decompressed part by part. InvalidInput for what is not of its coding."""

    def __init__(self, coding: bytes) -> None:
        self._coding = coding.decode()
        self._stream = zlib.decompressobj(_CONTAINER[coding])

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """What `part` adds, at most PIECE bytes at a time, made when it is asked for: so a bomb is stopped in time."""
        more = bool(part)
        while more:
            if part and self._stream.eof:
                raise InvalidInput(f"{len(part)} bytes follow the end of the {self._coding} body")
            try:
                piece = self._stream.decompress(part, PIECE)
            except zlib.error:
                raise InvalidInput(f"the body is no {self._coding}, as its Content-Encoding says it is") from None
            part = self._stream.unconsumed_tail or self._stream.unused_data
            # A full piece may not be all of what was read already.
            more = bool(part) or len(piece) == PIECE
            if piece:
                yield piece

    def finish(self) -> None:
        """InvalidInput where the end is missing."""
        if not self._stream.eof:
            raise InvalidInput(f"the {self._coding} body is cut off")


async def compressed(parts: bytes | Sequence[bytes | memoryview], coding: bytes) -> bytes:
    """The whole of a body in `coding`; on a thread where it is long."""
    size = len(parts) if isinstance(parts, bytes) else sum(memoryview(part).nbytes for part in parts)
    if size > _THREAD_ABOVE:
        return await asyncio.to_thread(deflated, parts, coding)
    return deflated(parts, coding)


def deflated(parts: bytes | Sequence[bytes | memoryview], coding: bytes) -> bytes:
    stream = zlib.compressobj(_LEVEL, wbits=_CONTAINER[coding])
    pieces = [stream.compress(part) for part in ((parts,) if isinstance(parts, bytes) else parts)]
    return b"".join((*pieces, stream.flush()))
