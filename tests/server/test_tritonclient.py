"""The unmodified tritonclient[http] against the real service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests import models
from tests.helpers.service_process import Serve

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
    for name, model in {
        "mlp": models.mlp(),
        "two": models.two_in_two_out(),
        "text": models.identity("BYTES"),
        "half": models.identity("FP16"),
        "spare": models.identity(),
    }.items():
        models.save(model, repository / name / "1" / "model.onnx")
    models.save(models.mlp(), repository / "triton" / "2" / "net.onnx")
    (repository / "triton" / "config.pbtxt").write_text(CONFIG)
    (repository / "triton" / "labels.txt").write_text("cat\ndog\n")
    models.save(models.mlp(), repository / "broken" / "1" / "model.onnx")
    (repository / "broken" / "config.pbtxt").write_text("name: 'broken'\nmax_batch_size 8\n")
    with Serve(folder, "--model-repository", str(repository)) as serve:
        yield serve.ready()


def notes_of(serve: Serve, model: str) -> list[str]:
    _, body = serve.call("GET", f"/control/models/{model}")
    notes: list[str] = json.loads(body)[0]["notes"]
    return notes


class Client:
    """tritonclient with the token in each call's headers, which is the only way it takes one."""

    def __init__(self, serve: Serve) -> None:
        self.plain = InferenceServerClient(serve.address)
        self.headers = {"Authorization": f"Bearer {serve.token}"}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.plain, name)
        # A copy for each: tritonclient writes the length of a binary body's JSON into the dict that it is given.
        return lambda *args, **kwargs: call(*args, headers=dict(self.headers), **kwargs)


@pytest.fixture
def client(serve: Serve) -> Iterator[Client]:
    client = Client(serve)
    yield client
    client.plain.close()


def given(name: str, array: Any, datatype: str, binary: bool = True) -> InferInput:
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_health_needs_no_token(client: Client) -> None:
    assert client.plain.is_server_live()
    assert client.plain.is_server_ready()
    with pytest.raises(InferenceServerException, match="token"):
        client.plain.get_server_metadata()


def test_metadata(client: Client) -> None:
    assert client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("mlp")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}]
    assert metadata["versions"] == ["1"]
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("nothing")


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_inference_in_json_and_binary(client: Client, binary_input: bool, binary_output: bool) -> None:
    x = np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 16)
    expected = client.infer("mlp", [given("x", x, "FP32")]).as_numpy("y")
    assert expected.shape == (3, 16)
    result = client.infer(
        "mlp",
        [given("x", x, "FP32", binary_input)],
        outputs=[InferRequestedOutput("y", binary_data=binary_output)],
        request_id="seven",
        model_version="1",
    )
    np.testing.assert_allclose(result.as_numpy("y"), expected, rtol=1e-6)
    assert result.get_response()["id"] == "seven"


def test_named_outputs_only(client: Client) -> None:
    metadata = client.get_model_metadata("two")
    inputs = [
        given(
            each["name"], np.ones([2 if size == -1 else size for size in each["shape"]], np.float32), each["datatype"]
        )
        for each in metadata["inputs"]
    ]
    last = metadata["outputs"][-1]["name"]
    everything = client.infer("two", inputs)
    result = client.infer("two", inputs, outputs=[InferRequestedOutput(last)])
    assert [output["name"] for output in result.get_response()["outputs"]] == [last]
    np.testing.assert_array_equal(result.as_numpy(last), everything.as_numpy(last))


@pytest.mark.parametrize("binary", [True, False])
def test_strings(client: Client, binary: bool) -> None:
    x = np.array([["a", "", "ß", "日本"]], dtype=object)
    result = client.infer("text", [given("x", x, "BYTES", binary)])
    assert [text.decode() for text in result.as_numpy("y")[0]] == ["a", "", "ß", "日本"]


def test_half_precision_travels_as_binary(client: Client) -> None:
    x = np.array([[0.5, -2, 65504, 0]], dtype=np.float16)
    np.testing.assert_array_equal(client.infer("half", [given("x", x, "FP16")]).as_numpy("y"), x)


def test_concurrent_inferences(client: Client, serve: Serve) -> None:
    many = InferenceServerClient(serve.address, concurrency=8)
    x = np.arange(16, dtype=np.float32).reshape(1, 16)
    pending = [many.async_infer("mlp", [given("x", x, "FP32")], headers=client.headers) for _ in range(32)]
    answers = [each.get_result().as_numpy("y") for each in pending]
    many.close()
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-5)


def test_the_repository_is_listed_loaded_and_unloaded(client: Client) -> None:
    def state(name: str) -> list[str]:
        return [each["state"] for each in client.get_model_repository_index() if each["name"] == name]

    assert state("spare") == ["READY"]
    client.unload_model("spare")
    assert state("spare") == ["UNAVAILABLE"]
    assert not client.is_model_ready("spare")
    client.load_model("spare")
    assert state("spare") == ["READY"]
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.load_model("nothing")


def test_a_model_is_sent_along_with_its_settings(client: Client) -> None:
    onnx = models.add_constant(2.0).SerializeToString()
    client.load_model("sent", config=json.dumps({"max_batch_size": 8}), files={"file:1/model.onnx": onnx})
    x = np.zeros((1, 4), np.float32)
    np.testing.assert_array_equal(client.infer("sent", [given("x", x, "FP32")]).as_numpy("y"), x + 2)
    client.unload_model("sent")
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.infer("sent", [given("x", x, "FP32")])


def test_statistics_agree_with_metrics_and_with_the_callers_own_count(client: Client, serve: Serve) -> None:
    def stats() -> dict[str, Any]:
        (found,) = client.get_inference_statistics("two", "1")["model_stats"]
        return dict(found)

    before = stats()
    inputs = [
        given(each["name"], np.ones([3 if size == -1 else size for size in each["shape"]], np.float32), "FP32")
        for each in client.get_model_metadata("two")["inputs"]
    ]
    for _ in range(20):
        client.infer("two", inputs)
    with pytest.raises(InferenceServerException):
        client.infer("two", inputs[:1])
    after = stats()
    assert after["inference_count"] - before["inference_count"] == 60
    times = after["inference_stats"]
    assert times["success"]["count"] - before["inference_stats"]["success"]["count"] == 20
    assert times["fail"]["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert sum(each["compute_infer"]["count"] for each in after["batch_stats"]) == after["execution_count"]
    assert (
        sum(each["batch_size"] * each["compute_infer"]["count"] for each in after["batch_stats"])
        == (after["inference_count"])
    )
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
    everything = client.get_inference_statistics()["model_stats"]
    assert {each["name"] for each in everything} >= {"mlp", "two", "text"}
    assert client.get_inference_statistics("two")["model_stats"][0]["name"] == "two"
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.get_inference_statistics("nothing")


def test_a_models_configuration_is_in_tritons_form(client: Client) -> None:
    config = client.get_model_config("mlp", "1")
    assert config["name"] == "mlp" and config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 64
    assert config["input"][0] == {"name": "x", "data_type": "TYPE_FP32", "dims": [16], "optional": False}
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    assert config["instance_group"][0]["kind"] == "KIND_CPU"
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.get_model_config("nothing")


@pytest.mark.parametrize("binary", [True, False])
def test_classes_in_place_of_scores(client: Client, binary: bool) -> None:
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    scores = client.infer("mlp", [given("x", x, "FP32")]).as_numpy("y")
    asked = [InferRequestedOutput("y", binary_data=binary, class_count=3)]
    found = client.infer("mlp", [given("x", x, "FP32")], outputs=asked).as_numpy("y")
    assert found.shape == (2, 3)
    for row, texts in zip(scores, found, strict=True):
        indices = (
            [int(text.decode().split(":")[1]) for text in texts.astype(object)]
            if binary
            else [int(str(text).split(":")[1]) for text in texts]
        )
        assert indices == np.argsort(-row, kind="stable")[:3].tolist()


def test_schedule_parameters_and_those_that_are_reserved(client: Client) -> None:
    x = [given("x", np.zeros((1, 16), np.float32), "FP32")]
    client.infer("mlp", x, priority=1, timeout=5_000_000)
    client.infer("mlp", x, parameters={"anything": "of the caller's own"})
    with pytest.raises(InferenceServerException, match="timeout"):
        client.infer("mlp", x, timeout=1)
    with pytest.raises(InferenceServerException, match="sequences are not served"):
        client.infer("mlp", x, sequence_id=7, sequence_start=True)
    with pytest.raises(InferenceServerException, match="reserved"):
        client.infer("mlp", x, parameters={"triton_anything": 1})


def test_a_raw_request_is_the_input_alone(client: Client, serve: Serve) -> None:
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    expected = client.infer("mlp", [given("x", x, "FP32")]).as_numpy("y")
    status, body = serve.call(
        "POST",
        "/v2/models/mlp/infer",
        x.tobytes(),
        **{"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"},
    )
    assert status == 200
    np.testing.assert_allclose(np.frombuffer(body[-expected.nbytes :], np.float32).reshape(2, 16), expected, rtol=1e-5)
    status, body = serve.call("POST", "/v2/models/two/infer", b"", **{"Inference-Header-Content-Length": "0"})
    assert status == 400 and b"takes 2" in body


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_bodies_travel_compressed(
    client: Client, request_coding: str | None, response_coding: str | None, binary: bool
) -> None:
    x = np.linspace(-1, 1, 64 * 16, dtype=np.float32).reshape(64, 16)
    result = client.infer(
        "mlp",
        [given("x", x, "FP32", binary)],
        outputs=[InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    assert result.as_numpy("y").shape == (64, 16)


def test_a_repository_as_tritons_users_have_it_is_served_as_it_is(client: Client, serve: Serve) -> None:
    config = client.get_model_config("triton")
    assert config["max_batch_size"] == 8
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 100
    assert config["dynamic_batching"]["preferred_batch_size"] == [4, 8]
    assert config["input"][0]["dims"] == [4, 4]
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    asked = [InferRequestedOutput("y", class_count=16)]
    found = [text.decode() for text in client.infer("triton", [given("x", x, "FP32")], outputs=asked).as_numpy("y")[0]]
    assert sum(text.endswith((":0:cat", ":1:dog")) for text in found) == 2
    optimization, warm_up = notes_of(serve, "triton")[:2]
    assert "optimization is not honoured" in optimization
    assert "model_warmup 'none' did not run" in warm_up
    with pytest.raises(InferenceServerException, match="9 rows"):
        client.infer("triton", [given("x", np.zeros((9, 4, 4), np.float32), "FP32")])


def test_a_mistake_in_a_config_is_told_with_its_place(client: Client) -> None:
    (found,) = [each for each in client.get_model_repository_index() if each["name"] == "broken"]
    assert found["state"] == "UNAVAILABLE"
    assert "config.pbtxt: line 2, column 16" in found["reason"]


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


def test_a_model_with_its_data_in_a_file_beside_it_is_sent(client: Client, serve: Serve, tmp_path: Path) -> None:
    path = models.save_external(tmp_path / "model.onnx")
    files = {f"file:1/{name}": (tmp_path / name).read_bytes() for name in ("model.onnx", "weights.bin")}
    client.load_model("external", config="{}", files=files)
    assert client.is_model_ready("external")
    assert path.exists() and not list(Path(serve.data_dir).glob("sent-*"))
    client.unload_model("external")
    with pytest.raises(InferenceServerException, match="not beside the model"):
        client.load_model("external", config="{}", files={"file:1/model.onnx": files["file:1/model.onnx"]})


def test_errors_reach_the_client_as_they_were_meant(client: Client) -> None:
    x = np.zeros((1, 16), np.float32)
    for model, name, array, said in (
        ("nothing", "x", x, "unknown model"),
        ("mlp", "z", x, "'z' unknown"),
        ("mlp", "x", x[:, :3], "shape"),
        ("mlp", "x", np.zeros((65, 16), np.float32), "65 rows"),
    ):
        with pytest.raises(InferenceServerException, match=said):
            client.infer(model, [given(name, array, "FP32")])
    with pytest.raises(InferenceServerException, match="no output 'z'"):
        client.infer("mlp", [given("x", x, "FP32")], outputs=[InferRequestedOutput("z")])


def test_the_path_of_the_data_folder_stays_the_services_own(client: Client, serve: Serve) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("bad", files={"file:1/model.onnx": b"no model"})
    assert str(Path(serve.data_dir)) not in str(caught.value)


def test_tritonclient_writes_into_the_headers_that_it_is_given(client: Client) -> None:
    """As docs/http.md warns; where this fails, the warning may go."""
    headers = dict(client.headers)
    client.plain.infer("mlp", [given("x", np.zeros((1, 16), np.float32), "FP32")], headers=headers)
    assert headers.keys() - client.headers.keys() == {"Inference-Header-Content-Length"}
