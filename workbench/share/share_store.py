"""Shares on disk: an SQLite file beside the service's state. Every change is on the disk before it returns."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from workbench.core.sqlite import Migrations, check, connect, is_damage, migrate, schema, set_aside
from workbench.errors import Conflict, StorageError, Unsupported
from workbench.share.daily_quota import DailyUse
from workbench.share.share_record import ShareRecord

KEPT_S: Final = 30 * 86400.0
"""How long a share stays in the list after its end."""

BUSY_TIMEOUT_S: Final = 5.0

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE shares (
            id TEXT PRIMARY KEY, label TEXT NOT NULL, models TEXT NOT NULL, rate REAL, max_in_flight INTEGER NOT NULL,
            created_at REAL NOT NULL, expires_at REAL NOT NULL, revoked_at REAL,
            token BLOB UNIQUE, code BLOB UNIQUE, code_until REAL)""",
    ),
    ("ALTER TABLE shares ADD COLUMN first_call_at REAL",),
    ("ALTER TABLE shares ADD COLUMN row_rate REAL",),
    (
        "ALTER TABLE shares ADD COLUMN quota INTEGER",
        "ALTER TABLE shares ADD COLUMN row_quota INTEGER",
        "ALTER TABLE shares ADD COLUMN day_ends_at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE shares ADD COLUMN day_requests INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE shares ADD COLUMN day_rows INTEGER NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE shares ADD COLUMN version TEXT",
        "ALTER TABLE shares ADD COLUMN max_body INTEGER",
        "ALTER TABLE shares ADD COLUMN metrics INTEGER NOT NULL DEFAULT 0",
    ),
    ("ALTER TABLE shares ADD COLUMN suspended TEXT NOT NULL DEFAULT '{}'",),
)

_NONE_USED: Final = DailyUse(0.0)
_TERMS: Final = tuple(field.name for field in fields(ShareRecord))
_BESIDE: Final = ("token", "code", "code_until", "day_ends_at", "day_requests", "day_rows")
_JSON: Final = ("models", "suspended")
_SELECT: Final = f"SELECT {', '.join((*_BESIDE, *_TERMS))} FROM shares ORDER BY created_at, id"
_INSERT: Final = (
    f"INSERT INTO shares ({', '.join((*_BESIDE, *_TERMS))}) VALUES ({', '.join('?' * len((*_BESIDE, *_TERMS)))})"
)


@dataclass(frozen=True, slots=True)
class StoredShare:
    record: ShareRecord
    token: bytes | None
    """Its token's digest; None: it was not claimed yet."""
    code: bytes | None
    """The digest of the code that claims it; None: there is none any more."""
    code_until: float
    """Unix time after which the code is dead."""
    use: DailyUse = _NONE_USED
    """What it used of its daily quota."""


def share_file(folder: Path, key: str = "") -> Path:
    """The file in a data folder; `key` (ServerConfig.state_key) tells machines apart that share the folder."""
    return folder / (f"shares-{key}.sqlite" if key else "shares.sqlite")


class ShareStore:
    """Any number of threads may use it; a second process is refused the file. Made by the first share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        """Remarks of `open` for the user, each one sentence."""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def open(self) -> None:
        """Read the file where there is one. A damaged one is set aside, which ends its shares and `notes` says.

        Raises Conflict where another process has it open, Unsupported where a newer version wrote it, StorageError.
        """
        if not self.path.exists():
            return
        with self._failing():
            try:
                self._connection = _connected(self.path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                aside = set_aside(self.path)
                self.notes.append(f"the list of shares was damaged, and is set aside as {aside.name}: share anew")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def shares(self) -> list[StoredShare]:
        """All that are kept, the oldest first."""
        with self._lock, self._failing():
            if self._connection is None:
                return []
            rows = self._connection.execute(_SELECT).fetchall()
        return list(map(_stored, rows))

    def add(self, share: StoredShare) -> None:
        """Raises StorageError; then it is not there."""
        use = share.use
        beside = share.token, share.code, share.code_until, use.ends_at, use.requests, use.rows
        terms = (json.dumps(value) if name in _JSON else value for name, value in asdict(share.record).items())
        self._change(_INSERT, (*beside, *terms))

    def claim(self, id: str, token: bytes) -> None:
        """Give the share this token's digest, in place of its code. Raises StorageError; then the code stays."""
        self._change("UPDATE shares SET token = ?, code = NULL WHERE id = ?", (token, id))

    def revoke(self, id: str, at: float) -> None:
        """Raises StorageError."""
        self._change("UPDATE shares SET revoked_at = ?, token = NULL, code = NULL WHERE id = ?", (at, id))

    def suspend(self, id: str, model: str, why: str) -> ShareRecord | None:
        """Keep the share from this model; None: there is no such share. Raises StorageError."""
        record = next((each.record for each in self.shares() if each.record.id == id), None)
        if record is not None:
            self.suspensions(id, {**record.suspended, model: why})
        return record

    def suspensions(self, id: str, suspended: Mapping[str, str]) -> None:
        """Keep the share from these models, and from no others. Raises StorageError."""
        self._change("UPDATE shares SET suspended = ? WHERE id = ?", (json.dumps(dict(suspended)), id))

    def first_called(self, id: str, at: float) -> None:
        """Raises StorageError."""
        self._change("UPDATE shares SET first_call_at = ? WHERE id = ?", (at, id))

    def used(self, uses: Mapping[str, DailyUse]) -> None:
        """Keep what shares used of their quotas, by id; all in one write. Raises StorageError."""
        rows = [(use.ends_at, use.requests, use.rows, id) for id, use in uses.items()]
        self._change("UPDATE shares SET day_ends_at = ?, day_requests = ?, day_rows = ? WHERE id = ?", *rows)

    def _change(self, statement: str, *parameters: tuple[object, ...]) -> None:
        """With each of `parameters`, in one transaction, which is on the disk when this returns."""
        with self._lock, self._failing():
            if self._closed:
                raise StorageError("the list of shares is closed: the service is ending")
            if self._connection is None:
                self._connection = _connected(self.path)
            self._connection.execute("BEGIN")
            try:
                self._connection.executemany(statement, parameters)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _storage_error(error) from None
        except OSError as error:
            raise StorageError(
                f"the list of shares in the data folder cannot be opened ({error.strerror}): check who owns it"
            ) from None


def _stored(row: Sequence[Any]) -> StoredShare:
    """Of a row of _SELECT."""
    token, code, code_until, *day = row[: len(_BESIDE)]
    terms = dict(zip(_TERMS, row[len(_BESIDE) :], strict=True))
    terms |= {"models": tuple(json.loads(terms["models"])), "metrics": bool(terms["metrics"])}
    terms["suspended"] = json.loads(terms["suspended"])
    return StoredShare(ShareRecord(**terms), token, code, code_until or 0.0, DailyUse(*day))


def _connected(path: Path) -> sqlite3.Connection:
    """The file's connection, of the present schema; sqlite3.DatabaseError where it is damaged."""
    connection = connect(path, BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        if (version := schema(connection)) > len(MIGRATIONS):
            raise Unsupported(
                f"the list of shares in the data folder was written by a newer version (its schema is {version}, this "
                f"version knows {len(MIGRATIONS)}): use that version again, or give another folder with --data-dir"
            )
        # As the service's state: one process a file, and without WAL, since the folder may lie on a network.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        migrate(connection, MIGRATIONS)
        check(connection, {"shares"})
        connection.execute(
            "DELETE FROM shares WHERE min(expires_at, ifnull(revoked_at, expires_at)) < ?", (time.time() - KEPT_S,)
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _storage_error(error: sqlite3.Error) -> StorageError | Conflict:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return Conflict("another service uses this data folder: stop it, or give another folder with --data-dir")
    if code == sqlite3.SQLITE_FULL or "full" in str(error):
        return StorageError("the disk of the data folder is full: free some space and ask again; nothing was changed")
    return StorageError(f"the list of shares in the data folder could not be used ({error}); nothing was changed")
