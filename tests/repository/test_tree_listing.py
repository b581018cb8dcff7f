"""What a model repository is found to hold, also while somebody is at it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from workbench.repository.settled_changes import FileMark
from workbench.repository.tree_listing import TreeReader


def write(path: Path, size: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    write(root / "m" / "1" / "model.onnx")
    return root


def test_the_files_of_versions_and_those_beside_them_are_listed(root: Path) -> None:
    weights = write(root / "m" / "2" / "data" / "weights.bin", 7)
    for each in (
        "m/model.toml",
        "m/warmup/rows",
        "m/.lock",
        "m/notes/text",
        "m/01/model.onnx",
        ".m/1/model.onnx",
        "n/a",
    ):
        write(root / each)
    (root / "m" / "3").mkdir()
    found = TreeReader([root]).read()
    assert found.keys() == {"m"}
    assert {version: set(files) for version, files in found["m"].versions.items()} == {
        "1": {"model.onnx"},
        "2": {"data/weights.bin"},
        "3": set(),
    }
    assert found["m"].beside.keys() == {"model.toml", "warmup/rows"}
    status = weights.stat()
    mark = FileMark(7, status.st_mtime_ns, status.st_ctime_ns)
    assert found["m"].versions["2"]["data/weights.bin"] == mark


def test_of_two_repositories_the_first_that_holds_a_model_gives_it(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "other" / "m" / "7" / "model.onnx")
    write(tmp_path / "other" / "n" / "1" / "model.onnx")
    found = TreeReader([root, tmp_path / "other"]).read()
    assert {name: (folder.repository, set(folder.versions)) for name, folder in found.items()} == {
        "m": (0, {"1"}),
        "n": (1, {"1"}),
    }


def test_a_link_that_leads_nowhere_is_a_file_and_one_to_a_folder_is_no_way_round(root: Path) -> None:
    (root / "m" / "1" / "gone").symlink_to(root / "nowhere")
    (root / "m" / "1" / "round").symlink_to(root)
    (root / "m" / "2").symlink_to(root / "m" / "1")
    found = TreeReader([root]).read()["m"].versions
    assert found["1"].keys() == found["2"].keys() == {"model.onnx", "gone", "round"}


def test_a_repository_that_is_gone_is_taken_to_be_as_it_was_and_told_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reader = TreeReader([root])
    before = reader.read()
    root.rename(root.with_name("away"))
    assert reader.read() == reader.read() == before
    assert [each.message for each in caplog.records] == [
        f"the model repository {root} cannot be read (No such file or directory): its models serve on"
    ]
    root.with_name("away").rename(root)
    shutil.rmtree(root / "m")
    assert reader.read() == {}, "that is somebody's wish"
    assert caplog.records[-1].message == f"{root} can be read again"


def test_an_empty_folder_of_another_file_system_is_a_drive_that_is_not_mounted(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = TreeReader([root])
    before = reader.read()
    reader._devices[0] += 1
    shutil.rmtree(root / "m")
    assert reader.read() == before
    assert f"the model repository {root} is not mounted any more" in caplog.text


def test_a_model_that_may_not_be_read_is_left_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = TreeReader([root])
    before = reader.read()
    scandir = os.scandir

    def refused(path: str | Path) -> object:
        """Root may read every folder, so the system does not refuse it in a container."""
        if Path(path) == root / "m":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    write(root / "m" / "2" / "model.onnx")
    assert reader.read() == before
    assert f"{root / 'm'} in a model repository cannot be read (Permission denied)" in caplog.text
    monkeypatch.undo()
    assert reader.read() != before


def test_more_files_than_can_be_looked_at_change_nothing(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = TreeReader([root], most_files=20)
    before = reader.read()
    for each in range(30):
        write(root / "m" / "2" / str(each))
    assert reader.read() == before
    assert "more than 20 files" in caplog.text
