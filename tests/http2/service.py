"""Calls of the real service: their heads as fields, their messages as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.http2.raw import Peer, Stream
from workbench.core.messages import InferRequest, InferResponse
from workbench.protocols.oip_grpc import decode_response, encode_request

LIVE = b"/inference.GRPCInferenceService/ServerLive"
INFER = b"/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = b"/inference.GRPCInferenceService/ModelStreamInfer"
METADATA = b"/inference.GRPCInferenceService/ServerMetadata"
WATCH = b"/grpc.health.v1.Health/Watch"

IS_LIVE = b"\x08\x01"
"""ServerLiveResponse(live=True)"""
SERVING = b"\x08\x01"
"""HealthCheckResponse(status=SERVING)"""


def head(path: bytes, *more: tuple[bytes, bytes], token: str | None = None) -> list[tuple[bytes, bytes]]:
    """The fields of a call's head."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"127.0.0.1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    if token is not None:
        fields.append((b"authorization", b"Bearer " + token.encode()))
    return [*fields, *more]


def inference(x: Any, model: str = "echo", request_id: str = "", **inputs: Any) -> bytes:
    """A ModelInferRequest."""
    given = {"x": np.asarray(x, np.float32), **inputs}
    return encode_request(InferRequest(model, given, id=request_id))


def answered(stream: Stream) -> InferResponse:
    """The answer of a ModelInfer, which must have succeeded."""
    assert stream.reset is None, str(stream)
    assert stream.headers[b":status"] == b"200", str(stream)
    assert stream.grpc_status == 0, str(stream)
    (content,) = stream.messages
    return decode_response(content)


def is_live(peer: Peer) -> None:
    """Checks that an ordinary call is answered."""
    stream = peer.call(head(LIVE))
    assert (stream.reset, stream.grpc_status, stream.messages) == (None, 0, [IS_LIVE]), str(stream)
