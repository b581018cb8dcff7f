"""What only tritonclient[grpc] has: callbacks, streams and asyncio. `tests.server.test_tritonclient` has the rest."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import serving
from tests.server.triton_clients import Client, X


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("service"), {"mlp": models.mlp()}) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve) -> Iterator[Client]:
    client = Client(serve, "gRPC")
    yield client
    client.plain.close()


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_messages(client: Client, compression: str) -> None:
    assert client.output("mlp", X, compression_algorithm=compression).shape == (3, 16)


@pytest.mark.parametrize(
    "call",
    [
        "get_trace_settings",
        "get_log_settings",
        "get_system_shared_memory_status",
        "unregister_system_shared_memory",
    ],
)
def test_what_is_not_served_says_why(client: Client, call: str) -> None:
    with pytest.raises(InferenceServerException, match=r"UNIMPLEMENTED.*(disabled|not served)"):
        getattr(client, call)()


def test_a_callback_gets_the_answer(client: Client) -> None:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.async_infer("mlp", [client.given(X)], callback=lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=20)
    assert error is None
    assert result.as_numpy("y").shape == (3, 16)


def test_a_stream_answers_in_order_and_outlives_errors(client: Client) -> None:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for count in range(60):
        model = "nothing" if count == 30 else "mlp"
        client.plain.async_stream_infer(model, [client.given(X)], request_id=str(count))
    got = [answers.get(timeout=20) for _ in range(60)]
    client.plain.stop_stream()
    assert "unknown model" in str(got[30][1])
    assert all(error is None for count, (_, error) in enumerate(got) if count != 30)
    assert [result.get_response().id for result, error in got if error is None] == [
        str(count) for count in range(60) if count != 30
    ]


def test_a_stream_marks_the_last_answer_where_that_is_asked_for(client: Client) -> None:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.plain.async_stream_infer("mlp", [client.given(X)], enable_empty_final_response=True)
    result, error = answers.get(timeout=20)
    client.plain.stop_stream()
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param


async def test_the_asyncio_client(serve: Serve, client: Client) -> None:
    headers, inputs = client.headers, [client.given(X)]
    async with tritonclient.grpc.aio.InferenceServerClient(serve.grpc) as aio:
        assert await aio.is_server_ready()
        assert await aio.is_model_ready("mlp", headers=headers)
        result = await aio.infer("mlp", inputs, headers=headers)
        assert result.as_numpy("y").shape == (3, 16)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for count in range(5):
                yield {"model_name": "mlp", "inputs": inputs, "request_id": str(count)}

        ids = []
        async for result, error in aio.stream_infer(requests(), headers=headers):
            assert error is None
            ids.append(result.get_response().id)
        assert ids == ["0", "1", "2", "3", "4"]
