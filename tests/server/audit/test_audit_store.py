from __future__ import annotations

import dataclasses
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.full_disk import full_disk
from workbench.core.audit_entry import AuditEntry
from workbench.core.sqlite import migrate
from workbench.errors import StorageError
from workbench.server.audit import audit_store
from workbench.server.audit.audit_store import KEPT_DAYS, MIGRATIONS, AuditStore, audit_file


def entry(at: float, action: str = "load") -> AuditEntry:
    return AuditEntry(
        at, action, "digits", "version 2", "ok", "owner", "http", "127.0.0.1", "infer-workbench/1 (kernel)"
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AuditStore]:
    store = AuditStore(tmp_path / "audit.sqlite")
    yield store
    store.close()


def test_without_a_row_there_is_no_file_and_nothing_to_tell(store: AuditStore) -> None:
    assert store.entries(0.0, 10) == []
    assert not store.path.exists()


def test_rows_of_both_kinds_come_back_in_the_order_of_time(store: AuditStore) -> None:
    now = time.time()
    refusal = dataclasses.replace(entry(now + 1, "rotate-token"), count=5, since=now)
    store.add(entry(now))
    store.add_refusals([refusal])
    store.add(entry(now + 2, "unload"))
    store.close()
    again = AuditStore(store.path)
    assert again.entries(0.0, 10) == [entry(now), refusal, entry(now + 2, "unload")]
    assert again.entries(0.0, 2) == [refusal, entry(now + 2, "unload")]
    assert again.entries(now + 1.5, 10) == [entry(now + 2, "unload")]
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600
    again.close()


def test_what_was_done_to_one_subject_is_found_among_much_else(store: AuditStore) -> None:
    now = time.time()
    wanted = [entry(now + at, action) for at, action in enumerate(("load", "rollback", "load"))]
    others = [
        dataclasses.replace(entry(now + 5), subject="irises"),
        dataclasses.replace(entry(now + 6), outcome="conflict"),
        entry(now + 7, "configure"),
    ]
    for row in (*wanted, *others):
        store.add(row)
    store.add_refusals([entry(now + 8)])
    assert store.done_to("digits", {"load", "rollback"}, 10) == wanted
    assert store.done_to("digits", {"load", "rollback"}, 2) == wanted[1:]
    assert store.done_to("digits", {"load"}, 10) == [wanted[0], wanted[2]]
    assert store.done_to("nobody", {"load"}, 10) == []


def test_a_file_of_the_first_schema_is_taken_on_and_finds_by_subject_over_an_index(store: AuditStore) -> None:
    now = time.time()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as old:
        migrate(old, MIGRATIONS[:1])
        old.execute(
            "INSERT INTO actions (at, action, subject, detail, outcome, who, way, address, agent, count, since) "
            "VALUES (?, 'load', 'digits', 'version 2', 'ok', 'owner', 'http', '127.0.0.1', '', 1, ?)",
            (now, now),
        )
    store.add(entry(now + 1))
    assert [each.at for each in store.done_to("digits", ["load"], 10)] == [now, now + 1]
    with closing(sqlite3.connect(store.path)) as other:
        plan = other.execute("EXPLAIN QUERY PLAN SELECT * FROM actions WHERE subject = 'digits' ORDER BY at").fetchall()
    assert "actions_of_subject" in str(plan)


@pytest.mark.parametrize("table", ["actions", "refusals"])
def test_a_row_is_neither_changed_nor_taken_out(store: AuditStore, table: str) -> None:
    """Whoever opens the file, as long as it is this file."""
    now = time.time()
    store.add(entry(now))
    store.add_refusals([entry(now)])
    other = sqlite3.connect(store.path)
    columns = "at, action, subject, detail, outcome, who, way, address, agent, count, since"
    for change in (
        f"UPDATE {table} SET who = 'nobody'",
        f"UPDATE {table} SET at = 1.0",
        f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} (id, {columns}) SELECT id, 1.0, {columns[4:]} FROM {table}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="a row of the audit is not"):
            other.execute(change)
        other.rollback()
    other.close()
    assert store.entries(0.0, 10) == [entry(now), entry(now)]


def test_what_is_older_than_a_year_goes(store: AuditStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_store, "PRUNE_EVERY", 1)
    now = time.time()
    store.add(entry(now - KEPT_DAYS * 86400 + 60))
    store.add(entry(now - KEPT_DAYS * 86400 - 60))
    store.add(entry(now))
    assert [each.at for each in store.entries(0.0, 10)] == [now - KEPT_DAYS * 86400 + 60, now]


def test_of_more_rows_than_are_kept_the_oldest_go_and_refusals_push_no_action_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_store, "MAX_ACTIONS", 3)
    monkeypatch.setattr(audit_store, "MAX_REFUSALS", 2)
    tables = (*audit_store._table("actions", 3), *audit_store._table("refusals", 2))
    monkeypatch.setattr(audit_store, "MIGRATIONS", (tables,))
    store = AuditStore(tmp_path / "audit.sqlite")
    now = time.time()
    for number in range(5):
        store.add(entry(now + number, f"action {number}"))
    for number in range(5, 9):
        store.add_refusals([entry(now + number, f"refusal {number}")])
    kept = ["action 2", "action 3", "action 4", "refusal 7", "refusal 8"]
    assert [each.action for each in store.entries(0.0, 100)] == kept
    store.close()


def test_a_full_disk_is_an_error_and_the_next_row_is_written(store: AuditStore) -> None:
    with full_disk(), pytest.raises(StorageError):
        store.add(entry(1.0))
    now = time.time()
    store.add(entry(now))
    with full_disk(), pytest.raises(StorageError):
        store.add_refusals([entry(now, "x" * 5000), entry(now, "y" * 5000)])
    store.add(entry(now + 1))
    assert [each.at for each in store.entries(0.0, 10)] == [now, now + 1]


def test_a_damaged_file_is_set_aside(store: AuditStore, caplog: pytest.LogCaptureFixture) -> None:
    store.path.write_bytes(b"not a database at all" * 100)
    now = time.time()
    store.add(entry(now))
    assert store.entries(0.0, 10) == [entry(now)]
    assert "the audit was damaged, and is set aside as audit.sqlite.damaged-" in caplog.text


def test_a_file_of_a_newer_version_is_left_alone(store: AuditStore) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = store.path.read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        store.add(entry(1.0))
    assert store.path.read_bytes() == before


def test_a_closed_store_takes_nothing(store: AuditStore) -> None:
    store.close()
    with pytest.raises(StorageError, match="ending"):
        store.add(entry(1.0))


def test_machines_that_share_a_folder_have_files_of_their_own(tmp_path: Path) -> None:
    assert len({audit_file(tmp_path), audit_file(tmp_path, "m1"), audit_file(tmp_path, "m2")}) == 3
