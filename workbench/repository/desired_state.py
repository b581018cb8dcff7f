"""What is to be served, on disk: the models, versions and settings that a restart brings back.

    models      one row that serves and one that is being tried (or died of it) a name
    versions    what a name has served, the last five: their files stay in the store
    proved      digests that were loaded and run once in a process of their own
    inspected   what was found in files that were read in a process of their own
    trying      digests that are being read or tried there at the moment
    beside      versions that are loaded without being routed to, and the `plans` that name them
    asked       models of the repositories that were asked for by name
    rollouts    the last rollout of each name, as the service has written it
    forgotten   digests that no row names any more, whose files may go

Every change is one transaction, on the disk before it returns. An attempt is noted before it is made, so that what
killed the process is known when the next one starts, and is not tried again in a loop.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from workbench.core.model import DesiredModel
from workbench.core.sqlite import Migrations, check, connect, is_damage, migrate, schema, set_aside
from workbench.core.version_plan import VersionPlan
from workbench.errors import Conflict, ModelError, StorageError, Unsupported
from workbench.repository.local import is_model_name
from workbench.repository.state_rows import (
    ASKED_TABLES,
    ROLLOUT_TABLES,
    VERSION_TABLES,
    columns_of,
    model_of,
    plan_of,
    text_of,
)

KEPT_VERSIONS = 5
KEPT_PROOFS = 10_000
KEPT_INSPECTIONS = 2_000

BUSY_TIMEOUT_S = 5.0
"""The longest time that a service which is just ending may still hold the file."""

DIED_LOADING = (
    "the service ended while it was loading this model, of it or of something else; load it again to try once more"
)
DIED_RESTORING = "the service died twice while restoring this model; load it again to try once more"
DIED_TRYING = (
    "the service or its machine ended while this model was being tried out, of it or of something else; load it again "
    "to try once more"
)

HARMFUL = "quarantined: "
"""The reason of a model that is not served since its runs ended the service begins so."""

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE models (
            name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, config TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('attempting', 'serving', 'quarantined')),
            reason TEXT NOT NULL DEFAULT '', since REAL NOT NULL, deaths INTEGER NOT NULL DEFAULT 0)""",
        "CREATE UNIQUE INDEX serves ON models (name) WHERE state = 'serving'",
        "CREATE UNIQUE INDEX tries ON models (name) WHERE state <> 'serving'",
        """CREATE TABLE versions (
            name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, config TEXT NOT NULL,
            since REAL NOT NULL, PRIMARY KEY (name, version))""",
        "CREATE TABLE proved (digest TEXT PRIMARY KEY, since REAL NOT NULL)",
        "CREATE TABLE forgotten (digest TEXT PRIMARY KEY)",
    ),
    (
        "CREATE TABLE inspected (digest TEXT PRIMARY KEY, since REAL NOT NULL, found BLOB NOT NULL)",
        "CREATE TABLE trying (digest TEXT PRIMARY KEY, died INTEGER NOT NULL DEFAULT 0)",
    ),
    VERSION_TABLES,
    ASKED_TABLES,
    ROLLOUT_TABLES,
)
_TABLES = {
    "models",
    "versions",
    "proved",
    "inspected",
    "trying",
    "forgotten",
    "beside",
    "plans",
    "asked",
    "rollouts",
}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMED = "SELECT digest FROM models UNION SELECT digest FROM versions UNION SELECT digest FROM beside"


class DesiredKind(StrEnum):
    ATTEMPTING = "attempting"
    SERVING = "serving"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Remembered:
    """One row of what is, or was to be, served."""

    model: DesiredModel
    kind: DesiredKind
    reason: str
    """Why it is quarantined; empty otherwise."""
    since: float
    """Unix time at which it came to be so."""
    suspect: bool
    """It serves, but the process died while it, perhaps among others, was being restored."""


def state_file(folder: Path, key: str = "") -> Path:
    """The state's file in a data folder; `key` (ServerConfig.state_key) tells machines apart that share the folder."""
    return folder / (f"state-{key}.sqlite" if key else "state.sqlite")


class DesiredState:
    """Implements core.ports.Journal. Any number of threads may use it; a second process is refused the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        """Remarks of `open` for the user, each one sentence."""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    # Life

    def open(self) -> None:
        """Read the file, or make one. What was being tried when the last process died is quarantined.

        A damaged file is set aside under another name, which `notes` says. Raises Conflict where another process has
        it open, Unsupported, touching nothing, where a newer version wrote it, StorageError where it cannot be used.
        """
        try:
            try:
                self._connection = _connected(self.path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                aside = set_aside(self.path)
                self.notes.append(
                    f"the list of models to serve was damaged, and is set aside as {aside.name}: load the models again"
                )
                self._connection = _connected(self.path)
        except sqlite3.Error as error:
            raise _storage_error(error) from None
        except OSError as error:
            raise StorageError(
                f"the state in the data folder cannot be opened ({error.strerror}): check who owns it, or give another "
                "folder with --data-dir"
            ) from None
        try:
            self._after_a_death()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """An orderly end: nothing that is still under way was to blame for it."""
        if self._connection is None:
            return
        with suppress(StorageError), self._changing() as connection:
            execute(connection, "DELETE FROM models WHERE state = 'attempting'")
            execute(connection, "DELETE FROM trying WHERE NOT died")
            execute(connection, "UPDATE models SET deaths = 0 WHERE deaths > 0 AND state = 'serving'")
            execute(connection, "UPDATE beside SET deaths = 0 WHERE deaths > 0")
        with self._lock:
            self._connection.close()
            self._connection = None

    # Journal

    def attempting(self, model: DesiredModel) -> None:
        with self._changing() as connection:
            execute(connection, "DELETE FROM models WHERE name = ? AND state <> 'serving'", (model.name,))
            _insert(connection, model, DesiredKind.ATTEMPTING, time.time())

    def restoring(self, model: DesiredModel) -> None:
        with self._changing() as connection:
            for table in ("models", "beside"):
                which = "name = ? AND version = ?" + (" AND state = 'serving'" if table == "models" else "")
                execute(
                    connection,
                    f"UPDATE {table} SET deaths = deaths + 1 WHERE {which}",
                    (model.name, model.version),
                )

    def restored(self, model: DesiredModel) -> None:
        with self._changing() as connection:
            execute(
                connection, "UPDATE beside SET deaths = 0 WHERE name = ? AND version = ?", (model.name, model.version)
            )

    def arranged(self, name: str, plan: VersionPlan, beside: Sequence[DesiredModel] = ()) -> None:
        with self._changing() as connection:
            execute(connection, "DELETE FROM models WHERE name = ? AND state = 'attempting'", (name,))
            self._arrange(connection, name, plan, beside)

    def serving(
        self, model: DesiredModel, plan: VersionPlan | None = None, beside: Sequence[DesiredModel] = ()
    ) -> None:
        now = time.time()
        with self._changing() as connection:
            before = connection.execute(
                "SELECT since FROM models WHERE name = ? AND state = 'serving' AND version = ? AND digest = ?",
                (model.name, model.version, model.digest),
            ).fetchone()
            # What served already says nothing of another version that is quarantined beside it.
            gone = "state <> 'quarantined'" if before else "true"
            execute(connection, f"DELETE FROM models WHERE name = ? AND {gone}", (model.name,))
            _insert(connection, model, DesiredKind.SERVING, before[0] if before else now)
            execute(
                connection,
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET config = excluded.config, "
                "since = iif(digest = excluded.digest, since, excluded.since), digest = excluded.digest",
                (*columns_of(model), now),
            )
            execute(
                connection,
                "DELETE FROM versions WHERE name = ?1 AND version <> ?2 AND version NOT IN (SELECT version FROM "
                "versions WHERE name = ?1 AND version <> ?2 ORDER BY since DESC, rowid DESC LIMIT ?3)",
                (model.name, model.version, KEPT_VERSIONS - 1),
            )
            if plan is not None:
                self._arrange(connection, model.name, plan, beside)

    def settled(self, name: str) -> None:
        with self._changing() as connection:
            execute(connection, "DELETE FROM models WHERE name = ? AND state = 'attempting'", (name,))

    def unloaded(self, name: str, version: str | None = None) -> None:
        with self._changing() as connection:
            if version is not None:
                for table in ("models", "beside"):
                    which = "name = ? AND version = ?" + (" AND state <> 'serving'" if table == "models" else "")
                    execute(connection, f"DELETE FROM {table} WHERE {which}", (name, version))
                return
            execute(connection, "DELETE FROM models WHERE name = ?", (name,))
            for table in ("versions", "beside", "plans", "rollouts"):
                execute(connection, f"DELETE FROM {table} WHERE name = ?", (name,))

    def quarantined(self, model: DesiredModel, why: str) -> None:
        """`model` is not to be served any more, nor after a restart, until something is loaded under its name. Nothing
        changes where the name is to serve something else by now."""
        with self._changing() as connection:
            serves = connection.execute(
                "SELECT version, digest FROM models WHERE name = ? AND state = 'serving'", (model.name,)
            ).fetchone()
            beside = connection.execute(
                "SELECT 1 FROM beside WHERE name = ? AND version = ? AND digest = ?",
                (model.name, model.version, model.digest),
            ).fetchone()
            if beside is None and serves not in (None, (model.version, model.digest)):
                return
            execute(connection, "DELETE FROM models WHERE name = ? AND state <> 'serving'", (model.name,))
            if beside is not None or serves is None:  # None: a flag or a repository names it
                _insert(connection, model, DesiredKind.QUARANTINED, time.time())
            execute(connection, "DELETE FROM beside WHERE name = ? AND version = ?", (model.name, model.version))
            execute(
                connection,
                "UPDATE models SET state = 'quarantined', reason = ?, deaths = 0 WHERE name = ? AND version = ?",
                (f"{HARMFUL}{why}; load it again to try once more, or unload it", model.name, model.version),
            )

    # Reading

    def models(self) -> list[Remembered]:
        """All rows, by name; what serves first."""
        query = (
            "SELECT name, version, digest, config, state, reason, since, deaths FROM models "
            "ORDER BY name, state <> 'serving'"
        )
        found = []
        for *columns, kind, reason, since, deaths in self._read(query):
            if (model := model_of(*columns)) is not None:
                found.append(Remembered(model, DesiredKind(kind), reason, since, deaths > 0))
        return found

    def versions(self, name: str) -> list[DesiredModel]:
        """All models that the name has served, the latest first, the current one included."""
        query = "SELECT name, version, digest, config FROM versions WHERE name = ? ORDER BY since DESC, rowid DESC"
        return [model for row in self._read(query, (name,)) if (model := model_of(*row)) is not None]

    def remembered(self, name: str, version: str) -> DesiredModel | None:
        query = (
            "SELECT name, version, digest, config FROM beside WHERE name = ?1 AND version = ?2 UNION ALL "
            "SELECT name, version, digest, config FROM versions WHERE name = ?1 AND version = ?2"
        )
        found = [model for row in self._read(query, (name, version)) if (model := model_of(*row)) is not None]
        return found[0] if found else None

    def beside(self) -> list[tuple[DesiredModel, bool]]:
        """The versions that are loaded without being routed to; True: the process died while it was being restored."""
        query = "SELECT name, version, digest, config, deaths FROM beside ORDER BY name, CAST(version AS INTEGER)"
        return [(model, deaths > 0) for *row, deaths in self._read(query) if (model := model_of(*row)) is not None]

    def plans(self) -> dict[str, VersionPlan]:
        """What each name stands for beside its routed version."""
        found = {name: plan_of(name, text) for name, text in self._read("SELECT name, plan FROM plans")}
        return {name: plan for name, plan in found.items() if plan != VersionPlan()}

    def asked(self) -> list[str]:
        """The models of the repositories that were asked for by their names."""
        names = [str(name) for (name,) in self._read("SELECT name FROM asked ORDER BY name")]
        return [name for name in names if is_model_name(name)]

    def keep_asked(self, names: Collection[str]) -> None:
        """These and no others are asked for, from now on."""
        with self._changing() as connection:
            execute(connection, "DELETE FROM asked")
            for name in names:
                execute(connection, "INSERT INTO asked VALUES (?)", (name,))

    def rollouts(self) -> dict[str, str]:
        """The last rollout of each name."""
        return dict(self._read("SELECT name, rollout FROM rollouts"))

    def keep_rollout(self, name: str, text: str | None) -> None:
        """Of a name the rollout from now on; None: it has none."""
        with self._changing() as connection:
            if text is None:
                execute(connection, "DELETE FROM rollouts WHERE name = ?", (name,))
            else:
                execute(connection, "INSERT OR REPLACE INTO rollouts VALUES (?, ?)", (name, text))

    def owners(self) -> dict[str, str]:
        """Digest -> the models that it is kept for, in words."""
        found: dict[str, set[str]] = {}
        every = " UNION ".join(f"SELECT digest, name FROM {table}" for table in ("models", "versions", "beside"))
        for digest, name in self._read(every):
            found.setdefault(digest, set()).add(name)
        return {digest: " and ".join(sorted(names)) for digest, names in found.items()}

    # Proofs

    def is_proved(self, digest: str) -> bool:
        """Whether this model was once loaded and run in a process of its own, and came out of it well."""
        return bool(self._read("SELECT 1 FROM proved WHERE digest = ?", (digest,)))

    def inspected(self, key: str) -> bytes | None:
        """What was found in a file; its key says its content, and who read it."""
        found = self._read("SELECT found FROM inspected WHERE digest = ?", (key,))
        return bytes(found[0][0]) if found else None

    def trying(self, digest: str) -> None:
        """This is about to be read or tried in a process of its own. Raises ModelError, once, where the last process
        or its machine ended over it."""
        with self._changing() as connection:
            if connection.execute("DELETE FROM trying WHERE digest = ? AND died RETURNING 1", (digest,)).fetchall():
                died = True
            else:
                died = False
                execute(connection, "INSERT OR IGNORE INTO trying (digest) VALUES (?)", (digest,))
        if died:
            raise ModelError(DIED_TRYING)

    def tried(self, digest: str, *, well: bool | None = None, key: str = "", found: bytes = b"") -> None:
        """That is over. `well`: it came out of a trial well, or not; None: nothing is said of that. With a `key`, this
        was found in the file."""
        with self._changing() as connection:
            execute(connection, "DELETE FROM trying WHERE digest = ? AND NOT died", (digest,))
            if well:
                _keep(connection, "proved", KEPT_PROOFS, digest, time.time())
            elif well is not None:
                execute(connection, "DELETE FROM proved WHERE digest = ?", (digest,))
            if key:
                _keep(connection, "inspected", KEPT_INSPECTIONS, key, time.time(), found)

    # Files that may go

    def forgotten(self, others: Collection[str] = ()) -> list[str]:
        """Digests that no row names any more, here or in the state of another machine that shares the folder; with
        those among `others` that none ever named."""
        named = {digest for (digest,) in self._read(_NAMED)}
        found = ({digest for (digest,) in self._read("SELECT digest FROM forgotten")} | set(others)) - named
        for other in self.path.parent.glob("state*.sqlite"):
            if found and other != self.path:
                found -= _named_in(other, found)
        return sorted(found)

    def dropped(self, digest: str) -> None:
        """Its file is gone."""
        with self._changing() as connection:
            execute(connection, "DELETE FROM forgotten WHERE digest = ?", (digest,))

    # Below: how

    def _after_a_death(self) -> None:
        with self._changing() as connection:
            execute(connection, "UPDATE trying SET died = 1")
            # Other settings for what serves, a reload of it: what serves comes back with those that it had.
            undone = [
                name
                for (name,) in connection.execute(
                    "SELECT tried.name FROM models tried JOIN models serves USING (name, version, digest) "
                    "WHERE tried.state = 'attempting' AND serves.state = 'serving'"
                )
            ]
            for name in undone:
                execute(connection, "DELETE FROM models WHERE name = ? AND state = 'attempting'", (name,))
                self.notes.append(
                    f"the service died while model {name!r} was loaded anew with other settings; it has its former ones"
                )
            # It may have been innocent: asked for again, it is first tried out in a process of its own once more.
            execute(
                connection,
                "DELETE FROM proved WHERE digest IN (SELECT digest FROM models WHERE state = 'attempting')",
            )
            execute(
                connection,
                "UPDATE models SET state = 'quarantined', reason = ? WHERE state = 'attempting'",
                (DIED_LOADING,),
            )
            execute(
                connection,
                "DELETE FROM models WHERE state = 'quarantined' AND name IN (SELECT name FROM models WHERE deaths > 1)",
            )
            for name, version, digest, config in connection.execute(
                "SELECT name, version, digest, config FROM beside WHERE deaths > 1"
            ).fetchall():
                execute(connection, "DELETE FROM models WHERE name = ? AND state = 'quarantined'", (name,))
                execute(
                    connection,
                    "INSERT INTO models (name, version, digest, config, state, reason, since) VALUES (?, ?, ?, ?, "
                    "'quarantined', ?, ?)",
                    (name, version, digest, config, DIED_RESTORING, time.time()),
                )
            execute(connection, "DELETE FROM beside WHERE deaths > 1")
            execute(
                connection,
                "UPDATE models SET state = 'quarantined', reason = ?, deaths = 0 WHERE deaths > 1",
                (DIED_RESTORING,),
            )

    @staticmethod
    def _arrange(connection: sqlite3.Connection, name: str, plan: VersionPlan, beside: Sequence[DesiredModel]) -> None:
        marks = ", ".join("?" * len(plan.beside))
        execute(connection, f"DELETE FROM beside WHERE name = ? AND version NOT IN ({marks})", (name, *plan.beside))
        for model in beside:
            execute(
                connection,
                "INSERT OR REPLACE INTO beside (name, version, digest, config, since) VALUES (?, ?, ?, ?, ?)",
                (*columns_of(model), time.time()),
            )
        execute(connection, "DELETE FROM plans WHERE name = ?", (name,))
        if plan != VersionPlan():
            execute(connection, "INSERT INTO plans VALUES (?, ?)", (name, text_of(plan)))

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk at the end of the block, or nothing, and then StorageError."""
        with self._lock:
            connection = self._connection
            if connection is None:
                raise StorageError("the state in the data folder is closed")
            try:
                execute(connection, "BEGIN IMMEDIATE")
                before = _named(connection)
                yield connection
                after = _named(connection)
                for digest in before - after:
                    execute(connection, "INSERT OR IGNORE INTO forgotten VALUES (?)", (digest,))
                for digest in after - before:
                    execute(connection, "DELETE FROM forgotten WHERE digest = ?", (digest,))
                execute(connection, "COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise _storage_error(error) from None
                raise

    def _read(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            if self._connection is None:
                raise StorageError("the state in the data folder is closed")
            try:
                return self._connection.execute(query, parameters).fetchall()
            except sqlite3.Error as error:
                raise _storage_error(error) from None


def execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[object] = ()) -> None:
    """Every statement that writes, begins or ends a transaction of an open state goes through here."""
    connection.execute(statement, parameters)


def _connected(path: Path) -> sqlite3.Connection:
    """The file's connection, of the present schema; sqlite3.DatabaseError where it is damaged."""
    connection = connect(path, BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        if (version := schema(connection)) > len(MIGRATIONS):
            raise Unsupported(
                f"the state in the data folder was written by a newer version (its schema is {version}, this version "
                f"knows {len(MIGRATIONS)}): use that version again, or give another folder with --data-dir"
            )
        # Held until the connection or the process ends: one service a file. And without shared memory, which WAL
        # would need, since the folder may lie on a network.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        migrate(connection, MIGRATIONS)
        check(connection, _TABLES)
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
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StorageError("the state in the data folder cannot be written: check who owns it; nothing was changed")
    return StorageError(f"the state in the data folder could not be used ({error}); nothing was changed")


def _named(connection: sqlite3.Connection) -> set[str]:
    return {digest for (digest,) in connection.execute(_NAMED)}


def _named_in(path: Path, asked: set[str]) -> set[str]:
    """The digests of `asked` that another machine's state names; all of them where it cannot be read now."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)) as connection:
            return _named(connection) & asked
    except sqlite3.Error:
        return set(asked)


def _keep(connection: sqlite3.Connection, table: str, most: int, *row: object) -> None:
    """`row` begins with a digest and the time; of the others the latest stay."""
    execute(connection, f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    latest = f"SELECT digest FROM {table} ORDER BY since DESC LIMIT ?"
    execute(connection, f"DELETE FROM {table} WHERE digest NOT IN ({latest})", (most,))


def _insert(connection: sqlite3.Connection, model: DesiredModel, kind: DesiredKind, since: float) -> None:
    statement = "INSERT INTO models (name, version, digest, config, state, since) VALUES (?, ?, ?, ?, ?, ?)"
    execute(connection, statement, (*columns_of(model), kind.value, since))
