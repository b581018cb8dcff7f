"""What a caller may name to be loaded, and what becomes of paths that lead to no file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests import models
from workbench.engine.sources import Sources
from workbench.errors import InvalidInput
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(ModelStore(tmp_path / "store"), [LocalRepository(tmp_path / "root")])


def test_files_and_folders_of_either_layout_are_found(sources: Sources, tmp_path: Path) -> None:
    file = tmp_path / "digits" / "3" / "model.onnx"
    models.save(models.identity(), file)
    found = [sources.find("x", path) for path in (file, file.parent, file.parent.parent)]
    assert len({each.source.digest for each in found}) == 1
    assert [each.version for each in found] == [None, None, "3"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.onnx", "there is no file"),
        ("file.onnx/model.onnx", "there is no file"),
        ("nul\0.onnx", "there is no file"),
        ("a" * 5000, "File name too long"),
        ("circle", "symbolic links"),
        ("pipe", "is no regular file"),
        ("zeros", "is no regular file"),
        ("holds-a-pipe", "is no regular file"),
        ("empty", "the folder 'empty' holds no model.onnx or model.ort"),
        ("notes.zip", "the zip holds no model.onnx or model.ort"),
    ],
)
def test_a_path_that_leads_to_no_model_is_refused_at_once(
    sources: Sources, tmp_path: Path, path: str, message: str
) -> None:
    for folder in ("empty", "holds-a-pipe"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file.onnx").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "a")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for pipe in ("pipe", "holds-a-pipe/model.onnx"):
        os.mkfifo(tmp_path / pipe)
    with pytest.raises(InvalidInput) as caught:
        sources.find("x", tmp_path / path)
    assert message in caught.value.message
    assert len(caught.value.message) < 400


def test_one_model_is_looked_up_without_reading_the_others(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("digits/1", "digits/2", "other/1"):
        models.save(models.identity(), tmp_path / "root" / place / "model.onnx")
    read: list[Path] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: read.append(folder) or scandir(folder))
    assert sources.versions("digits") == ["1", "2"]
    assert sources.find("digits", None).version == "2"
    assert {Path(path) for path in read if not Path(path).is_relative_to(tmp_path / "store")} == {
        tmp_path / "root" / "digits"
    }
