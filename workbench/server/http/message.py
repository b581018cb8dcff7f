"""What HTTP handlers need of a request and an answer: body types, headers as lines, bodies read under a cap."""

from __future__ import annotations

import enum
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from workbench.errors import InvalidInput, TooLarge, UnsupportedMediaType
from workbench.protocols.trace_headers import REQUEST_ID
from workbench.server.compression import CODINGS, decompressed
from workbench.server.gate.auth import Caller, Headers
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.inference import body_cap

JSON: Final = b"application/json"
OCTET_STREAM: Final = b"application/octet-stream"


_CLIENT_TYPES: Final = frozenset({OCTET_STREAM, b"application/x-www-form-urlencoded", b"text/plain"})
"""What public clients call a JSON body: the C++ client by curl's default, tritonclient.http.aio by aiohttp's."""


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
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Names in lower case."""


def header_lines(*headers: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def lines_of(response: Response, request_id: bytes) -> bytes:
    """The header lines of a response, but for its length."""
    return header_lines((b"content-type", response.content_type), *response.headers, (REQUEST_ID, request_id))


async def read_body(pieces: AsyncIterator[bytes], headers: Headers, max_bytes: int, held: InFlightBytes) -> bytes:
    """The whole body, decompressed, which `held` has counted when this returns.

    TooLarge, by its Content-Length before a byte is read; TooManyRequests; and what `pieces` raises.
    """
    check_length(headers, max_bytes)
    coding = headers.get(b"content-encoding", b"")
    whole = io.BytesIO()  # gives its content without a copy
    counted = 0

    def grown(size: int, what: str = "") -> None:
        nonlocal counted
        if size > max_bytes:
            raise TooLarge(f"the body has more than {max_bytes} bytes{what}; {body_cap(max_bytes)}")
        if size > counted:
            held.take(size - counted)
            counted = size

    try:
        async for piece in pieces:
            grown(whole.tell() + len(piece))
            whole.write(piece)
        body = whole.getvalue()
        if coding in CODINGS:
            body = await decompressed(body, coding, lambda size: grown(size, ", decompressed"))
            held.give_back(counted - len(body))
        return body
    except BaseException:
        held.give_back(counted)
        raise


def check_length(headers: Headers, max_bytes: int, caller: Caller | None = None) -> None:
    """TooLarge where the Content-Length says so, before anything is read."""
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > max_bytes:
        raise TooLarge(f"the body has {int(announced)} bytes; {body_cap(max_bytes, caller)}")


def check_body_type(headers: Headers, takes: BodyType) -> None:
    """UnsupportedMediaType for a body of another type, or one that a browser's form could have sent.

    No type at all is taken where there is no Origin: tritonclient sends none, and browsers always send an Origin.
    Other public clients send one of _CLIENT_TYPES, which is taken where a token came too: a form cannot send that.
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
    instead = f"send {takes.value}"
    if content_type in _CLIENT_TYPES and takes is not BodyType.MODEL and b"origin" not in headers:
        if b"authorization" in headers:
            return
        instead += ", or the header Authorization too"
    raise UnsupportedMediaType(f"Content-Type {_shown(content_type)} is not taken here; {instead}")


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


def _shown(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))
