from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.errors import InvalidInput, ModelError, TooLarge, Unsupported
from workbench.protocols import metadata
from workbench.protocols.metadata import (
    RepositoryLoad,
    decode_index_request,
    decode_repository_load,
    decode_repository_unload,
    decode_status,
    model_metadata,
    repository_index,
    server_metadata,
)
from workbench.protocols.model_config_body import triton_config


def load(**parameters: Any) -> bytes:
    return json.dumps({"parameters": parameters}).encode()


def test_a_models_metadata_is_its_signature() -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1, 16)),), (TensorSpec("y", "FP32", (-1, 16)),))
    status = ModelStatus("mlp", "2", ModelState.READY, platform="onnxruntime_onnx", signature=signature)
    assert json.loads(model_metadata(status, ["1", "2"])) == {
        "name": "mlp",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 16]}],
    }
    assert json.loads(server_metadata("triton", "1.2"))["version"] == "1.2"


def test_a_status_comes_back_as_far_as_metadata_and_configuration_have_it() -> None:
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, 2), True, "NaN", ("a", "b")), TensorSpec("any", "BYTES", (), False)),
        (TensorSpec("y", "FP32", (-1, 3)),),
        ("id",),
    )
    labels = {"y": ("one", "two", "three")}
    told = ModelStatus(
        "m", "2", ModelState.READY, platform="p", signature=signature, max_batch_size=8, labels=labels, epoch="e"
    )
    found, config = json.loads(model_metadata(told, ["1", "2"])), triton_config(told)
    assert decode_status(found, config) == replace(told, routed=True)
    assert decode_status(found, config, "1") == replace(told, version="1")
    for other in ({}, {"name": "m", "inputs": 3}, {"name": "m", "inputs": [{"name": "x"}]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            decode_status(other, {})


def test_the_index_names_each_version() -> None:
    found = json.loads(repository_index([("mlp", "1", "READY", "")]))
    assert found == [{"name": "mlp", "version": "1", "state": "READY", "reason": ""}]
    assert decode_index_request(b'{"ready": true}') and not decode_index_request(b"")


def test_a_load_may_bring_settings_and_a_model() -> None:
    assert decode_repository_load(b"", "m") == decode_repository_load(b"{}", "m") == RepositoryLoad()
    sent = load(**{"config": '{"instances": 2}', "file:3/model.onnx": base64.b64encode(b"onnx").decode()})
    assert decode_repository_load(sent, "m") == RepositoryLoad({"instances": 2}, "3", b"onnx")


def test_a_configuration_may_be_in_tritons_form_and_in_both() -> None:
    config = {
        "max_batch_size": 8,
        "dynamicBatching": {"maxQueueDelayMicroseconds": "100", "preferred_batch_size": [4]},
        "instance_group": [{"count": 2}],
        "model_warmup": [{"name": "w"}],
        "input": [{"name": "x", "dims": [2, 2], "reshape": {"shape": [4]}}],
        "runners": "latency",
    }
    found = decode_repository_load(load(config=json.dumps(config)), "m")
    assert found.settings == {
        "max_batch_size": 8,
        "max_queue_delay_s": 0.0001,
        "preferred_batch_sizes": [4],
        "instances": 2,
        "device": "auto",
        "runners": "latency",
    }
    warm_up, reshape = found.notes
    assert "model_warmup" in warm_up and "reshape" in reshape


def test_files_that_hold_a_models_data_may_come_with_it() -> None:
    files = {"file:1/model.onnx": b"onnx", "file:1/weights.bin": b"data"}
    sent = load(**{name: base64.b64encode(content).decode() for name, content in files.items()})
    found = decode_repository_load(sent, "m")
    assert (found.model, found.beside) == (b"onnx", {"weights.bin": b"data"})


def test_an_unload_may_say_what_is_to_become_of_dependents() -> None:
    decode_repository_unload(b"")
    decode_repository_unload(load(unload_dependents=True))
    for wrong in (load(unload_dependents=1), load(other=True), b"[]"):
        with pytest.raises(InvalidInput):
            decode_repository_unload(wrong)


@pytest.mark.parametrize(
    ("sent", "kind", "message"),
    [
        (b"[]", InvalidInput, "not what this route takes"),
        (b"[" * 4000, InvalidInput, "not what"),
        (b'{"z":' + b"[" * 4000, InvalidInput, "too deep"),
        (b'{"parameters":{"\xff":1}}', InvalidInput, "not what"),
        (load(config=1), InvalidInput, "JSON in a string"),
        (load(config="{"), InvalidInput, "not what"),
        (load(**{"file:1/model.onnx": "?"}), InvalidInput, "not base64"),
        (load(**{"file:0/model.onnx": ""}), InvalidInput, "version"),
        (load(**{"file:../model.onnx": ""}), InvalidInput, "version"),
        (load(**{"file:1/other.onnx": ""}), InvalidInput, r"no file:1/model\.onnx"),
        (load(**{"file:1/a/model.onnx": ""}), InvalidInput, "cannot be loaded"),
        (load(**{"file:1/.": ""}), InvalidInput, "cannot be loaded"),
        (load(**{"file:config.pbtxt": ""}), InvalidInput, "cannot be loaded"),
        (load(**{"file:1/model.onnx": "", "file:2/model.onnx": ""}), InvalidInput, "one version"),
        (load(config='{"max_batchsize": 8}'), InvalidInput, "no setting 'max_batchsize'"),
        (load(config='{"backend": "python"}'), ModelError, "python"),
        (load(config='{"input": 1}'), InvalidInput, "must be a message"),
        (load(config='{"x":' + "[" * 5000 + "]" * 5000 + "}"), InvalidInput, "too deep"),
        (load(unknown=1), Unsupported, "unknown"),
        (load(allow_code="false"), InvalidInput, "allow_code must be true or false"),
    ],
)
def test_a_bad_load_is_refused(sent: bytes, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        decode_repository_load(sent, "m")


@pytest.mark.parametrize("size", range(14))
def test_a_file_is_decoded_in_steps(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "_BASE64_STEP", 8)
    content = bytes(range(size))
    text = base64.b64encode(content).decode()
    asked = decode_repository_load(json.dumps({"parameters": {"file:1/model.onnx": text}}).encode(), "m")
    assert asked.model == content
    # Neither a step nor a file may end within.
    for wrong in (f"YQ=={text}YQ==", f"YWE={text}YWE=", text + "a", f"{text} "):
        with pytest.raises(InvalidInput, match="is not base64"):
            decode_repository_load(json.dumps({"parameters": {"file:1/model.onnx": wrong}}).encode(), "m")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"parameters":{"config":"{' + b" " * (1 << 20) + b'}"}}', "262144 are the most"),
        (b'{"parameters":{' + b",".join(b'"%x":1' % at for at in range(5000)) + b"}}", "more than 4096 values"),
        (b'{"z":[' + b"[]," * 10_000 + b"1]}", "more than 4096 values"),
    ],
)
def test_a_load_that_is_too_wide_is_refused_before_it_is_decoded(body: bytes, said: str) -> None:
    with pytest.raises(TooLarge, match=said):
        decode_repository_load(body, "m")
