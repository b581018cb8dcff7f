"""The unmodified tritonclient[http] and tritonclient[grpc] against the real service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import serving
from tests.server.triton_clients import CLIENTS, Client, X

CONFIG = """
name: "triton"
platform: "onnxruntime_onnx"
max_batch_size: 8
default_model_filename: "net.onnx"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4, 4 ] reshape { shape: [ 16 ] } } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 16 ] label_filename: "labels.txt" } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
version_policy: { latest: { num_versions: 1 } }
model_warmup [
  { name: "zeros" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4, 4 ] zero_data: true } } },
  { name: "none" batch_size: 1 }
]
optimization { graph { level: 1 } }
"""
"""As users of Triton have it."""


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    repository = folder / "repository"
    models.save(models.mlp(), repository / "triton" / "2" / "net.onnx")
    (repository / "triton" / "config.pbtxt").write_text(CONFIG)
    (repository / "triton" / "labels.txt").write_text("cat\ndog\n")
    (repository / "broken").mkdir()
    (repository / "broken" / "config.pbtxt").write_text("name: 'broken'\nmax_batch_size 8\n")
    served = {
        "mlp": models.mlp(),
        "two": models.two_in_two_out(),
        "text": models.identity("BYTES"),
        "half": models.identity("FP16"),
        "spare": models.identity(),
        "broken": models.mlp(),
    }
    with serving(folder, served, "--exit-on-error=false", "--strict-readiness=false") as serve:
        yield serve


def notes_of(serve: Serve, model: str) -> list[str]:
    _, body = serve.call("GET", f"/control/models/{model}")
    notes: list[str] = json.loads(body)[0]["notes"]
    return notes


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Client]:
    client = Client(serve, request.param)
    yield client
    client.plain.close()


over_both = pytest.mark.parametrize("client", ["HTTP", "gRPC"], indirect=True)
over_http = pytest.mark.parametrize("client", ["HTTP"], indirect=True)


def ones(client: Client, model: str, rows: int) -> list[Any]:
    """An input for each that the model has."""
    return [
        client.given(np.ones([rows if size == -1 else size for size in each["shape"]], np.float32), each["name"])
        for each in client.read("model_metadata", model)["inputs"]
    ]


def texts(array: Any) -> list[str]:
    """Of one row: JSON has them as text, and binary data as bytes."""
    return [text if isinstance(text, str) else text.decode() for text in array.tolist()]


@over_both
def test_health_needs_no_token(client: Client) -> None:
    assert client.plain.is_server_live()
    assert client.plain.is_server_ready()
    with pytest.raises(InferenceServerException, match="token"):
        client.plain.get_server_metadata()


@over_both
def test_metadata(client: Client) -> None:
    server = client.read("server_metadata")
    assert server["name"] == "infer-workbench" and server["version"] and server["extensions"]
    metadata = client.read("model_metadata", "mlp")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}]
    assert metadata["versions"] == [1]
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("nothing")
    assert not client.is_model_ready("mlp", "2")


def test_inference(client: Client) -> None:
    expected = client.output("mlp", X)
    assert expected.shape == (3, 16)
    asked = [client.asked()]
    result = client.infer("mlp", [client.given(X)], outputs=asked, request_id="seven", model_version="1")
    np.testing.assert_allclose(result.as_numpy("y"), expected, rtol=1e-6)
    response = client.response(result)
    assert (response["id"], response["model_name"], response["model_version"]) == ("seven", "mlp", 1)


@over_both
def test_named_outputs_only(client: Client) -> None:
    inputs = ones(client, "two", 2)
    last = client.read("model_metadata", "two")["outputs"][-1]["name"]
    everything = client.infer("two", inputs)
    result = client.infer("two", inputs, outputs=[client.asked(last)])
    assert [output["name"] for output in client.response(result)["outputs"]] == [last]
    np.testing.assert_array_equal(result.as_numpy(last), everything.as_numpy(last))


def test_strings(client: Client) -> None:
    x = np.array([["a", "", "ß", "日本"]], dtype=object)
    assert texts(client.output("text", x)[0]) == ["a", "", "ß", "日本"]


@pytest.mark.parametrize("client", ["HTTP", "gRPC", "HTTP, JSON answered"], indirect=True)
def test_bytes_that_are_not_utf8_have_no_form_in_json_only(client: Client) -> None:
    x = np.array([["ü".encode(), b"\xff\xfe\0", b"\x89PNG\r\n", b""]], dtype=object)
    if client.gets_binary:
        assert client.output("text", x).tolist() == x.tolist()
    else:
        with pytest.raises(InferenceServerException, match="bytes that are not UTF-8; use binary data"):
            client.output("text", x, outputs=[client.asked()])


@over_both
def test_half_precision_with_nan_and_infinities(client: Client) -> None:
    x = np.array([[0.5, -65504, np.nan, np.inf]], dtype=np.float16)
    np.testing.assert_array_equal(client.output("half", x), x)


def test_nan_and_infinities_come_through(client: Client) -> None:
    x = np.array([[np.nan, -np.inf, np.inf, 1]], np.float32)
    np.testing.assert_array_equal(client.output("spare", x, outputs=[client.asked()]), x)


@over_http
def test_concurrent_inferences(client: Client, serve: Serve) -> None:
    many = InferenceServerClient(serve.address, concurrency=8)
    pending = [many.async_infer("mlp", [client.given(X[:1])], headers=client.headers) for _ in range(32)]
    answers = [each.get_result().as_numpy("y") for each in pending]
    many.close()
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-5)


@over_both
def test_the_repository_is_listed_loaded_and_unloaded(client: Client) -> None:
    def states() -> dict[str, str]:
        return {each["name"]: each["state"] for each in client.read("model_repository_index")}

    assert states()["spare"] == "READY"
    client.unload_model("spare")
    assert (states()["spare"], states()["mlp"]) == ("UNAVAILABLE", "READY")
    assert not client.is_model_ready("spare")
    client.load_model("spare", config='{"max_batch_size": 2}')
    assert states()["spare"] == "READY"
    for name, config, said in (
        ("nothing", None, "failed to load 'nothing'"),
        ("spare", '{"unheard_of": 2}', "failed to load 'spare': .*there is no setting"),
        ("spare", '"parameters": {', "failed to load 'spare'"),
    ):
        with pytest.raises(InferenceServerException, match=said):
            client.load_model(name, config=config)


@over_both
def test_a_model_is_sent_along_with_its_settings(client: Client) -> None:
    onnx = models.add_constant(2.0).SerializeToString()
    client.load_model("sent", config=json.dumps({"max_batch_size": 8}), files={"file:1/model.onnx": onnx})
    x = np.zeros((1, 4), np.float32)
    np.testing.assert_array_equal(client.output("sent", x), x + 2)
    client.unload_model("sent")
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.output("sent", x)


@over_both
def test_statistics_agree_with_metrics_and_with_the_callers_own_count(client: Client, serve: Serve) -> None:
    def stats() -> tuple[int, int, int, dict[str, Any]]:
        (found,) = client.read("inference_statistics", "two", "1")["model_stats"]
        times = found.get("inference_stats", {})
        counts = [times.get(name, {}).get("count", 0) for name in ("success", "fail")]
        return found.get("inference_count", 0), counts[0], counts[1], found

    *before, _ = stats()
    inputs = ones(client, "two", 3)
    for _ in range(20):
        client.infer("two", inputs)
    with pytest.raises(InferenceServerException):
        client.infer("two", inputs[:1])
    *now, after = stats()
    assert [then - first for then, first in zip(now, before, strict=True)] == [60, 20, 1]
    times, sizes = after["inference_stats"], after["batch_stats"]
    assert sum(each["compute_infer"]["count"] for each in sizes) == after["execution_count"]
    assert sum(each["batch_size"] * each["compute_infer"]["count"] for each in sizes) == after["inference_count"]
    assert all(each["compute_infer"]["ns"] > 0 for each in sizes)
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(times[part]["ns"] for part in parts) == pytest.approx(times["success"]["ns"], abs=1e4)
    assert abs(after["last_inference"] / 1e3 - time.time()) < 60
    _, body = serve.call("GET", "/metrics")
    metrics = body.decode()
    for name, value in (
        ("nv_inference_request_success", times["success"]["count"]),
        ("nv_inference_count", after["inference_count"]),
        ("nv_inference_exec_count", after["execution_count"]),
    ):
        assert f'{name}{{model="two",version="1"}} {value}' in metrics
    everything = client.read("inference_statistics")["model_stats"]
    assert {each["name"] for each in everything} >= {"mlp", "two", "text"}
    assert client.read("inference_statistics", "two")["model_stats"][0]["name"] == "two"
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.get_inference_statistics("nothing")


@over_both
def test_a_models_configuration_is_in_tritons_form(client: Client) -> None:
    config = client.read("model_config", "mlp", "1")
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("mlp", "onnxruntime", 64)
    x = {"name": "x", "data_type": "TYPE_FP32", "dims": [16]}
    assert config["input"] == [x if client.grpc else {**x, "optional": False, "format": "FORMAT_NONE"}]
    assert config["dynamic_batching"].get("max_queue_delay_microseconds", None if not client.grpc else 0) == 0
    assert config["instance_group"][0]["kind"] == "KIND_CPU"
    assert client.read("model_config", "text")["input"][0]["data_type"] == "TYPE_STRING"
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.get_model_config("nothing")


def test_classes_in_place_of_scores(client: Client) -> None:
    found = client.output("mlp", X, outputs=[client.asked(class_count=3)])
    indices = [[int(text.split(":")[1]) for text in texts(row)] for row in found]
    assert indices == np.argsort(-client.output("mlp", X), axis=1, kind="stable")[:, :3].tolist()


@over_both
def test_schedule_parameters_and_those_that_are_reserved(client: Client) -> None:
    x = [client.given(X)]
    parameters = {"timings": True, "anything": "of the caller's own", "count": 3}
    result = client.infer("mlp", x, priority=1, timeout=10_000_000, parameters=parameters)
    assert client.response(result)["parameters"]["batch_size"] == 3
    refused: list[tuple[str, dict[str, Any]]] = [
        ("timeout", {"timeout": 1}),
        ("timings", {"parameters": {"timings": "yes"}}),
        ("keeps no state", {"sequence_id": 7, "sequence_start": True}),
        ("reserved", {"parameters": {"triton_anything": 1}}),
    ]
    for said, more in refused:
        with pytest.raises(InferenceServerException, match=said):
            client.infer("mlp", x, **more)


@over_http
def test_a_raw_request_is_the_input_alone(client: Client, serve: Serve) -> None:
    expected = client.output("mlp", X)
    status, body = serve.call(
        "POST",
        "/v2/models/mlp/infer",
        X.tobytes(),
        **{"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"},
    )
    assert status == 200
    np.testing.assert_allclose(np.frombuffer(body[-expected.nbytes :], np.float32).reshape(3, 16), expected, rtol=1e-5)
    status, body = serve.call("POST", "/v2/models/two/infer", b"", **{"Inference-Header-Content-Length": "0"})
    assert status == 400 and b"takes 2" in body


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("client", ["HTTP", "HTTP, JSON"], indirect=True)
def test_bodies_travel_compressed(client: Client, request_coding: str | None, response_coding: str | None) -> None:
    found = client.output(
        "mlp",
        np.linspace(-1, 1, 64 * 16, dtype=np.float32).reshape(64, 16),
        outputs=[client.asked()],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    assert found.shape == (64, 16)


@over_both
def test_a_repository_as_tritons_users_have_it_is_served_as_it_is(client: Client, serve: Serve) -> None:
    config = client.read("model_config", "triton")
    assert config["max_batch_size"] == 8
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 100
    assert config["dynamic_batching"]["preferred_batch_size"] == [4, 8]
    assert config["input"][0]["dims"] == [4, 4]
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    found = texts(client.output("triton", x, outputs=[client.asked(class_count=16)])[0])
    assert sum(text.endswith((":0:cat", ":1:dog")) for text in found) == 2
    optimization, warm_up = notes_of(serve, "triton")[:2]
    assert "optimization is not honoured" in optimization
    assert "model_warmup 'none' did not run" in warm_up
    with pytest.raises(InferenceServerException, match="9 rows"):
        client.output("triton", np.zeros((9, 4, 4), np.float32))


@over_both
def test_a_mistake_in_a_config_is_told_with_its_place(client: Client) -> None:
    (found,) = [each for each in client.read("model_repository_index") if each["name"] == "broken"]
    assert found["state"] == "UNAVAILABLE"
    assert "config.pbtxt: line 2, column 16" in found["reason"]


@over_http
def test_a_model_is_loaded_with_a_configuration_in_tritons_form(client: Client, serve: Serve) -> None:
    config = client.get_model_config("spare") | {"max_batch_size": 3, "model_warmup": [{"name": "w"}]}
    client.load_model("spare", config=json.dumps(config))
    assert client.get_model_config("spare")["max_batch_size"] == 3
    assert notes_of(serve, "spare") == [
        "the config sent with its load: model_warmup is honoured in a config.pbtxt only"
    ]
    client.load_model("spare", config='{"max_batch_size": 4}')
    assert notes_of(serve, "spare") == []
    client.unload_model("spare", unload_dependents=True)
    client.load_model("spare")


@over_both
def test_a_batch_size_that_cannot_be_honoured_names_the_operator(client: Client, serve: Serve) -> None:
    mixing = models.batch_mixing().SerializeToString()
    client.load_model("mixing", config='{"max_batch_size": 8}', files={"file:1/model.onnx": mixing})
    config = client.read("model_config", "mixing")
    assert (int(config.get("max_batch_size", 0)), config["input"][0]["dims"]) == (0, [-1, 4])
    said = "the config sent with its load: max_batch_size 8 is not honoured, requests run one by one: ReduceMean 'mean'"
    assert [note[: len(said)] for note in notes_of(serve, "mixing")] == [said]
    client.unload_model("mixing")


@over_both
def test_a_model_with_its_data_in_a_file_beside_it_is_sent(client: Client, serve: Serve, tmp_path: Path) -> None:
    path = models.save_external(tmp_path / "model.onnx")
    files = {f"file:1/{name}": (tmp_path / name).read_bytes() for name in ("model.onnx", "weights.bin")}
    client.load_model("external", config="{}", files=files)
    assert client.is_model_ready("external")
    assert path.exists() and not list(Path(serve.data_dir).glob("sent-*"))
    client.unload_model("external")
    with pytest.raises(InferenceServerException, match="not beside the model"):
        client.load_model("external", config="{}", files={"file:1/model.onnx": files["file:1/model.onnx"]})


@over_both
def test_errors_reach_the_client_as_they_were_meant(client: Client) -> None:
    for model, name, array, status, said in (
        ("nothing", "x", X, "NOT_FOUND", "unknown model"),
        ("mlp", "z", X, "INVALID_ARGUMENT", "unexpected inference input 'z' for model 'mlp'"),
        ("mlp", "x", X[:, :3], "INVALID_ARGUMENT", "shape"),
        ("mlp", "x", np.zeros((65, 16), np.float32), "INVALID_ARGUMENT", "65 rows"),
    ):
        with pytest.raises(InferenceServerException, match=said) as failed:
            client.infer(model, [client.given(array, name)])
        assert not client.grpc or failed.value.status() == f"StatusCode.{status}"
    with pytest.raises(InferenceServerException, match="unexpected inference output 'z' for model 'mlp'"):
        client.output("mlp", X, outputs=[client.asked("z")])


@over_both
def test_the_path_of_the_data_folder_stays_the_services_own(client: Client, serve: Serve) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("bad", files={"file:1/model.onnx": b"no model"})
    assert str(Path(serve.data_dir)) not in str(caught.value)


@over_http
def test_tritonclient_writes_into_the_headers_that_it_is_given(client: Client) -> None:
    """As docs/http.md warns; where this fails, the warning may go."""
    headers = dict(client.headers)
    client.plain.infer("mlp", [client.given(X)], headers=headers)
    assert headers.keys() - client.headers.keys() == {"Inference-Header-Content-Length"}


@over_both
def test_of_cuda_shared_memory_there_is_none(client: Client) -> None:
    assert not client.read("cuda_shared_memory_status")
    client.unregister_cuda_shared_memory()
    client.unregister_cuda_shared_memory("r")
    with pytest.raises(InferenceServerException, match="Unable to find cuda shared memory region"):
        client.read("cuda_shared_memory_status", "r")
    with pytest.raises(InferenceServerException, match="failed to register CUDA shared memory region"):
        client.register_cuda_shared_memory("r", b"aGFuZGxl", 0, 64)


async def test_the_asyncio_client_manages_models_and_infers(serve: Serve) -> None:
    token = {"Authorization": f"Bearer {serve.token}"}
    async with tritonclient.http.aio.InferenceServerClient(serve.address) as client:
        await client.unload_model("spare", headers=dict(token))
        assert not await client.is_model_ready("spare", headers=dict(token))
        await client.load_model("spare", headers=dict(token))
        index = await client.get_model_repository_index(headers=dict(token))
        assert {"name": "spare", "version": "1", "state": "READY", "reason": ""} in index
        await client.unregister_cuda_shared_memory(headers=dict(token))
        x = np.array([[1, 2, np.nan, 4]], np.float32)
        for binary in (True, False):
            given = tritonclient.http.InferInput("x", [1, 4], "FP32")
            given.set_data_from_numpy(x, binary_data=binary)
            asked = [tritonclient.http.InferRequestedOutput("y", binary_data=binary)]
            result = await client.infer("spare", [given], outputs=asked, headers=dict(token))
            np.testing.assert_array_equal(result.as_numpy("y"), x)
