"""What a caller with a token can do over gRPC, beside others who are served."""

from __future__ import annotations

import grpc
import pytest

from tests.security.watched_service import MB, Watched
from workbench.core.varint import varint
from workbench.protocols import pb

pytestmark = pytest.mark.serial

NODES = b"\x0a\x00" * (4 * MB)
NODE_BOMB = b"\x08\x08" + b"\x3a" + varint(len(NODES)) + NODES + b"\x42\x02\x10\x0d"
"""8 MB: a graph of 4 million nodes that say nothing."""


def said(watched: Watched, method: str, content: bytes, compression: grpc.Compression | None = None) -> str:
    """How a call is refused."""
    metadata = (("authorization", f"Bearer {watched.serve.token}"),)
    with grpc.insecure_channel(watched.serve.grpc) as channel, pytest.raises(grpc.RpcError) as failed:
        call = channel.unary_unary(f"/{pb.SERVICE}/{method}")
        call(content, metadata=metadata, compression=compression, timeout=60)
    return str(failed.value.details())  # type: ignore[attr-defined]


def test_messages_that_are_small_only_as_they_travel(attacked: Watched) -> None:
    load = pb.message("RepositoryModelLoadRequest")(model_name="bomb")
    load.parameters["config"].string_param = "{}"
    load.parameters["file:1/model.onnx"].bytes_param = NODE_BOMB
    with attacked.attack() as seen:
        assert "unpacks to more than" in said(attacked, "ModelInfer", b" " * (200 * MB), grpc.Compression.Gzip)
        assert "over 500000 NodeProto" in said(attacked, "RepositoryModelLoad", load.SerializeToString())
    seen.others_were_served()
    assert seen.grown_bytes < 100 * MB, seen
