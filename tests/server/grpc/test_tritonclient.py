"""The unmodified tritonclient[grpc] against the real service: this process holds both packages `inference`."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, model_config_pb2
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from tests import models
from tests.helpers.service_process import Serve
from workbench.core.tensor import DTYPES


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    repository = folder / "repository"
    for name, model in {
        "mlp": models.mlp(),
        "two": models.two_in_two_out(),
        "text": models.identity("BYTES"),
        "half": models.identity("FP16"),
        "spare": models.identity(),
    }.items():
        models.save(model, repository / name / "1" / "model.onnx")
    with Serve(folder, "--model-repository", str(repository), "--grpc-port", "0") as serve:
        yield serve.ready()


class Client:
    """tritonclient with the token in each call's metadata."""

    def __init__(self, serve: Serve) -> None:
        self.plain = InferenceServerClient(serve.grpc)
        self.headers = {"authorization": f"Bearer {serve.token}"}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.plain, name)
        return lambda *args, **kwargs: call(*args, headers=self.headers, **kwargs)


@pytest.fixture
def client(serve: Serve) -> Iterator[Client]:
    client = Client(serve)
    yield client
    client.plain.close()


def given(name: str, array: Any, datatype: str) -> InferInput:
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


X = np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 16)


def test_health_needs_no_token(client: Client) -> None:
    assert client.plain.is_server_live()
    assert client.plain.is_server_ready()
    with pytest.raises(InferenceServerException, match=r"UNAUTHENTICATED.*token"):
        client.plain.get_server_metadata()


def test_metadata(client: Client) -> None:
    assert client.get_server_metadata().name == "infer-workbench"
    metadata = client.get_model_metadata("mlp")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [("x", "FP32", [-1, 16])]
    assert list(metadata.versions) == ["1"]
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("nothing")
    assert not client.is_model_ready("mlp", "2")
    assert client.get_server_metadata(as_json=True)["version"]


def test_inference(client: Client) -> None:
    expected = client.infer("mlp", [given("x", X, "FP32")]).as_numpy("y")
    assert expected.shape == (3, 16)
    asked = [InferRequestedOutput("y")]
    result = client.infer("mlp", [given("x", X, "FP32")], outputs=asked, request_id="seven", model_version="1")
    np.testing.assert_allclose(result.as_numpy("y"), expected, rtol=1e-6)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("seven", "mlp", "1")


def test_parameters_and_schedule(client: Client) -> None:
    inputs = [given("x", X, "FP32")]
    result = client.infer(
        "mlp", inputs, priority=1, timeout=10_000_000, parameters={"timings": True, "mine": "kept", "count": 3}
    )
    assert result.get_response().parameters["batch_size"].int64_param == 3
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*timings"):
        client.infer("mlp", inputs, parameters={"timings": "yes"})


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_messages(client: Client, compression: str) -> None:
    result = client.infer("mlp", [given("x", X, "FP32")], compression_algorithm=compression)
    assert result.as_numpy("y").shape == (3, 16)


def test_named_outputs_only(client: Client) -> None:
    metadata = client.get_model_metadata("two")
    inputs = [
        given(each.name, np.ones([2 if size == -1 else size for size in each.shape], np.float32), each.datatype)
        for each in metadata.inputs
    ]
    last = metadata.outputs[-1].name
    everything = client.infer("two", inputs)
    result = client.infer("two", inputs, outputs=[InferRequestedOutput(last)])
    assert [output.name for output in result.get_response().outputs] == [last]
    np.testing.assert_array_equal(result.as_numpy(last), everything.as_numpy(last))


def test_strings(client: Client) -> None:
    x = np.array([["a", "", "ß", "日本"]], dtype=object)
    result = client.infer("text", [given("x", x, "BYTES")])
    assert [text.decode() for text in result.as_numpy("y")[0]] == ["a", "", "ß", "日本"]
    assert serialize_byte_tensor(x).item() == result.get_response().raw_output_contents[0]


def test_half_precision(client: Client) -> None:
    x = np.array([[0.5, -2, 65504, 0]], dtype=DTYPES["FP16"])
    np.testing.assert_array_equal(client.infer("half", [given("x", x, "FP16")]).as_numpy("y"), x)


def test_repository(client: Client) -> None:
    client.unload_model("spare")
    index = {model.name: model.state for model in client.get_model_repository_index().models}
    assert index["spare"] == "UNAVAILABLE"
    assert index["mlp"] == "READY"
    with pytest.raises(InferenceServerException, match="NOT_FOUND"):
        client.infer("spare", [given("x", X, "FP32")])
    client.load_model("spare", config='{"max_batch_size": 2}')
    assert client.is_model_ready("spare")
    model = models.add_constant(2.0).SerializeToString()
    client.load_model("uploaded", config="{}", files={"file:1/model.onnx": model})
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(client.infer("uploaded", [given("x", x, "FP32")]).as_numpy("y"), x + 2)
    client.unload_model("uploaded")
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*there is no setting"):
        client.load_model("spare", config='{"unheard_of": 2}')


def test_configuration(client: Client) -> None:
    config = client.get_model_config("mlp").config
    assert (config.name, config.backend, config.max_batch_size) == ("mlp", "onnxruntime", 64)
    (x,) = config.input
    assert (x.name, model_config_pb2.DataType.Name(x.data_type), list(x.dims)) == ("x", "TYPE_FP32", [16])
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert client.get_model_config("text").config.input[0].data_type == model_config_pb2.TYPE_STRING
    with pytest.raises(InferenceServerException, match=r"NOT_FOUND"):
        client.get_model_config("nothing")


def test_statistics_count_what_was_asked(client: Client) -> None:
    before = client.get_inference_statistics("half").model_stats[0]
    x = np.ones((3, 4), DTYPES["FP16"])
    for _ in range(5):
        client.infer("half", [given("x", x, "FP16")])
    with pytest.raises(InferenceServerException):
        client.infer("half", [given("x", np.ones((3, 5), DTYPES["FP16"]), "FP16")])
    after = client.get_inference_statistics("half", "1").model_stats[0]
    assert after.inference_count - before.inference_count == 15
    assert after.execution_count - before.execution_count == 5
    stats = after.inference_stats
    assert stats.success.count - before.inference_stats.success.count == 5
    assert stats.fail.count - before.inference_stats.fail.count == 1
    assert stats.success.ns >= stats.queue.ns + stats.compute_infer.ns > 0
    (size,) = [each for each in after.batch_stats if each.batch_size == 3]
    assert size.compute_infer.count >= 5
    assert size.compute_infer.ns > 0
    assert after.last_inference > 1_700_000_000_000
    assert {"mlp", "half", "two"} <= {each.name for each in client.get_inference_statistics().model_stats}
    with pytest.raises(InferenceServerException, match=r"NOT_FOUND"):
        client.get_inference_statistics("nothing")


@pytest.mark.parametrize(
    "call",
    [
        "get_trace_settings",
        "get_log_settings",
        "get_system_shared_memory_status",
        "get_cuda_shared_memory_status",
        "unregister_system_shared_memory",
    ],
)
def test_what_is_not_served_says_why(client: Client, call: str) -> None:
    with pytest.raises(InferenceServerException, match=r"UNIMPLEMENTED.*(disabled|not served)"):
        getattr(client, call)()


def test_a_callback_gets_the_answer(client: Client) -> None:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.async_infer("mlp", [given("x", X, "FP32")], callback=lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=20)
    assert error is None
    assert result.as_numpy("y").shape == (3, 16)


def test_a_stream_answers_in_order_and_outlives_errors(client: Client) -> None:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for count in range(60):
        model = "nothing" if count == 30 else "mlp"
        client.plain.async_stream_infer(model, [given("x", X, "FP32")], request_id=str(count))
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
    client.plain.async_stream_infer("mlp", [given("x", X, "FP32")], enable_empty_final_response=True)
    result, error = answers.get(timeout=20)
    client.plain.stop_stream()
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param


async def test_the_asyncio_client(serve: Serve) -> None:
    headers = {"authorization": f"Bearer {serve.token}"}
    async with tritonclient.grpc.aio.InferenceServerClient(serve.grpc) as client:
        assert await client.is_server_ready()
        assert await client.is_model_ready("mlp", headers=headers)
        result = await client.infer("mlp", [given("x", X, "FP32")], headers=headers)
        assert result.as_numpy("y").shape == (3, 16)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for count in range(5):
                yield {"model_name": "mlp", "inputs": [given("x", X, "FP32")], "request_id": str(count)}

        ids = []
        async for result, error in client.stream_infer(requests(), headers=headers):
            assert error is None
            ids.append(result.get_response().id)
        assert ids == ["0", "1", "2", "3", "4"]


def test_errors_have_the_status_that_fits(client: Client) -> None:
    wrong = np.ones((1, 3), np.float32)
    for model, inputs, status in (
        ("nothing", [given("x", X, "FP32")], "NOT_FOUND"),
        ("mlp", [given("z", X, "FP32")], "INVALID_ARGUMENT"),
        ("mlp", [given("x", wrong, "FP32")], "INVALID_ARGUMENT"),
    ):
        with pytest.raises(InferenceServerException) as failed:
            client.infer(model, inputs)
        assert failed.value.status() == f"StatusCode.{status}"


def test_the_ready_file_says_where_grpc_is(serve: Serve, tmp_path: Path) -> None:
    host, _, port = serve.grpc.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
