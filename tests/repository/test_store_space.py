"""The room for models: a quota, a disk that is never filled, and what several write at once."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from tests import models
from workbench.errors import StorageError
from workbench.repository.store import ModelStore
from workbench.repository.store_space import MOST_RESERVED_BYTES, PIECE_BYTES

MLP = models.mlp().SerializeToString()
Disk = namedtuple("Disk", "total used free")


def store(tmp_path: Path, max_bytes: int = 0) -> ModelStore:
    return ModelStore(tmp_path / "store", max_bytes)


def left_in(store: ModelStore) -> int:
    return len(list(store.root.iterdir())) if store.root.exists() else 0


def test_a_model_that_is_more_than_what_is_left_is_refused_before_it_comes(tmp_path: Path) -> None:
    full = store(tmp_path, len(MLP) + 1000)
    kept = full.add_bytes(MLP)
    full.space.owners = lambda: {kept.digest: "digits"}
    with pytest.raises(StorageError) as caught:
        full.begin(size=1004)
    shown = f"{len(MLP) / 1e3:.2f} kB"
    assert "the model store has no room for the model (1.00 kB): 1.00 kB are left" in caught.value.message
    assert f"(max_store_bytes) are used (digits {shown}). Unload a model" in caught.value.message
    assert full.space.measure().used == len(MLP)
    with full.begin(size=1000) as upload:
        assert full.space.measure().left == 0
        upload.write(bytes(1000))
    assert full.space.measure().left == 1000
    assert left_in(full) == 1


def test_the_sum_of_several_at_once_counts(tmp_path: Path) -> None:
    shared = store(tmp_path, 10_000)
    together = threading.Barrier(8)
    granted, refused = [], []

    def upload() -> None:
        together.wait(30)
        try:
            granted.append(shared.begin(size=3000))
        except StorageError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), len(refused)) == (3, 5)
    assert "uploads under way 9.00 kB" in refused[0]
    for each in granted:
        each.abort()
    shared.begin(size=10_000).abort()
    assert left_in(shared) == 0


def test_what_has_no_size_stops_where_the_room_ends(tmp_path: Path) -> None:
    small = store(tmp_path, PIECE_BYTES + 1000)
    upload = small.begin()
    upload.write(bytes(PIECE_BYTES))
    with pytest.raises(StorageError, match="no room"):
        upload.write(b"x")
    assert left_in(small) == 0
    assert small.space.measure().used == 0


def test_external_data_and_what_lies_beside_count(tmp_path: Path) -> None:
    path = models.save_external(tmp_path / "given" / "model.onnx")
    (path.parent / "weights.bin").write_bytes(bytes(50_000))
    small = store(tmp_path, 40_000)
    with pytest.raises(StorageError, match="no room"):
        small.add_file(path)
    assert left_in(small) == 0
    kept = small.add_bytes(MLP)
    with pytest.raises(StorageError, match="no room"):
        small.keep_beside(kept.digest, "m", {"labels.txt": bytes(40_000)})
    with pytest.raises(StorageError, match="no room"), small.sent({"model.onnx": bytes(40_000)}):
        pass
    assert left_in(small) == 1


@pytest.mark.parametrize(("total", "reserved"), [(10**12, MOST_RESERVED_BYTES), (10**9, 50_000_000)])
def test_some_of_the_disk_stays_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, reserved: int
) -> None:
    any_size = store(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(total, 0, reserved + 1_000_000))
    with pytest.raises(StorageError, match="nearly full, and some of it is kept free for the model") as caught:
        any_size.begin(size=1_000_001)
    assert "--data-dir" in caught.value.message
    first = any_size.begin(size=600_000)
    with pytest.raises(StorageError, match=r"0\.40 MB are left"):
        any_size.begin(size=600_000)  # the disk is as free as before, but it is promised
    first.abort()
    any_size.begin(size=600_000).abort()


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    shared = store(tmp_path)
    upload = shared.begin()
    left = shared.root / ".incoming-0123456789abcdef"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    for folder in shared.root.iterdir():
        os.utime(folder, (time.time() - 3600, time.time() - 3600))
    ModelStore(shared.root).sweep()
    assert not left.exists()
    upload.write(MLP)
    assert upload.finish().size_bytes == len(MLP)
