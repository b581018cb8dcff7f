"""Bodies compressed with gzip or deflate (zlib's form), as tritonclient sends and asks for: a step at a time."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from workbench.errors import InvalidInput, TooLarge

# What zlib calls the container: 31 is gzip, 15 its own.
_CONTAINER: Final = {b"gzip": 31, b"deflate": 15}

CODINGS: Final = frozenset(_CONTAINER)
"""Of Content-Encoding; and of Accept-Encoding where it names one of them and nothing else."""

PIECE: Final = 256 * 1024
"""The most bytes that one step gives: some 0.5 ms."""

_READ: Final = 64 * 1024
"""The most bytes that are unpacked at once: zlib copies what it has not come to for each piece that it gives."""

_STEP: Final = 1024 * 1024
"""Bytes unpacked on a thread before the event loop counts them."""

FREE_BYTES: Final = 32 * 1024 * 1024
MAX_RATIO: Final = 100
"""What unpacks to more than FREE_BYTES has at most MAX_RATIO times its packed size: a tensor of zeros reaches 1000, and
a small one may."""

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
        view = memoryview(part)
        for at in range(0, len(part), _READ):
            yield from self._pieces(view[at : at + _READ])

    def _pieces(self, part: bytes | memoryview) -> Iterator[bytes]:
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


async def decompressed(body: bytes, coding: bytes, grown: Callable[[int], None]) -> bytes:
    """The whole of a compressed body, unpacked on threads where it is long.

    `grown` is called on the event loop with the size so far, at most _STEP later than it was reached; what it raises
    ends this. Raises InvalidInput, and TooLarge over MAX_RATIO.
    """
    inflater = Inflater(coding)
    pieces = inflater.pieces(body)
    whole = io.BytesIO()  # gives its content without a copy

    def step(most: int) -> bool:
        """Unpack `most` bytes or a few more; False at the end."""
        end = whole.tell() + most
        for piece in pieces:
            whole.write(piece)
            if whole.tell() >= end:
                return True
        return False

    more = step(PIECE)
    while True:
        size = whole.tell()
        grown(size)
        if size > FREE_BYTES and size > MAX_RATIO * len(body):
            raise TooLarge(
                f"the body unpacks to more than {MAX_RATIO} times its {len(body)} bytes, which is taken up to "
                f"{FREE_BYTES} bytes only; send it uncompressed"
            )
        if not more:
            break
        more = await asyncio.to_thread(step, _STEP)
    inflater.finish()
    return whole.getvalue()


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
