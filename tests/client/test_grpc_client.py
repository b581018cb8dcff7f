"""The gRPC client against a real service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import serving
from workbench.api import connect
from workbench.client.grpc_client import GrpcClient
from workbench.core.messages import InferRequest, InferResponse, ReleaseReason
from workbench.core.ports import Inference
from workbench.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

X = np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 16)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    served = {"mlp": models.mlp(), "text": models.identity("BYTES"), "brain": models.identity("BF16")}
    with serving(tmp_path_factory.mktemp("service"), served) as serve:
        yield serve


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[GrpcClient]:
    async with GrpcClient(f"grpc://{serve.grpc}", serve.token) as client:
        yield client


async def test_it_infers_as_every_inference_does(client: GrpcClient) -> None:
    inference: Inference = client
    response = await inference.infer(
        InferRequest("mlp", {"x": X}, outputs=("y",), id="7", parameters={"timings": True})
    )
    assert response.outputs["y"].shape == (3, 16)
    assert (response.model, response.version, response.id) == ("mlp", "1", "7")
    assert response.timings.batch_size == 3
    assert response.timings.release_reason is ReleaseReason.IDLE


async def test_strings_travel(client: GrpcClient) -> None:
    text = np.array([[b"a", b"", "ß".encode(), b"\0"]], np.object_)
    response = await client.infer(InferRequest("text", {"x": text}))
    assert response.outputs["y"].tolist() == text.tolist()


async def test_it_tells_what_a_model_takes(client: GrpcClient) -> None:
    assert await client.ready()
    signature = await client.signature("mlp")
    assert [str(spec) for spec in (*signature.inputs, *signature.outputs)] == ["x FP32[-1, 16]", "y FP32[-1, 16]"]


def test_a_workbench_at_a_grpc_address_predicts_and_does_nothing_else(serve: Serve) -> None:
    with connect(f"grpc://{serve.grpc}", serve.token) as wb:
        assert np.asarray(wb.predict("mlp", np.zeros((100, 16), np.float32))).shape == (100, 16)  # in two batches
        assert np.asarray(wb["text"]([["a", "b", "c", "d"]])).tolist() == [["a", "b", "c", "d"]]
        with pytest.raises(InvalidInput, match="axis 1 takes 16"):
            wb.predict("mlp", np.zeros((1, 15), np.float32))
        with pytest.raises(ModelNotFound):
            wb.predict("nothing", X)
        with pytest.raises(Unsupported, match="http:// URL"):
            wb.unload("mlp")
    with pytest.raises(Unauthenticated):
        connect(f"grpc://{serve.grpc}", "not the token")


async def test_errors_come_back_as_the_class_they_were(serve: Serve, client: GrpcClient) -> None:
    with pytest.raises(ModelNotFound, match="unknown model"):
        await client.infer(InferRequest("nothing", {"x": X}))
    with pytest.raises(ModelNotFound):
        await client.signature("nothing")
    with pytest.raises(InvalidInput):
        await client.infer(InferRequest("mlp", {"z": X}))
    with pytest.raises(TooLarge):
        await client.infer(InferRequest("mlp", {"x": X}, id="x" * 2000))
    with pytest.raises(DeadlineExceeded):
        await client.infer(InferRequest("mlp", {"x": X}, deadline=time.monotonic() - 1))
    async with GrpcClient(f"grpc://{serve.grpc}", "not the token") as stranger:
        with pytest.raises(Unauthenticated, match="token"):
            await stranger.signature("mlp")
        assert await stranger.ready()


async def test_a_stream_has_an_answer_or_an_error_for_each(client: GrpcClient) -> None:
    async def requests() -> AsyncIterator[InferRequest]:
        for count in range(20):
            yield InferRequest("nothing" if count == 7 else "mlp", {"x": X}, id=str(count))

    answers = [answer async for answer in client.stream(requests())]
    assert isinstance(answers.pop(7), ModelNotFound)
    assert [answer.id for answer in answers if isinstance(answer, InferResponse)] == [
        str(count) for count in range(20) if count != 7
    ]


async def test_where_nothing_listens_it_says_so() -> None:
    async with GrpcClient("grpc://127.0.0.1:9") as client:
        with pytest.raises(Unavailable, match=r"grpc://127.0.0.1:9 does not answer"):
            await client.ready()


def test_it_starts_afresh_on_another_loop_and_after_it_was_closed(serve: Serve) -> None:
    client = GrpcClient(f"grpc://{serve.grpc}", serve.token)

    async def use(close: bool) -> None:
        assert await client.ready()
        if close:
            await client.close()
            assert await client.ready()
            await client.close()

    asyncio.run(use(close=False))
    asyncio.run(use(close=True))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081", "127.0.0.1:8081", "grpc://", "grpc://me@127.0.0.1:1", "grpc://127.0.0.1:1/v2"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="grpc://127"):
        GrpcClient(url)


def test_credentials_need_tls() -> None:
    with pytest.raises(InvalidInput, match="grpcs://"):
        GrpcClient("grpc://127.0.0.1:1", credentials=grpc.ssl_channel_credentials())


def test_importing_the_client_does_not_import_grpc(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, workbench.client.grpc_client; assert not {'grpc', 'google.protobuf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
