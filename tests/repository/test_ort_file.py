from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests import models
from workbench.errors import ModelError
from workbench.repository.store import ModelStore
from workbench.repository.validate import inspect_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.ort_format(models.mlp(), tmp_path / "net.ort")


def test_a_file_of_onnx_runtimes_own_format_is_known_by_its_bytes(path: Path) -> None:
    found = inspect_model(path)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.size_bytes, found.operators) == (path.stat().st_size, set())


def test_it_is_stored_under_its_own_name_also_where_it_came_as_bytes(path: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    uploaded = store.add_bytes(path.read_bytes())
    assert uploaded.path == store.root / uploaded.digest / "model.ort"
    assert store.add_file(path) == uploaded == store.get(uploaded.digest)


@pytest.mark.parametrize("content", [b"ORTM", b"\x18\0\0\0ORTX", models.mlp().SerializeToString()])
def test_another_file_of_that_name_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.ort"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no model in ONNX Runtime's own format"):
        inspect_model(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        inspect_model(tmp_path / "net.ort")
    (tmp_path / "folder.ort").mkdir()
    with pytest.raises(ModelError, match="no regular file"):
        inspect_model(tmp_path / "folder.ort")
