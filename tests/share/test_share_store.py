from __future__ import annotations

import dataclasses
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.full_disk import full_disk
from workbench.errors import Conflict, StorageError, Unsupported
from workbench.share import share_store
from workbench.share.daily_quota import DailyUse
from workbench.share.share_record import ShareRecord
from workbench.share.share_store import KEPT_S, ShareStore, StoredShare, share_file
from workbench.share.share_token import digest_of, new_code, new_share_token

LATER = 4e9


def record(id: str = "s1", label: str = "team-a", expires_at: float = LATER, rate: float | None = 20.0) -> ShareRecord:
    return ShareRecord(id, label, ("digits", "iris"), rate, 16, 1.0, expires_at)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShareStore]:
    store = ShareStore(tmp_path / "shares.sqlite")
    store.open()
    yield store
    store.close()


def reopened(store: ShareStore) -> ShareStore:
    store.close()
    again = ShareStore(store.path)
    again.open()
    return again


def test_without_a_share_there_is_no_file(store: ShareStore) -> None:
    assert store.shares() == []
    assert not store.path.exists()


def test_shares_come_back(store: ShareStore) -> None:
    store.add(StoredShare(record("s1", rate=None), b"t" * 32, None, 0.0))
    store.add(StoredShare(record("s2"), None, b"c" * 32, 9.0))
    by_rows = dataclasses.replace(
        record("s3"), row_rate=2000.0, quota=9, row_quota=90, version="2", max_body=9, metrics=True
    )
    store.add(StoredShare(by_rows, b"u" * 32, None, 0.0))
    store.claim("s2", b"v" * 32)
    store.revoke("s3", LATER)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    first, second, third = reopened(store).shares()
    assert first == StoredShare(record("s1", rate=None), b"t" * 32, None, 0.0)
    assert (second.token, second.code) == (b"v" * 32, None)
    assert (third.token, third.record) == (None, dataclasses.replace(by_rows, revoked_at=LATER))


def test_the_first_call_is_kept_also_in_a_file_of_the_version_before(
    store: ShareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(share_store, "MIGRATIONS", share_store.MIGRATIONS[:1])
        share_store._connected(store.path).close()
    with sqlite3.connect(store.path) as file:
        file.execute(
            "INSERT INTO shares VALUES ('s1', 'team-a', '[\"digits\"]', 20.0, 16, 1.0, 4e9, NULL, NULL, NULL, 0)"
        )
    file.close()
    store = reopened(store)
    assert store.shares()[0].record.first_call_at is None
    store.first_called("s1", 7.0)
    (kept,) = reopened(store).shares()
    assert kept.record.first_call_at == 7.0


def test_what_was_used_of_quotas_is_written_at_once_for_all(store: ShareStore) -> None:
    for id in ("s1", "s2"):
        store.add(StoredShare(record(id, label=id), id.encode() * 16, None, 0.0))
    store.used({"s1": DailyUse(LATER, 3, 30), "s2": DailyUse(LATER, 1, 10)})
    with full_disk(), pytest.raises(StorageError):
        store.used({"s1": DailyUse(LATER, 4, 40), "s2": DailyUse(LATER, 2, 20)})
    assert [each.use for each in reopened(store).shares()] == [DailyUse(LATER, 3, 30), DailyUse(LATER, 1, 10)]


def test_no_secret_lies_in_the_file(store: ShareStore) -> None:
    token, code = new_share_token(), new_code()
    store.add(StoredShare(record(), digest_of(token.encode()), digest_of(code.encode()), 1.0))
    content = store.path.read_bytes()
    assert b"team-a" in content
    assert token.encode() not in content and code.encode() not in content


def test_a_full_disk_changes_nothing(store: ShareStore) -> None:
    with full_disk(), pytest.raises(StorageError):
        store.add(StoredShare(record(), b"t" * 32, None, 0.0))
    store.add(StoredShare(record(), None, b"c" * 32, 9.0))
    before = store.shares()
    with full_disk():
        for change in (
            lambda: store.add(StoredShare(record("s2"), b"u" * 32, None, 0.0)),
            lambda: store.claim("s1", b"t" * 32),
            lambda: store.revoke("s1", 5.0),
        ):
            with pytest.raises(StorageError):
                change()
    assert store.shares() == before
    assert reopened(store).shares() == before


def test_a_damaged_file_is_set_aside_and_its_shares_are_over(store: ShareStore) -> None:
    store.add(StoredShare(record(), b"t" * 32, None, 0.0))
    store.close()
    store.path.write_bytes(b"not a database at all" * 100)
    again = ShareStore(store.path)
    again.open()
    assert again.shares() == []
    assert len(again.notes) == 1 and "set aside as shares.sqlite.damaged-" in again.notes[0]
    again.add(StoredShare(record(), b"t" * 32, None, 0.0))
    assert len(again.shares()) == 1
    again.close()


def test_a_file_of_a_newer_version_is_left_alone(store: ShareStore) -> None:
    store.add(StoredShare(record(), b"t" * 32, None, 0.0))
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = store.path.read_bytes()
    with pytest.raises(Unsupported, match="newer version"):
        ShareStore(store.path).open()
    assert store.path.read_bytes() == before


def test_a_second_service_is_refused_the_file(store: ShareStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_store, "BUSY_TIMEOUT_S", 0.05)
    store.add(StoredShare(record(), b"t" * 32, None, 0.0))
    with pytest.raises(Conflict, match="another service"):
        ShareStore(store.path).open()


def test_what_ended_long_ago_is_forgotten(store: ShareStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(StoredShare(record("s1", expires_at=100.0), b"t" * 32, None, 0.0))
    store.add(StoredShare(record("s2", expires_at=LATER), b"u" * 32, None, 0.0))
    store.add(StoredShare(record("s3", expires_at=LATER), b"v" * 32, None, 0.0))
    store.revoke("s3", 50.0)
    monkeypatch.setattr(share_store.time, "time", lambda: 49.0 + KEPT_S)
    again = reopened(store)
    assert [each.record.id for each in again.shares()] == ["s1", "s2", "s3"]
    monkeypatch.setattr(share_store.time, "time", lambda: 101.0 + KEPT_S)
    assert [each.record.id for each in reopened(again).shares()] == ["s2"]


def test_a_closed_store_takes_nothing(store: ShareStore) -> None:
    store.close()
    with pytest.raises(StorageError, match="ending"):
        store.add(StoredShare(record(), b"t" * 32, None, 0.0))


def test_machines_that_share_a_folder_have_files_of_their_own(tmp_path: Path) -> None:
    assert share_file(tmp_path) != share_file(tmp_path, "m1") != share_file(tmp_path, "m2")


_WRITER = """
import hashlib, sys
from pathlib import Path
from workbench.share.share_record import ShareRecord
from workbench.share.share_store import ShareStore, StoredShare
store = ShareStore(Path(sys.argv[1]))
store.open()
first = int(sys.argv[2])
for number in range(first, first + 100_000):
    id = f"s{number}"
    code, token = (hashlib.sha256(b"%b%d" % (kind, number)).digest() for kind in (b"c", b"t"))
    store.add(StoredShare(ShareRecord(id, id, ("digits",), None, 16, 1.0, 4e9), None, code, 4e9))
    store.claim(id, token)
    print(id, flush=True)
    if number % 3 == 0:
        store.revoke(id, 3e9)
        print("revoked", id, flush=True)
"""


@pytest.mark.parametrize("killed_after", [1, 7, 30])
def test_what_was_given_out_is_there_after_a_kill_in_the_middle_of_a_write(tmp_path: Path, killed_after: int) -> None:
    path = tmp_path / "shares.sqlite"
    given: list[str] = []
    revoked: list[str] = []
    for first in (0, 1_000_000):  # the second finds what the first left
        command = [sys.executable, "-c", _WRITER, str(path), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(killed_after)]
            writer.kill()
            for line in said + writer.stdout.readlines():
                (revoked if line.startswith("revoked") else given).append(line.split()[-1])
        assert writer.returncode == -signal.SIGKILL
    store = ShareStore(path)
    store.open()
    kept = {each.record.id: each for each in store.shares()}
    assert store.notes == []
    assert set(given) <= kept.keys() and len(kept) <= len(given) + 2
    assert all(kept[id].code is None for id in given)
    assert all(kept[id].token is None and kept[id].record.revoked_at for id in revoked), "no revoked share is back"
    assert all(kept[id].token for id in given if kept[id].record.revoked_at is None), "nor is one without its token"
    store.add(StoredShare(record("after"), None, b"c" * 32, 9.0))
    store.close()
