"""What is told of a file by a process that the file may have taken over is believed only where it makes sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import models
from workbench.errors import ModelError, UntrustedModel
from workbench.repository.inspection import MAX_BYTES, ExternalData, Inspection, decode
from workbench.repository.onnx_file import inspect_onnx
from workbench.repository.validate import inspect_model

SHA = "a" * 64


def told(**more: Any) -> bytes:
    return json.dumps({"content": SHA, **more}).encode()


def test_an_inspection_comes_back_as_it_was(tmp_path: Path) -> None:
    for number, proto in enumerate((models.mlp(), models.branch(), models.function_call())):
        found = inspect_onnx(models.save(proto, tmp_path / f"{number}.onnx"))
        assert decode(msgspec.json.encode(found)) == found
        assert found.graph.operators


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"\xff",
        b"[" * 100_000,
        told() + b" " * MAX_BYTES,
        json.dumps({"identity": SHA}).encode(),
        told(content="../" + "a" * 61),
        told(content=SHA.upper()),
        told(identity="a"),
        told(opset=2**63),
        told(opset=1.5),
        told(graph={"operators": {"Gemm": -1}}),
        told(graph={"operators": {"G" * 70_000: 1}}),
        told(graph={"batch": {"verdict": "sure"}}),
        told(graph={"batch": {"reason": "r" * 70_000}}),
        told(graph={"batch": {"hints": {"x": {"constants": ["a"]}}}}),
        told(external=[{"location": f"{number}.bin", "tensor": "w"} for number in range(10_001)]),
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="makes no sense"):
        decode(data)


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret.bin", "C:\\x", "", "a\0b", "*/_ORT_MEM_ADDR_/*"])
def test_data_that_it_names_elsewhere_are_not_opened(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    path = models.save(models.mlp(), tmp_path / "model" / "m.onnx")

    def taken_over(path: Path, content: str) -> Inspection:
        return decode(told(content=content, external=[{"location": location, "tensor": "w"}]))

    with pytest.raises(UntrustedModel):
        inspect_model(path, taken_over)


def test_it_cannot_give_a_file_the_digest_of_another(tmp_path: Path) -> None:
    path = models.save(models.mlp(), tmp_path / "m.onnx")
    mine = inspect_model(path).digest
    found = inspect_model(path, lambda path, content: Inspection(content, SHA, external=()))
    assert (found.digest, found.identity) == (mine, SHA)
    with pytest.raises(ModelError, match="changed while it was read"):
        inspect_model(path, lambda path, content: Inspection(SHA))


def test_data_beside_a_model_are_hashed_here_whatever_was_told(tmp_path: Path) -> None:
    path = models.save_external(tmp_path / "m.onnx")
    honest = inspect_model(path)

    def short(path: Path, content: str) -> Inspection:
        return Inspection(content, external=(ExternalData("weights.bin", "w", 17),))

    with pytest.raises(ModelError, match="ends at byte 17, and its file has 16"):
        inspect_model(path, short)
    before = honest.digest
    (tmp_path / "weights.bin").write_bytes(b"\1" * 16)
    assert inspect_model(path).digest != before
