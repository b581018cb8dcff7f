from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from tests import models
from workbench.errors import InvalidInput, ModelError, StorageError, TooLarge, UntrustedModel
from workbench.repository import incoming
from workbench.repository.store import ModelStore
from workbench.repository.validate import validate_model

MLP = models.mlp().SerializeToString()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


def left_in(store: ModelStore) -> list[str]:
    return sorted(entry.name for entry in store.root.iterdir())


def test_bytes_are_stored_under_their_digest(store: ModelStore) -> None:
    stored = store.add_bytes(MLP)
    assert stored.path == store.root / stored.digest / "model.onnx"
    assert stored.path.read_bytes() == MLP
    assert stored.size_bytes == len(MLP)
    assert validate_model(stored.path, store.root).digest == stored.digest
    assert left_in(store) == [stored.digest] == store.digests()
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_the_same_content_is_stored_once(store: ModelStore, tmp_path: Path) -> None:
    stored = store.add_bytes(MLP)
    assert store.add_bytes(MLP).digest == stored.digest
    assert store.add_file(models.save(models.mlp(), tmp_path / "m.onnx")).digest == stored.digest
    assert left_in(store) == [stored.digest]


def test_a_file_with_other_metadata_is_the_same_model_in_another_place(store: ModelStore) -> None:
    stored = store.add_bytes(MLP)
    with_metadata = models.mlp()
    with_metadata.metadata_props.add(key="exported", value="now")
    other = store.add_bytes(with_metadata.SerializeToString())
    assert (other.identity, stored.identity) == (stored.identity, other.identity)
    assert left_in(store) == sorted([stored.digest, other.digest])


def test_an_upload_in_chunks_is_one_model(store: ModelStore) -> None:
    with store.begin(max_bytes=len(MLP)) as upload:
        for start in range(0, len(MLP), 100):
            upload.write(MLP[start : start + 100])
        stored = upload.finish()
    assert stored.path.read_bytes() == MLP


def test_a_copied_model_brings_its_external_data(store: ModelStore, tmp_path: Path) -> None:
    path = models.save_external(tmp_path / "given" / "net.onnx", "deep/er/weights.bin")
    stored = store.add_file(path)
    assert (stored.path.parent / "deep/er/weights.bin").read_bytes() == models.EXTERNAL_WEIGHTS.tobytes()
    assert stored.size_bytes == path.stat().st_size + 16
    assert store.get(stored.digest) == stored


def test_a_model_file_that_is_a_link_is_copied_since_its_caller_named_it(store: ModelStore, tmp_path: Path) -> None:
    real = models.save(models.mlp(), tmp_path / "real.onnx")
    (tmp_path / "soft.onnx").symlink_to(real)
    os.link(real, tmp_path / "hard.onnx")
    digests = {store.add_file(tmp_path / name).digest for name in ("soft.onnx", "hard.onnx", "real.onnx")}
    assert len(digests) == 1
    assert not (store.root / digests.pop() / "model.onnx").is_symlink()


def test_data_outside_the_models_folder_is_never_copied(store: ModelStore, tmp_path: Path) -> None:
    models.save_external(tmp_path / "secret" / "model.onnx")
    path = models.save(models.external("../secret/weights.bin"), tmp_path / "given" / "model.onnx")
    with pytest.raises(UntrustedModel):
        store.add_file(path)
    (tmp_path / "given/weights.bin").symlink_to(tmp_path / "secret/weights.bin")
    with pytest.raises(UntrustedModel):
        store.add_file(models.save(models.external(), path))
    assert not store.root.exists()


def test_an_upload_that_names_external_data_has_none(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="with its weights inside"):
        store.add_bytes(models.external().SerializeToString())
    assert left_in(store) == []


@pytest.mark.parametrize("content", [b"", b"no model", MLP[:-40]], ids=["empty", "text", "truncated"])
def test_what_is_no_model_leaves_nothing_behind(store: ModelStore, content: bytes) -> None:
    with pytest.raises(ModelError):
        store.add_bytes(content)
    assert left_in(store) == []


def test_an_upload_over_its_cap_is_refused_and_leaves_nothing_behind(store: ModelStore) -> None:
    upload = store.begin(max_bytes=150)
    upload.write(MLP[:100])
    with pytest.raises(TooLarge, match="150 bytes"):
        upload.write(MLP[100:200])
    assert left_in(store) == []


def test_an_upload_that_is_left_or_aborted_leaves_nothing_behind(store: ModelStore) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as upload:
        upload.write(MLP[:100])
        raise ZeroDivisionError
    aborted = store.begin()
    aborted.write(MLP)
    aborted.abort()
    aborted.abort()
    with pytest.raises(ModelError, match="aborted"):
        aborted.finish()
    assert left_in(store) == []


def disk_with_room_for(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the store's writes fail as a full disk's do: partly, then with ENOSPC."""

    def write_all(file: BinaryIO, data: bytes) -> None:
        nonlocal room
        file.write(data[:room])
        room -= len(data)
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(incoming, "write_all", write_all)


def test_a_full_disk_says_so_and_leaves_nothing_behind(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.add_bytes(models.identity().SerializeToString())
    with monkeypatch.context() as patch:
        disk_with_room_for(1000, patch)
        with pytest.raises(StorageError, match="disk is full"):
            store.add_bytes(MLP)
    given = models.save_external(tmp_path / "given" / "model.onnx")
    with monkeypatch.context() as patch:
        disk_with_room_for(given.stat().st_size + 8, patch)  # the model fits, its data do not
        with pytest.raises(StorageError, match="disk is full"):
            store.add_file(given)
    assert left_in(store) == [kept.digest]
    assert store.add_bytes(MLP).size_bytes == len(MLP)


def test_a_disk_that_fills_up_while_flushing_leaves_nothing_behind(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="disk is full"):
        store.add_bytes(MLP)
    assert left_in(store) == []


def test_a_store_that_cannot_be_written_says_so_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        store = ModelStore(root)
        with pytest.raises(StorageError, match="cannot be written") as caught:
            store.add_bytes(MLP)
        assert str(tmp_path) not in str(caught.value)
        with pytest.raises(StorageError, match="cannot be written"):
            store.add_file(models.save(models.mlp(), tmp_path / "m.onnx"))
        assert store.digests() == []
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_model_that_changes_while_it_is_copied_is_refused(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_external(tmp_path / "given" / "model.onnx")
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\7" * 16)
    really_write = incoming.write_all

    def swap_then_write(file: BinaryIO, data: bytes) -> None:
        weights = path.parent / "weights.bin"
        weights.unlink()
        weights.symlink_to(secret)
        monkeypatch.setattr(incoming, "write_all", really_write)
        really_write(file, data)

    monkeypatch.setattr(incoming, "write_all", swap_then_write)
    with pytest.raises(UntrustedModel, match="leads out"):
        store.add_file(path)
    assert left_in(store) == []


def test_a_discarded_model_is_gone(store: ModelStore) -> None:
    stored = store.add_bytes(MLP)
    store.discard(stored.digest)
    store.discard(stored.digest)
    assert store.get(stored.digest) is None
    assert left_in(store) == []


@pytest.mark.parametrize("digest", ["..", "../x", "", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_a_digest_is_never_a_path(store: ModelStore, digest: str) -> None:
    with pytest.raises(InvalidInput, match="no digest"):
        store.discard(digest)
    with pytest.raises(InvalidInput, match="no digest"):
        store.get(digest)


def test_many_threads_storing_the_same_model_all_get_it(store: ModelStore) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(store.add_bytes(MLP).digest)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert left_in(store) == [found[0]]


def test_what_a_killed_process_left_behind_is_swept_when_it_is_old(store: ModelStore) -> None:
    store.sweep()
    stored = store.add_bytes(MLP)
    half = store.root / ".incoming-0123456789abcdef"
    half.mkdir()
    (half / "model.onnx").write_bytes(b"half")
    store.sweep()
    assert len(left_in(store)) == 2
    store.sweep(older_than_s=-1.0)
    assert left_in(store) == [stored.digest]


def test_a_file_that_grows_while_it_is_copied_is_refused_and_not_read_for_ever(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save(models.mlp(), tmp_path / "model.onnx")
    size = path.stat().st_size
    written: list[int] = []
    really_write = incoming.write_all

    def append_then_write(file: BinaryIO, data: bytes) -> None:
        with path.open("ab") as source:
            source.write(bytes(1000))
        written.append(len(data))
        really_write(file, data)

    monkeypatch.setattr(incoming, "write_all", append_then_write)
    with pytest.raises(ModelError, match="changed while it was read"):
        store.add_file(path)
    assert sum(written) == size
    assert left_in(store) == []


def test_the_folder_is_closed_to_others_and_must_be_ones_own(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.protect()
    store.add_bytes(MLP)
    assert store.root.stat().st_mode & 0o777 == 0o700
    store.root.chmod(0o755)
    store.protect()
    assert store.root.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: store.root.stat().st_uid + 1)
    with pytest.raises(StorageError, match="belongs to another user"):
        store.protect()
