from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.helpers.function_files import function_spec, save_function
from workbench.core.batch_proof import Verdict
from workbench.core.runtime import PYTHON, runtime_of_content
from workbench.errors import ModelError
from workbench.functions.function_bundle import ValueSpec, bundle, read_spec
from workbench.repository.function_file import inspect_function
from workbench.repository.validate import inspect_model

TEXT = "def predict(x):\n    return x"


def test_a_bundle_is_known_by_its_mark_and_says_the_same_of_the_same_function(tmp_path: Path) -> None:
    spec = function_spec()
    data = bundle(spec, [TEXT], [np.ones(3)])
    assert data == bundle(spec, [TEXT], [np.ones(3)])
    assert runtime_of_content(data[:64]) is PYTHON
    assert read_spec(io.BytesIO(data)) == spec
    found = inspect_model(save_function(tmp_path / "model.function", TEXT))
    assert found.graph.batch.verdict is Verdict.DEPENDENT
    by_rows = save_function(tmp_path / "rows.function", TEXT, function_spec(rows=True))
    assert inspect_function(by_rows).graph.batch.declared


def _repacked(data: bytes, change: Callable[[dict[str, bytes]], None], kind: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    change(members)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


def _first(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        said = msgspec.json.decode(members["workbench-function"])
        members["workbench-function"] = msgspec.json.encode({**said, **changes})

    return change


@pytest.mark.parametrize(
    "data",
    [
        b"PK",
        bundle(function_spec(), [TEXT], [])[:-30],
        bundle(function_spec(), [], []),
        bundle(function_spec(), [TEXT, TEXT], []),
        bundle(replace(function_spec(), outputs=()), [TEXT], []),
        bundle(replace(function_spec(), entry="a b"), [TEXT], []),
        bundle(replace(function_spec(), format=2), [TEXT], []),
        bundle(function_spec((ValueSpec("x", "FP31"),)), [TEXT], []),
        bundle(function_spec((ValueSpec("x", "FP32", (-2,)),)), [TEXT], []),
        bundle(function_spec((ValueSpec("x", "FP32"),) * 2), [TEXT], []),
        _repacked(bundle(function_spec(), [TEXT], []), lambda members: members.update({"../evil": b""})),
        _repacked(bundle(function_spec(), [TEXT], []), lambda members: members.update({"values/1.npy": b""})),
        _repacked(bundle(function_spec(), [TEXT], []), lambda members: None, zipfile.ZIP_DEFLATED),
        _repacked(bundle(function_spec(), [TEXT], []), _first(inputs=3)),
        _repacked(bundle(function_spec(), [TEXT * 200_000], []), lambda members: None),
    ],
    ids=range(15),
)
def test_what_no_version_writes_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_spec(io.BytesIO(data))
