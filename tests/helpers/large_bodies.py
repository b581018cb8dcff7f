"""Has small bodies treated as large ones, which are counted and decoded on threads."""

from __future__ import annotations

import pytest

from workbench.server import inference
from workbench.server.grpc.infer import GrpcCodec
from workbench.server.http.infer_codec import HttpCodec


def large_from(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on bodies of more than `size` bytes are large."""
    monkeypatch.setattr(inference, "SMALL_BODY", size)
    for codec in (GrpcCodec, HttpCodec):
        monkeypatch.setattr(codec, "takes_long", lambda self, body: len(body) > size)
