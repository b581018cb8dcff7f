from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import models
from workbench.errors import InvalidInput, ModelError, ModelNotFound, UntrustedModel
from workbench.repository.local import LocalRepository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place in ("digits/1", "digits/2", "digits/10", "resnet/3"):
        models.save(models.identity(), tmp_path / "root" / place / "model.onnx")
    return tmp_path / "root"


def test_models_and_their_versions_are_listed_in_order(root: Path) -> None:
    repository = LocalRepository(root)
    assert repository.names() == ["digits", "resnet"]
    assert repository.versions("digits") == ["1", "2", "10"]
    assert repository.versions("resnet") == ["3"]
    assert repository.versions("nothing") == []


def test_what_cannot_be_a_model_is_passed_over(root: Path) -> None:
    for place in (".git/1", "-flag/1", "empty", "digits/latest", "digits/007", "digits/0", "bad name/1"):
        (root / place).mkdir(parents=True)
    (root / "README.md").write_text("not a model")
    assert LocalRepository(root).names() == ["digits", "resnet"]
    assert LocalRepository(root).versions("digits") == ["1", "2", "10"]


def test_a_model_that_lies_in_the_wrong_place_is_told_of_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place in ("flat", "mlflow/v1", "bad name/1", ".git/1"):
        models.save(models.identity(), root / place / "model.onnx")
    repository = LocalRepository(root)
    assert repository.names() == repository.names() == ["digits", "resnet"]
    told = [record.getMessage() for record in caplog.records]
    assert [each.partition(" in a ")[0] for each in told] == [
        str(root / each) for each in ("bad name", "flat", "mlflow")
    ]
    assert all("NAME/VERSION/model.onnx" in each for each in told)


def test_what_cannot_be_read_is_passed_over_with_one_word_in_the_log(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "private" / "1").mkdir(parents=True)
    (root / "circle").symlink_to("circle")
    scandir = os.scandir

    def refusing(folder: Path) -> object:  # as the system refuses all but root
        if folder == root / "private":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    repository = LocalRepository(root)
    for _ in range(3):
        assert repository.names() == ["digits", "resnet"]
        assert repository.versions("private") == []
    assert sorted(record.getMessage().partition(" in a ")[0] for record in caplog.records) == [
        str(root / "circle"),
        str(root / "private"),
    ]


def test_a_pipe_is_neither_a_model_nor_its_settings(root: Path) -> None:
    (root / "digits" / "11").mkdir()
    os.mkfifo(root / "digits" / "11" / "model.onnx")
    os.mkfifo(root / "digits" / "model.toml")
    with pytest.raises(UntrustedModel, match="no regular file"):
        LocalRepository(root).model_path("digits", "11")
    with pytest.raises(InvalidInput, match=r"model\.toml is no regular file"):
        LocalRepository(root).config("digits")


def test_settings_have_an_end(root: Path) -> None:
    (root / "digits" / "model.toml").write_text("#" * (1 << 20) + "#")
    with pytest.raises(InvalidInput, match="more than 65536 characters"):
        LocalRepository(root).config("digits")


def test_a_root_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert LocalRepository(tmp_path / "nowhere").names() == []


def test_a_model_that_is_copied_in_is_found_at_once(root: Path) -> None:
    repository = LocalRepository(root)
    models.save(models.identity(), root / "new" / "1" / "model.onnx")
    assert repository.model_path("new", "1") == (root / "new/1/model.onnx").resolve()


def test_an_unknown_model_or_version_is_not_found_and_the_known_are_named(root: Path) -> None:
    repository = LocalRepository(root)
    with pytest.raises(ModelNotFound, match="does not hold it"):
        repository.model_path("unknown", "1")
    with pytest.raises(ModelNotFound, match="1, 2, 10"):
        repository.model_path("digits", "3")
    (root / "digits/4").mkdir()
    with pytest.raises(ModelError, match=r"no file model\.onnx"):
        repository.model_path("digits", "4")


@pytest.mark.parametrize("name", ["../outside", "..", "/etc", "a/b", "", ".", "a\0b", "a..b"])
def test_a_name_that_is_a_path_is_no_name(root: Path, name: str) -> None:
    repository = LocalRepository(root)
    for ask in (lambda: repository.model_path(name, "1"), lambda: repository.versions(name)):
        with pytest.raises(InvalidInput, match="cannot name a model"):
            ask()
    with pytest.raises(InvalidInput):
        repository.config(name)


@pytest.mark.parametrize("version", ["..", "../../x", "01", "-1", "1/", ""])
def test_a_version_that_is_no_number_is_refused(root: Path, version: str) -> None:
    with pytest.raises(InvalidInput, match="not a model version"):
        LocalRepository(root).model_path("digits", version)


def test_links_that_lead_out_of_the_root_are_refused(root: Path, tmp_path: Path) -> None:
    outside = models.save(models.identity(), tmp_path / "outside" / "1" / "model.onnx")
    (root / "by-folder").symlink_to(outside.parent.parent)
    (root / "by-version").mkdir()
    (root / "by-version/1").symlink_to(outside.parent)
    (root / "by-file/1").mkdir(parents=True)
    (root / "by-file/1/model.onnx").symlink_to(outside)
    repository = LocalRepository(root)
    for name in ("by-folder", "by-version", "by-file"):
        with pytest.raises(UntrustedModel, match="leads out"):
            repository.model_path(name, "1")


def test_a_hard_link_is_refused(root: Path, tmp_path: Path) -> None:
    outside = models.save(models.identity(), tmp_path / "outside.onnx")
    (root / "linked/1").mkdir(parents=True)
    os.link(outside, root / "linked/1/model.onnx")
    with pytest.raises(UntrustedModel, match="hard link"):
        LocalRepository(root).model_path("linked", "1")


def test_a_root_that_is_itself_a_link_is_its_owners_choice(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert LocalRepository(tmp_path / "alias").model_path("digits", "1") == (root / "digits/1/model.onnx").resolve()


def test_settings_come_from_model_toml(root: Path) -> None:
    repository = LocalRepository(root)
    assert repository.config("digits").max_batch_size == 64
    (root / "digits/model.toml").write_text("max_batch_size = 7\n")
    assert repository.config("digits").max_batch_size == 7


def test_settings_linked_from_outside_are_not_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token = 'abc'")
    (root / "digits/model.toml").symlink_to(tmp_path / "secret")
    with pytest.raises(UntrustedModel) as caught:
        LocalRepository(root).config("digits")
    assert "abc" not in str(caught.value)
