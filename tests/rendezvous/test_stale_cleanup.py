from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.rendezvous import stale_cleanup
from workbench.rendezvous.folder import Rendezvous, host_name
from workbench.rendezvous.stale_cleanup import UNTOUCHED_S, forget_earlier_boots

HERE = f"{host_name()}-0123abcd-4026531836"
BEFORE = f"{host_name()}-ffffffff-4026531836"


def folder(parent: Path, name: str, age_s: float = UNTOUCHED_S + 60) -> Rendezvous:
    """As a service leaves it."""
    room = Rendezvous(parent / name).open()
    for path in (room.service_file, room.keeper_lock, room.start_lock, room.path / "service.log"):
        path.touch()
    then = time.time() - age_s
    for path in (*room.path.iterdir(), room.path):
        os.utime(path, (then, then))
    return room


@contextmanager
def held(path: Path) -> Iterator[None]:
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_what_an_earlier_boot_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    room = folder(tmp_path, HERE)
    kept = [
        folder(tmp_path, f"{host_name()}-0123abcd-4026531999"),  # another container of this boot
        folder(tmp_path, "another-host-ffffffff-4026531836"),
        folder(tmp_path, host_name()),
        folder(tmp_path, f"{host_name()}-eeeeeeee-4026531836", age_s=1),
    ]
    folder(tmp_path, BEFORE)
    (tmp_path / f"{host_name()}-dddddddd-1").symlink_to(room.path)
    assert forget_earlier_boots(room) == [BEFORE]
    assert not (tmp_path / BEFORE).exists()
    assert all(each.service_file.exists() for each in (room, *kept))
    assert forget_earlier_boots(room) == []


@pytest.mark.parametrize("lock", ["start_lock", "keeper_lock"])
def test_a_folder_whose_lock_is_held_stays(tmp_path: Path, lock: str) -> None:
    room, before = folder(tmp_path, HERE), folder(tmp_path, BEFORE)
    with held(getattr(before, lock)):
        assert forget_earlier_boots(room) == []
    assert forget_earlier_boots(room) == [BEFORE]


def test_a_folder_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = folder(tmp_path, HERE)
    folder(tmp_path, BEFORE)
    monkeypatch.setattr(stale_cleanup.os, "geteuid", lambda: os.getuid() + 1)
    assert forget_earlier_boots(room) == []


def test_where_nothing_tells_boots_apart_nothing_is_removed(tmp_path: Path) -> None:
    room = folder(tmp_path, host_name())
    folder(tmp_path, BEFORE)
    assert forget_earlier_boots(room) == []
