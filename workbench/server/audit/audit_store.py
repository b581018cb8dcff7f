"""The audit on disk: an SQLite file to which rows are added, and in which none is changed or taken out early.

Triggers in the file refuse it to every program that opens it. They cannot stop a user who may replace the file.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from workbench.core.audit_entry import AuditEntry
from workbench.core.sqlite import Migrations, check, connect, is_damage, migrate, schema, set_aside
from workbench.errors import StorageError

KEPT_DAYS: Final = 365
"""How long a row is kept."""

MAX_ACTIONS: Final = 50_000
"""Rows of what was done; the oldest go first. With texts of full length they take 50 MB."""

MAX_REFUSALS: Final = 10_000
"""The same of what was refused, apart, so that no stranger pushes out what was done."""

BUSY_TIMEOUT_S: Final = 2.0
"""How long a row waits for somebody who reads the file."""

PRUNE_EVERY: Final = 64
"""Rows between two looks at what is old."""

log = logging.getLogger("workbench.server")


_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(AuditEntry))


def _table(name: str, most: int) -> tuple[str, ...]:
    old = f"old.at < CAST(strftime('%s', 'now') AS INTEGER) - {KEPT_DAYS * 86400}"
    many = f"old.id <= (SELECT max(id) FROM {name}) - {most}"
    return (
        f"""CREATE TABLE {name} (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
            detail TEXT NOT NULL, outcome TEXT NOT NULL, who TEXT NOT NULL, way TEXT NOT NULL, address TEXT NOT NULL,
            agent TEXT NOT NULL, count INTEGER NOT NULL, since REAL NOT NULL)""",
        f"""CREATE TRIGGER {name}_never_changed BEFORE UPDATE ON {name}
            BEGIN SELECT raise(ABORT, 'a row of the audit is not changed'); END""",
        f"""CREATE TRIGGER {name}_never_replaced BEFORE INSERT ON {name}
            WHEN new.id IN (SELECT id FROM {name})
            BEGIN SELECT raise(ABORT, 'a row of the audit is not changed'); END""",
        f"""CREATE TRIGGER {name}_kept BEFORE DELETE ON {name} WHEN NOT ({old} OR {many})
            BEGIN SELECT raise(ABORT, 'a row of the audit is not taken out before its time'); END""",
    )


MIGRATIONS: Migrations = (
    (*_table("actions", MAX_ACTIONS), *_table("refusals", MAX_REFUSALS)),
    ("CREATE INDEX actions_of_subject ON actions (subject, at)",),
)


def audit_file(folder: Path, key: str = "") -> Path:
    """The file in a data folder; `key` (ServerConfig.state_key) tells machines apart that share the folder."""
    return folder / (f"audit-{key}.sqlite" if key else "audit.sqlite")


class AuditStore:
    """Any number of threads may use it. The file is made, or opened, by the first row or the first look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._added = 0

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def add(self, entry: AuditEntry) -> None:
        """On the disk when this returns. Raises StorageError."""
        self._add("actions", MAX_ACTIONS, (entry,))

    def add_refusals(self, entries: Sequence[AuditEntry]) -> None:
        """The same, of what was refused; all of them or none."""
        self._add("refusals", MAX_REFUSALS, entries)

    def entries(self, since: float, limit: int) -> list[AuditEntry]:
        """The latest `limit` that ended at `since` (Unix time) or later, the oldest first. Raises StorageError."""
        return self._read(
            "(SELECT * FROM actions UNION ALL SELECT * FROM refusals) WHERE at >= :since", since=since, limit=limit
        )

    def done_to(self, subject: str, actions: Collection[str], limit: int) -> list[AuditEntry]:
        """The latest `limit` of these actions that were done to one subject, the oldest first. Raises StorageError."""
        named = {f"action{at}": action for at, action in enumerate(actions)}
        which = ", ".join(f":{name}" for name in named)
        return self._read(
            f"actions WHERE subject = :subject AND outcome = 'ok' AND action IN ({which})",
            subject=subject,
            limit=limit,
            **named,
        )

    def _read(self, which: str, **given: object) -> list[AuditEntry]:
        """The latest of `which` rows, the oldest first."""
        asked = f"SELECT {', '.join(_COLUMNS)} FROM {which} ORDER BY at DESC, id DESC LIMIT :limit"
        with self._lock:
            if self._connection is None and not self.path.exists():
                return []
            try:
                rows = self._opened().execute(asked, given).fetchall()
            except (sqlite3.Error, OSError) as error:
                raise _storage_error(error) from None
        return [AuditEntry(*row) for row in reversed(rows)]

    def _add(self, table: str, most: int, entries: Sequence[AuditEntry]) -> None:
        values = ", ".join("?" * len(_COLUMNS))
        with self._lock:
            try:
                connection = self._opened()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.executemany(
                        f"INSERT INTO {table} ({', '.join(_COLUMNS)}) VALUES ({values})",
                        [dataclasses.astuple(entry) for entry in entries],
                    )
                    self._prune(connection, table, most)
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise _storage_error(error) from None

    def _prune(self, connection: sqlite3.Connection, table: str, most: int) -> None:
        connection.execute(f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - {most}")
        if self._added % PRUNE_EVERY == 0:
            connection.execute(f"DELETE FROM {table} WHERE at < ?", (time.time() - KEPT_DAYS * 86400 - 1,))
        self._added += 1

    def _opened(self) -> sqlite3.Connection:
        """The file's connection, of the present schema; a file that is damaged is set aside."""
        if self._closed:
            raise StorageError("the audit is closed: the service is ending")
        if self._connection is None:
            try:
                self._connection = _connected(self.path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                aside = set_aside(self.path)
                log.error("the audit was damaged, and is set aside as %s", aside.name)
                self._connection = _connected(self.path)
        return self._connection


def _connected(path: Path) -> sqlite3.Connection:
    connection = connect(path, BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        if (version := schema(connection)) > len(MIGRATIONS):
            raise StorageError(f"the audit in the data folder was written by a newer version (schema {version})")
        # Without WAL, since the folder may lie on a network. Others may read it while the service runs.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        migrate(connection, MIGRATIONS)
        check(connection, {"actions", "refusals"})
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _storage_error(error: sqlite3.Error | OSError) -> StorageError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL or "full" in str(error):
        return StorageError("the disk of the data folder is full")
    return StorageError(f"the audit in the data folder cannot be used ({error})")
