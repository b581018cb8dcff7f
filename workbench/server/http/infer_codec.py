"""The codec of an inference over HTTP: what its path and headers say about its body and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.engine import Engine
from workbench.protocols.oip_json import BINARY_ANSWER, AnswerFormat, decode_request, encode_response
from workbench.protocols.raw_request import decode_raw_request
from workbench.protocols.region_params import Shared
from workbench.server.compression import compressed
from workbench.server.inference import InferenceCall

Encoded: TypeAlias = tuple[bytes, Sequence[bytes | memoryview]]
"""Lines of headers, and the parts of a body."""

_JSON_HEAD = b"content-type: application/json\r\nx-model-epoch: %b\r\nx-request-id: %b\r\n"
_BINARY_HEAD = (
    b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
    b"x-model-epoch: %b\r\nx-request-id: %b\r\n"
)


@dataclass(frozen=True, slots=True)
class HttpCodec:
    """JSON, with binary tensor data behind it or not, or a raw body."""

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

    @property
    def may_decode_on_thread(self) -> bool:
        return self.json_bytes != 0  # a raw body needs the engine, and is quickly read

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
