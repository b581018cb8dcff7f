from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.errors import InvalidInput, Unsupported
from workbench.protocols.metadata import (
    RepositoryLoad,
    decode_index_request,
    decode_repository_load,
    model_metadata,
    repository_index,
    server_metadata,
)


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
    assert json.loads(server_metadata("1.2"))["version"] == "1.2"


def test_the_index_names_each_version() -> None:
    found = json.loads(repository_index([("mlp", "1", "READY", "")]))
    assert found == [{"name": "mlp", "version": "1", "state": "READY", "reason": ""}]
    assert decode_index_request(b'{"ready": true}') and not decode_index_request(b"")


def test_a_load_may_bring_settings_and_a_model() -> None:
    assert decode_repository_load(b"") == decode_repository_load(b"{}") == RepositoryLoad()
    sent = load(**{"config": '{"instances": 2}', "file:3/model.onnx": base64.b64encode(b"onnx").decode()})
    assert decode_repository_load(sent) == RepositoryLoad({"instances": 2}, "3", b"onnx")


@pytest.mark.parametrize(
    ("sent", "kind", "message"),
    [
        (b"[]", InvalidInput, "not what this route takes"),
        (b"[" * 100_000, InvalidInput, "not what"),
        (b'{"z":' + b"[" * 100_000, InvalidInput, "too deep"),
        (b'{"parameters":{"\xff":1}}', InvalidInput, "not what"),
        (load(config=1), InvalidInput, "JSON in a string"),
        (load(config="{"), InvalidInput, "not what"),
        (load(**{"file:1/model.onnx": "?"}), InvalidInput, "not base64"),
        (load(**{"file:0/model.onnx": ""}), InvalidInput, "version"),
        (load(**{"file:../model.onnx": ""}), InvalidInput, "version"),
        (load(**{"file:1/other.onnx": ""}), InvalidInput, "cannot be loaded"),
        (load(unknown=1), Unsupported, "unknown"),
    ],
)
def test_a_bad_load_is_refused(sent: bytes, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        decode_repository_load(sent)
