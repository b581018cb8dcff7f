"""Models and shapes that users have beside the usual ones, over every way: served, or refused in true words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.server.real_service import serving
from tests.server.triton_clients import Client
from workbench.api import connect
from workbench.core.tensor import Array
from workbench.errors import InvalidInput


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    served = {
        "wide": models.columns(300),
        "mlp": models.mlp(),
        "text": models.strings(),
        "lstm": models.lstm(steps="steps"),
        "mixing": models.batch_mixing(),
        "refusing": models.refusing_no_rows(),
        "zipped": models.zipmap(),
        "labelled": models.zipmap(),
        "newer": models.stamped(models.external()),
        "unranked": models.unranked(),
        "lookup": models.lookup(),
    }
    folder = tmp_path_factory.mktemp("service")
    repository = folder / "repository"
    models.save_external(repository / "newer" / "1" / "model.onnx")
    (repository / "saved" / "1").mkdir(parents=True)
    models.ort_format(models.identity(), repository / "saved" / "1" / "model.ort")
    (repository / "labelled").mkdir()
    (repository / "labelled" / "config.pbtxt").write_text('output [ { name: "chances" label_filename: "labels.txt" } ]')
    (repository / "labelled" / "labels.txt").write_text("Katze\nHund\n")
    with serving(folder, served) as serve:
        yield serve


@pytest.fixture(params=["HTTP", "gRPC", "HTTP, JSON"])
def client(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Client]:
    client = Client(serve, request.param)
    yield client
    client.plain.close()


def test_max_tensors_follows_a_model_with_more_inputs_than_it_says(client: Client) -> None:
    columns = [client.given(np.full((2, 1), n, np.float32), f"column_{n}") for n in range(300)]
    found = client.infer("wide", columns).as_numpy("y")
    assert found.tolist() == [[float(n) for n in range(300)]] * 2


def test_more_inputs_than_the_model_has_are_too_many_all_the_same(client: Client) -> None:
    columns = [client.given(np.zeros((1, 1), np.float32), f"column_{n}") for n in range(301)]
    with pytest.raises(Exception, match="max_tensors is 300"):
        client.infer("wide", columns)
    with pytest.raises(Exception, match="max_tensors is 256"):
        client.infer("unknown", columns)


WITHOUT_ROWS = {
    "a row-wise model": ("mlp", "x", np.zeros((0, 16), np.float32), "y", (0, 16)),
    "texts of any number": ("text", "text", np.zeros((0, 5), np.object_), "joined", (0, 5)),
    "a model whose operator would end the process": ("lstm", "x", np.zeros((0, 4, 3), np.float32), "y", (0, 2)),
    "an unbatched model": ("mixing", "x", np.zeros((0, 4), np.float32), "y", (0, 4)),
    "an unbatched model that refuses them": ("refusing", "x", np.zeros((0, 4), np.float32), "y", (0, 4)),
}


@pytest.mark.parametrize(("model", "name", "sent", "output", "shape"), WITHOUT_ROWS.values(), ids=WITHOUT_ROWS)
def test_no_rows_are_answered_with_no_rows(
    client: Client, model: str, name: str, sent: Array, output: str, shape: tuple[int, ...]
) -> None:
    answer = client.infer(model, [client.given(sent, name)], outputs=[client.asked(output)])
    assert client.response(answer)["outputs"][0]["shape"] == list(shape)
    assert answer.as_numpy(output).shape == shape


def test_no_rows_have_no_classes(client: Client) -> None:
    answer = client.infer("mlp", [client.given(np.zeros((0, 16), np.float32))], outputs=[client.asked(class_count=3)])
    assert answer.as_numpy("y").shape == (0, 3)


def test_a_sequence_without_steps_is_refused_and_ends_nothing(client: Client, serve: Serve) -> None:
    worker = worker_of(serve).pid
    with pytest.raises(Exception, match=r"'x' of shape \[2, 0, 3\] has no elements"):
        client.infer("lstm", [client.given(np.zeros((2, 0, 3), np.float32))])
    assert worker_of(serve).pid == worker


def test_a_raw_body_of_no_bytes_is_no_rows(serve: Serve) -> None:
    headers = {"Inference_Header_Content_Length": "0", "Content_Type": "application/octet-stream"}
    status, body = serve.call("POST", "/v2/models/mlp/infer", b"", **headers)
    assert (status, b'"shape":[0,16]' in body) == (200, True)


def test_no_rows_are_no_rows_in_python(serve: Serve) -> None:
    with connect(f"http://{serve.address}", serve.token) as wb:
        found = wb.predict("mlp", np.zeros((0, 16), np.float32))
        assert found["y"].shape == (0, 16)
        assert wb.predict("mlp", pd.DataFrame(np.zeros((0, 16)))).to_pandas().shape == (0, 16)


def test_a_zipmaps_classes_are_the_labels_of_its_columns(client: Client) -> None:
    x = np.array([[0.25, 0.75], [0.5, 0.125]], np.float32)
    answer = client.infer("zipped", [client.given(x)], outputs=[client.asked("chances"), client.asked("best")])
    assert answer.as_numpy("chances").tolist() == x.tolist()
    asked = client.asked("chances", class_count=1)
    found = client.infer("zipped", [client.given(x)], outputs=[asked]).as_numpy("chances")
    assert found.astype(bytes).tolist() == [[b"0.750000:1:dog"], [b"0.500000:0:cat"]]
    labelled = client.infer("labelled", [client.given(x)], outputs=[asked]).as_numpy("chances")
    assert labelled.astype(bytes).tolist() == [[b"0.750000:1:Hund"], [b"0.500000:0:Katze"]]


def test_newer_files_are_answered_and_say_what_was_done(client: Client, serve: Serve) -> None:
    assert client.output("newer", np.zeros((1, 4), np.float32)).tolist() == [models.EXTERNAL_WEIGHTS.tolist()]
    status = one_status(serve, "newer")
    assert status["notes"][0].startswith("Its file says IR version 14 and opset 28")
    assert status["batching"].startswith("batched")
    folder = serve.data_dir.parent / "repository" / "newer" / "1"
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "weights.bin"]
    assert onnx.load(folder / "model.onnx", load_external_data=False).opset_import[0].version == 28


def test_a_model_in_onnx_runtimes_own_format_is_served_from_a_repository(client: Client) -> None:
    assert client.output("saved", np.ones((2, 4), np.float32)).tolist() == [[1.0] * 4] * 2


def test_a_model_in_that_format_is_served_from_a_path_and_from_bytes(serve: Serve, tmp_path: Path) -> None:
    path = models.ort_format(models.add_constant(3.0), tmp_path / "three.ort")
    x = np.zeros((1, 4), np.float32)
    with connect(f"http://{serve.address}", serve.token) as wb:
        for name, source in (("by-path", path), ("by-bytes", path.read_bytes())):
            wb.load(name, source)
            assert wb.predict(name, x)["y"].tolist() == [[3.0] * 4]
            assert wb[name].status.platform == "onnxruntime_onnx"
            assert not {"operators", "parameters", "opset"} & wb.show(name).facts.keys()  # nobody knows them
            wb.unload(name)
    serve.call("POST", "/control/models/by-server/load", {"path": str(path)})
    assert one_status(serve, "by-server")["state"] == "Ready"


def one_status(serve: Serve, model: str) -> dict[str, Any]:
    _, body = serve.call("GET", f"/control/models/{model}")
    (status,) = json.loads(body)
    found: dict[str, Any] = status
    return found


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 3, 1), (0, 3)], ids=str)
def test_an_input_of_unknown_rank_takes_any_shape(client: Client, shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = client.output("unranked", x)
    assert (found.shape, found.tolist()) == (shape, x.tolist())


def test_an_unknown_rank_is_told_as_one_free_axis(client: Client) -> None:
    assert client.read("model_metadata", "unranked")["inputs"][0]["shape"] == [-1]
    (tensor,) = client.read("model_config", "unranked")["input"]
    assert tensor["dims"] == [-1] and "reshape" not in tensor


def test_an_unknown_rank_is_known_in_python_and_asks_for_real_inputs(serve: Serve) -> None:
    with connect(f"http://{serve.address}", serve.token) as wb:
        assert wb.predict("unranked", np.ones((2, 3), np.float32))["y"].tolist() == [[1.0] * 3] * 2
        assert wb.predict("unranked", 5.0)["y"].tolist() == 5.0
        status = wb["unranked"].status
        assert status.batching.startswith("unbatched: the file does not say how many axes input 'x' has")
        assert "x FP32[...]" in str(wb.show("unranked"))
        with pytest.raises(InvalidInput, match=r"how many axes input 'x' has.*give real inputs"):
            wb.bench("unranked", rate=10, duration=1)
    headers = {"Inference_Header_Content_Length": "0", "Content_Type": "application/octet-stream"}
    status_code, body = serve.call("POST", "/v2/models/unranked/infer", b"\0" * 8, **headers)
    assert status_code == 400 and b"takes any shape" in body


def test_of_many_at_once_only_the_one_at_fault_gets_the_operators_words(serve: Serve) -> None:
    with connect(f"http://{serve.address}", serve.token) as wb:
        assert wb["lookup"].status.batching.startswith("batched")
        jobs = [wb.submit("lookup", np.array([[n % 4 if n != 13 else 9]])) for n in range(32)]
        for n, job in enumerate(jobs):
            if n == 13:
                with pytest.raises(InvalidInput, match=r"refused this input: Gather 'table': .*idx=9 must be within"):
                    job.result(timeout=30)
            else:
                assert job.result(timeout=30)["y"].tolist() == [[float(n % 4)]]


def test_a_complaint_about_data_has_the_status_of_a_bad_request(client: Client, serve: Serve) -> None:
    with pytest.raises(Exception, match=r"Gather 'table': indices element out of data bounds, idx=9") as caught:
        client.infer("lookup", [client.given(np.array([[9]]))])
    assert str(getattr(caught.value, "status", lambda: "")()) in ("400", "StatusCode.INVALID_ARGUMENT")
