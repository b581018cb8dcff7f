from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.model import Signature, TensorSpec
from workbench.errors import InvalidInput, ModelError, UntrustedModel
from workbench.repository.model_metadata import MAX_BYTES, ModelMetadata, describe

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 3)),), ())


def test_a_folder_with_nothing_beside_its_versions_says_nothing(tmp_path: Path) -> None:
    assert describe(tmp_path, tmp_path) == ModelMetadata()


def test_the_model_toml_wins_over_the_config_pbtxt(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text("max_batch_size: 8 instance_group { count: 2 }")
    (tmp_path / "model.toml").write_text("max_batch_size = 16\n")
    config = describe(tmp_path, tmp_path).config
    assert (config.max_batch_size, config.instances) == (16, 2)


def test_notes_say_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('nonsense: 1 optimization { graph { level: 1 } } input { name: "z" }')
    notes = describe(tmp_path, tmp_path).notes(SIGNATURE)
    assert [note.split()[0] for note in notes] == ["config.pbtxt:"] * 3
    assert "optimization" in notes[0] and "'nonsense'" in notes[1] and "'z'" in notes[2]


def test_labels_are_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('output { name: "y" label_filename: "labels.txt" }')
    with pytest.raises(InvalidInput, match=r"no file 'labels\.txt'"):
        describe(tmp_path, tmp_path)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert describe(tmp_path, tmp_path).labels == {"y": ("cat", "dog")}


@pytest.mark.parametrize("name", ["config.pbtxt", "labels.txt"])
def test_what_lies_elsewhere_or_is_too_large_is_not_read(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("secret: 1")
    (root / "config.pbtxt").write_text('output { name: "y" label_filename: "labels.txt" }')
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(tmp_path / "secret")
    with pytest.raises(UntrustedModel, match="leads out"):
        describe(root, root)
    (root / name).unlink()
    (root / name).hardlink_to(tmp_path / "secret")
    with pytest.raises(UntrustedModel, match="hard link"):
        describe(root, root)
    (root / name).unlink()
    (root / name).write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(InvalidInput, match="more than"):
        describe(root, root)
    (root / name).write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="UTF-8"):
        describe(root, root)


def test_a_model_of_another_backend_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('backend: "python"')
    with pytest.raises(ModelError, match=r"config\.pbtxt.*python"):
        describe(tmp_path, tmp_path)
