"""The codec of an inference over HTTP: what its path and headers say about its body and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, TypeAlias

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.tensor import BYTES
from workbench.engine import Engine
from workbench.protocols.counted_request import CountedRequest
from workbench.protocols.json_cutting import LARGE
from workbench.protocols.oip_json import BINARY_ANSWER, AnswerFormat, count_request, decode_request, encode_response
from workbench.protocols.raw_request import decode_raw_request
from workbench.protocols.region_params import Shared
from workbench.protocols.routing_headers import with_routing
from workbench.server.compression import compressed
from workbench.server.inference import InferenceCall

Encoded: TypeAlias = tuple[bytes, Sequence[bytes | memoryview]]
"""Lines of headers, and the parts of a body."""

_JSON_ON_LOOP: Final = 256 * 1024
"""Bytes of JSON up to which it is decoded on the event loop: about two milliseconds."""

_BINARY_ON_LOOP: Final = 1024 * 1024
"""The same for a body with binary data, most of which is not touched."""

_JSON_HEAD = b"content-type: application/json\r\nx-model-epoch: %b\r\nx-request-id: %b\r\n"
_BINARY_HEAD = (
    b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
    b"x-model-epoch: %b\r\nx-request-id: %b\r\n"
)


@dataclass(frozen=True, slots=True)
class HttpCodec:
    """JSON, with binary tensor data behind it or not, or a raw body."""

    names_model: ClassVar[bool] = False

    engine: Engine
    limits: Limits
    model: str
    version: str | None
    json_bytes: int | None = None
    """Inference-Header-Content-Length. None: all of the body is JSON; 0: none of it, it is the model's only input."""
    content_encoding: bytes = b""
    accept_encoding: bytes = b""
    strict_json: bool = False
    """The setting: NaN and infinities are no bare words in JSON."""

    def takes_long(self, body: bytes) -> bool:
        size, json_bytes = len(body), self.json_bytes
        if size <= LARGE or json_bytes == 0:
            return False  # a raw body needs the engine, and is quickly read
        if json_bytes is None:
            return size > _JSON_ON_LOOP
        # Of binary data only strings are read one by one; a name may be escaped in JSON.
        head = body[:json_bytes]
        return json_bytes > LARGE or size > _BINARY_ON_LOOP or BYTES.encode() in head or b"\\" in head

    def count(self, body: bytes, now: float, shared: Shared | None) -> CountedRequest[AnswerFormat]:
        return count_request(
            self.model,
            self.version,
            body,
            self.json_bytes,
            self.limits,
            now,
            shared,
            self.engine.tensors_of,
            self.strict_json,
        )

    def decode(self, body: bytes, now: float, shared: Shared | None) -> tuple[InferRequest, AnswerFormat]:
        if self.json_bytes == 0:
            status = self.engine.status(self.model, self.version)
            return decode_raw_request(status, self.version, body, self.limits), BINARY_ANSWER
        return decode_request(
            self.model,
            self.version,
            body,
            self.json_bytes,
            self.limits,
            now,
            shared,
            self.engine.tensors_of,
            self.strict_json,
        )

    def named_in(self, body: bytes) -> tuple[str, str, str]:
        return self.model, self.version or "", ""

    def encode(self, call: InferenceCall, response: InferResponse) -> Encoded:
        body, json_bytes = encode_response(response, call.answer, self.limits, self.strict_json)
        epoch = response.epoch.encode()
        if isinstance(body, bytes):
            return _JSON_HEAD % (epoch, call.request_id), (body,)
        return _BINARY_HEAD % (json_bytes, epoch, call.request_id), body

    async def compressed(self, encoded: Any) -> Encoded:
        lines, parts = encoded
        body = await compressed(parts, self.accept_encoding)
        return b"%bcontent-encoding: %b\r\n" % (lines, self.accept_encoding), (body,)


@dataclass(frozen=True, slots=True)
class RoutedHttpCodec(HttpCodec):
    """The same of a head with ROUTING_HEADERS; a class of its own, so that other requests do not pay for it."""

    routing: Mapping[str, str] = field(default_factory=dict)
    """The parameters that they give."""

    def count(self, body: bytes, now: float, shared: Shared | None) -> CountedRequest[AnswerFormat]:
        counted = HttpCodec.count(self, body, now, shared)
        return replace(counted, decode=lambda: with_routing(counted.decode(), self.routing))

    def decode(self, body: bytes, now: float, shared: Shared | None) -> tuple[InferRequest, AnswerFormat]:
        return with_routing(HttpCodec.decode(self, body, now, shared), self.routing)
