"""The little of HTTP that the handlers need, on bare ASGI: read a body under a cap, check its type, answer at once."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from workbench.errors import Cancelled, InvalidInput, QueueFull, TooLarge, UnsupportedMediaType
from workbench.server.http.compression import CODINGS, Inflater
from workbench.server.http.h1_protocol import send_whole

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Mapping[bytes, bytes]
"""Names in lower case; of a doubled one the last."""
HeaderList: TypeAlias = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"
OCTET_STREAM = b"application/octet-stream"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_JOINED_BELOW = 256 * 1024
"""Bytes up to which the parts of a body are joined; larger ones are handed on as they are, without a copy."""

_WHOLE_BELOW = 64 * 1024
"""Bytes up to which an answer takes the short way, in one piece with its head."""

_ABSENT = object()


class BodyType(enum.Enum):
    """What a route takes as a body. JSON stands for a body that may also be empty."""

    JSON = "application/json"
    INFERENCE = "application/json, or application/octet-stream with Inference-Header-Content-Length"
    MODEL = "application/octet-stream"


@dataclass(slots=True)
class Response:
    """An answer that is complete before its first byte is sent."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: HeaderList = ()


async def respond(
    send: Send, status: int, body: bytes | Sequence[bytes | memoryview], content_type: bytes, headers: HeaderList = ()
) -> int:
    """Send a whole response without yielding to the event loop in between, so that it leaves in one write; its bytes.

    uvloop gathers what is written in one turn of the loop; awaiting `send` suspends only where the client reads
    slower than it is written to.
    """
    parts = (body,) if isinstance(body, bytes) else body
    if len(parts) == 1:
        size = memoryview(parts[0]).nbytes
    else:
        size = sum(memoryview(part).nbytes for part in parts)
        if size <= _JOINED_BELOW:
            parts = (b"".join(parts),)
    start = [(b"content-type", content_type), (b"content-length", b"%d" % size), *headers]
    if size <= _WHOLE_BELOW and send_whole(send, status, start, b"".join(parts)):
        return size
    await send({"type": "http.response.start", "status": status, "headers": start})
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1], "more_body": False})
    return size


class InFlightBytes:
    """Counts the bytes of bodies that are in memory at once, and holds them to a cap."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, size: int) -> None:
        """QueueFull over the cap. `give_back` for each `take` that returned."""
        if self.held + size > self.most:
            raise QueueFull(
                f"the bodies under way have {self.held} bytes, and max_body_bytes_in_flight allows {self.most}; "
                "try again later"
            )
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size


async def read_body(receive: Receive, headers: Headers, max_bytes: int, held: InFlightBytes) -> bytes:
    """The whole body, decompressed, which `held` has counted when this returns.

    TooLarge, by its Content-Length before a byte is read; QueueFull; Cancelled when the client left.
    """
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > max_bytes:
        raise TooLarge(f"the body has {int(announced)} bytes; {_cap(max_bytes)}")
    coding = headers.get(b"content-encoding")
    if coding is not None and coding in CODINGS:
        return await _read_compressed(receive, Inflater(coding), max_bytes, held)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Cancelled("the caller left before the body had arrived")
            part: bytes = message.get("body", b"")
            if size + len(part) > max_bytes:
                raise TooLarge(f"the body has more than {max_bytes} bytes; {_cap(max_bytes)}")
            held.take(len(part))
            size += len(part)
            if not message.get("more_body", False):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)
    except BaseException:
        held.give_back(size)
        raise


async def _read_compressed(receive: Receive, inflater: Inflater, max_bytes: int, held: InFlightBytes) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Cancelled("the caller left before the body had arrived")
            more = message.get("more_body", False)
            for piece in inflater.pieces(message.get("body", b"")):
                if size + len(piece) > max_bytes:
                    raise TooLarge(f"the body has more than {max_bytes} bytes, decompressed; {_cap(max_bytes)}")
                held.take(len(piece))
                size += len(piece)
                parts.append(piece)
                await asyncio.sleep(0)  # a few bytes may hold many pieces, and others have their turn between them
        inflater.finish()
        return b"".join(parts)
    except BaseException:
        held.give_back(size)
        raise


def check_body_type(headers: Headers, takes: BodyType) -> None:
    """UnsupportedMediaType for a body of another type, or one that a browser's form could have sent.

    No type at all is taken where there is no Origin: tritonclient sends none, and browsers always send an Origin.
    """
    coding = headers.get(b"content-encoding", b"identity")
    if coding != b"identity" and (coding not in CODINGS or takes is BodyType.MODEL):
        take = "send the body as it is" if takes is BodyType.MODEL else "use gzip or deflate, or send the body as it is"
        raise UnsupportedMediaType(f"Content-Encoding {_shown(coding)} is not taken here; {take}")
    content_type = headers.get(b"content-type")
    if content_type is None:
        if b"origin" in headers:
            raise UnsupportedMediaType(f"a request with an Origin needs a Content-Type: {takes.value}")
        return
    if content_type != JSON:
        content_type = content_type.partition(b";")[0].strip().lower()
    if content_type == JSON and takes is not BodyType.MODEL:
        return
    if content_type == OCTET_STREAM and (
        takes is BodyType.MODEL or (takes is BodyType.INFERENCE and b"inference-header-content-length" in headers)
    ):
        return
    raise UnsupportedMediaType(f"Content-Type {_shown(content_type)} is not taken here; send {takes.value}")


def json_length(headers: Headers) -> int | None:
    """Inference-Header-Content-Length: how much of the body is JSON; None: all of it."""
    value = headers.get(b"inference-header-content-length")
    if value is None:
        return None
    # int() would also take a sign, underscores and spaces.
    if not value.isdigit() or len(value) > 18:
        raise InvalidInput(
            f"Inference-Header-Content-Length is {_shown(value)}; it takes the JSON part's length in bytes"
        )
    return int(value)


def watch_for_leaving(receive: Receive) -> Callable[[], bool] | None:
    """A cheap way to ask whether the client has left, from any thread; None where the server offers none.

    ASGI has only `await receive()`, which would need a task for each request. Subtleness ahead: uvicorn's `receive`
    is a method of its request cycle, whose flag `disconnected` its protocol sets when the connection is lost.
    """
    cycle = getattr(receive, "__self__", None)
    if getattr(cycle, "disconnected", _ABSENT) is _ABSENT:
        return None
    return lambda: bool(cycle.disconnected)  # type: ignore[union-attr]


async def disconnected(receive: Receive) -> None:
    """Wait until the client has left, or has its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _cap(max_bytes: int) -> str:
    return f"this service takes {max_bytes}: send less at once, or raise max_body_bytes"


def _shown(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))
