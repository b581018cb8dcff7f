"""Writes request bodies, models and tensors, piece by piece, since they may be large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CountedBody:
    """A body whose upload progress is reported."""

    body: bytes | Path
    sent: Callable[[int], object]
    """Called with the bytes of each piece once the connection has taken it."""


Body = bytes | Path | Sequence[bytes | memoryview] | CountedBody | None

CHUNK = 1 << 20
"""Bytes written at a time, so that a large body neither blocks the loop nor is copied whole."""


def payload(body: Body, headers: dict[str, str]) -> bytes | AsyncIterator[bytes | memoryview] | None:
    """Return `body` for aiohttp. One that is not small is written piece by piece; `headers` gets its length."""
    if body is None:
        return None
    if isinstance(body, CountedBody):
        inner = payload(body.body, headers)
        return _telling(inner, body.sent) if isinstance(inner, AsyncIterator) else inner
    if isinstance(body, Path):
        headers["Content-Length"] = str(body.stat().st_size)
        return _file_chunks(body)
    parts = [body] if isinstance(body, bytes) else body
    size = sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
    if size < CHUNK:
        return b"".join(parts)
    headers["Content-Length"] = str(size)
    return _chunks(parts)


async def _telling(
    chunks: AsyncIterator[bytes | memoryview], sent: Callable[[int], object]
) -> AsyncIterator[bytes | memoryview]:
    async for chunk in chunks:
        yield chunk
        sent(len(chunk))


async def _chunks(parts: Sequence[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for part in parts:
        view = memoryview(part).cast("B")
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
