from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workbench.config import ModelConfig
from workbench.core.circuit import Circuit, CircuitState
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.errors import InvalidInput, TooLarge, WorkbenchError
from workbench.protocols import control

STATUS = ModelStatus(
    "digits",
    "3",
    ModelState.READY,
    platform="onnxruntime_onnx",
    device="cpu",
    signature=Signature((TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "INT64", (-1,)),)),
    config=ModelConfig(max_batch_size=8),
    routed=True,
    max_batch_size=8,
    batching="batched: proved",
    execution="on one runner thread",
    digest="ab" * 32,
    size_bytes=123,
    loaded_at=1.5,
    load_s=0.25,
    queued=2,
    circuit=Circuit(CircuitState.OPEN, "of the last 20 calls 20 failed", 1),
    notes=("a note",),
)
FAILED = ModelStatus("bad", "1", ModelState.FAILED, reason="corrupt")


COLUMNS = replace(
    STATUS,
    signature=Signature(
        (
            TensorSpec("age", "FP32", (-1, 1), missing="NaN", columns=("age",)),
            TensorSpec("city", "BYTES", (-1, 1), missing="<NA>"),
        ),
        (),
        ignored=("id",),
    ),
)


@pytest.mark.parametrize("status", [STATUS, FAILED, COLUMNS])
def test_a_status_survives_the_wire(status: ModelStatus) -> None:
    assert control.decode_status(json.loads(json.dumps(control.encode_status(status)))) == status


def test_what_a_load_came_to_survives_the_wire() -> None:
    sent = json.loads(json.dumps(control.encode_load(STATUS, False, "2", 0.5, True)))
    assert control.decode_load(sent) == control.LoadAnswer(STATUS, False, "2", 0.5, True)


def test_fields_of_a_newer_service_are_passed_over() -> None:
    sent = control.encode_status(STATUS)
    sent["mood"] = "good"
    sent["config"]["turbo"] = True
    assert control.decode_status(sent) == STATUS


@pytest.mark.parametrize("found", [None, [], {"name": "x"}, {"name": 1, "version": "1", "state": "Ready"}])
def test_an_answer_that_is_no_status_is_an_error_of_ours(found: object) -> None:
    with pytest.raises(WorkbenchError, match="could not be read"):
        control.decode_status(found)


def test_an_unknown_state_is_said() -> None:
    with pytest.raises(WorkbenchError, match="'Dreaming'"):
        control.decode_status({"name": "x", "version": "1", "state": "Dreaming"})


def test_request_bodies_are_read_with_their_defaults() -> None:
    assert control.decode_load_request(b'{"path": "/m.onnx"}') == control.LoadRequest("/m.onnx", {}, False)
    assert control.decode_commit_request(b"") == control.CommitRequest(False)
    assert control.decode_settings(b'{"instances": 2, "device": "cpu"}') == {"instances": 2, "device": "cpu"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"path": "\xff"}', "not JSON"),
        (b"{}", "path"),
        (b'{"path": 3}', "Expected str, got int"),
        (b'{"path": "x", "conifg": {}}', "conifg"),
        (b'{"path": "x", "config": ' + b"[" * 60_000, "does not fit"),
        (b'{"path": "x", "config": {"a": {"b": 1}}}', "does not fit"),
    ],
)
def test_a_bad_body_is_told_what_does_not_fit(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        control.decode_load_request(body)


def test_json_of_the_control_plane_has_a_cap() -> None:
    assert control.decode_settings(b"{}" + b" " * 60_000) == {}
    with pytest.raises(TooLarge, match="at most 65536 bytes, got 70002"):
        control.decode_settings(b"{}" + b" " * 70_000)
