"""`History`: the kept runs, in one SQLite file in the user's data folder that all processes share.

    runs        one row a run: its summary as columns, the whole run as compressed JSON
    numbers     how many runs a model has had, so that "digits-4" is never used twice

A connection lasts for one transaction, so threads, forks and other processes need not coordinate; a writer waits for
another. No WAL: its shared memory does not work on network file systems, where home folders may lie.
A run is written when it begins, now and then while it runs, and when it ends, each time replacing the row. The next
access marks a run whose process has died as cut short.
"""

from __future__ import annotations

import difflib
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from workbench.core.sqlite import Migrations, check, connect, is_damage, migrate, schema, set_aside
from workbench.errors import NotFound, StorageError, Unsupported
from workbench.loadtest.analysis.aggregate import Stretch
from workbench.loadtest.store.run import Run, RunState, decode, encode
from workbench.rendezvous.folder import data_folder, machine_name
from workbench.rendezvous.process_identity import ProcessKey, this_process

if TYPE_CHECKING:
    import pandas as pd

KEPT_RUNS = 2000
"""Older runs are deleted when another is kept. A run of a minute takes some 20 kB."""

BUSY_TIMEOUT_S = 20.0
"""How long to wait for another writer."""

SAVE_EVERY_S = 5.0
"""How often a running test should be saved."""

SILENT_S = 12 * SAVE_EVERY_S
"""A run of another machine, whose processes cannot be seen, counts as dead after this silence."""

DIED = "the process that ran it ended before it was done; the figures are those until shortly before"

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, model TEXT NOT NULL, kind TEXT NOT NULL, started_at REAL NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'done', 'cut short')), summary TEXT NOT NULL,
            answered_per_s REAL NOT NULL, p50_s REAL, p99_s REAL, error_share REAL, held INTEGER NOT NULL,
            limited INTEGER NOT NULL, version TEXT NOT NULL, owner TEXT NOT NULL, saved_at REAL NOT NULL,
            body BLOB NOT NULL)""",
        "CREATE INDEX runs_by_time ON runs (started_at)",
        "CREATE TABLE numbers (model TEXT PRIMARY KEY, last INTEGER NOT NULL)",
    ),
)
_TABLES = {"runs", "numbers"}

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A kept run as lists show it; the first columns of its row."""

    id: str
    model: str
    kind: str
    started_at: float
    state: RunState
    summary: str
    answered_per_s: float
    p50_s: float | None
    p99_s: float | None
    error_share: float | None
    held: bool
    limited: bool
    """The generator was the limit."""
    version: str

    @property
    def found_nothing(self) -> bool:
        """Whether it is a search in which no rate held; it then has no figures."""
        return self.kind == "search" and not self.held and self.p99_s is None

    @property
    def standing(self) -> str:
        """How it stands, in a word or a few: "done", "did not hold", "no rate held", "generator at its limit" ..."""
        if self.state is not RunState.DONE:
            return str(self.state)
        if self.found_nothing:
            return "failed: no rate held"
        if self.limited:
            return "generator at its limit"
        return str(self.state) if self.held else "did not hold"


_COLUMNS = ", ".join(field.name for field in fields(RunSummary))


def summary_of(run: Run) -> RunSummary:
    """The run in a list. A search in which no rate held has no figures: those of its last test are of no answer."""
    found = run.kind != "search" or any(point.held for point in run.points)
    whole = run.whole if found else Stretch()
    return RunSummary(
        id=run.id,
        model=run.model,
        kind=run.kind,
        started_at=run.started_at,
        state=run.state,
        summary=run.summary,
        answered_per_s=whole.answered_per_s,
        p50_s=whole.quantile(0.5),
        p99_s=whole.quantile(0.99),
        error_share=whole.error_share,
        held=run.held,
        limited=bool(run.limit),
        version=str(run.target.get("version") or ""),
    )


def frame_of(listed: Sequence[RunSummary]) -> pd.DataFrame:
    """One row a run, indexed by id."""
    import pandas as pd

    columns = [
        "started",
        "model",
        "version",
        "what",
        "state",
        "requests_per_s",
        "p50_ms",
        "p99_ms",
        "errors",
        "held",
    ]
    rows = [
        (
            pd.Timestamp(int(each.started_at), unit="s", tz="UTC"),
            each.model,
            each.version,
            each.summary.partition(": ")[2] or each.summary,
            each.standing,
            float("nan") if each.found_nothing else round(each.answered_per_s, 1),
            _milliseconds(each.p50_s),
            _milliseconds(each.p99_s),
            each.error_share,
            each.held,
        )
        for each in listed
    ]
    index = pd.Index([each.id for each in listed], name="run", dtype="str")
    return pd.DataFrame(rows, index=index, columns=columns)


class History:
    """The kept runs in one file. Any thread or process may use it at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        """Problems that the user should know of, each one sentence."""
        self._checked = False

    def begin(self, run: Run) -> Run:
        """Keep a run that starts now, and return it with its id. Raises StorageError, as `save` does."""

        def insert(connection: sqlite3.Connection) -> Run:
            connection.execute(
                "INSERT INTO numbers VALUES (?, 1) ON CONFLICT DO UPDATE SET last = last + 1", (run.model,)
            )
            (number,) = connection.execute("SELECT last FROM numbers WHERE model = ?", (run.model,)).fetchone()
            named = replace(run, id=f"{run.model}-{number}")
            _put(connection, named)
            connection.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY started_at DESC LIMIT -1 OFFSET ?)",
                (KEPT_RUNS,),
            )
            return named

        return self._done(insert)

    def save(self, run: Run) -> None:
        """Replace the kept run.

        Raises StorageError where it cannot be written; the file then still has the earlier one.
        """
        self._done(lambda connection: _put(connection, run))

    def run(self, name: str) -> Run:
        """The run with this id; "last" or a model's name for the latest one. Raises NotFound."""

        def look(connection: sqlite3.Connection) -> Run:
            which = {"last": ("true", ())}.get(name, ("id = ?1 OR model = ?1", (name,)))
            found = connection.execute(
                f"SELECT body, state FROM runs WHERE {which[0]} ORDER BY started_at DESC LIMIT 1", which[1]
            ).fetchone()
            if found is None:
                raise NotFound(_not_found(name, connection))
            body, state = found
            run = decode(zlib.decompress(body))
            if run.state is not RunState(state):
                run = replace(run, state=RunState(state), reason=run.reason or DIED)
            return run

        return self._done(look, "BEGIN")

    def list(self, model: str | None = None, limit: int | None = None) -> list[RunSummary]:
        """Summaries, the latest first."""

        def look(connection: sqlite3.Connection) -> list[RunSummary]:
            where = "WHERE model = ?" if model is not None else ""
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM runs {where} ORDER BY started_at DESC, rowid DESC LIMIT ?",
                (*([] if model is None else [model]), -1 if limit is None else limit),
            )
            return [_run_summary(row) for row in rows]

        return self._done(look, "BEGIN")

    def to_pandas(self, model: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """One row a run, the latest first, indexed by id."""
        return frame_of(self.list(model, limit))

    def _done(self, work: Callable[[sqlite3.Connection], Answer], begin: str = "BEGIN IMMEDIATE") -> Answer:
        """Do `work` in one transaction. A damaged file is set aside, and the work done on a new one."""
        try:
            try:
                return self._transaction(work, begin)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._set_aside()
                return self._transaction(work, begin)
        except sqlite3.Error as error:
            raise _storage_error(error) from None
        except OSError as error:
            raise StorageError(
                f"the history of load tests cannot be opened ({error.strerror}): check who owns the data folder"
            ) from None

    def _transaction(self, work: Callable[[sqlite3.Connection], Answer], begin: str) -> Answer:
        with closing(_connected(self.path, checked=self._checked)) as connection:
            self._checked = True
            with suppress(sqlite3.OperationalError):  # reading works on a full disk, too
                _mark_the_dead(connection)
            connection.execute(begin)
            try:
                answer = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        return answer

    def _set_aside(self) -> None:
        """Rename the damaged file, add that to `notes`, and begin a new one."""
        with FileLock(f"{self.path}.lock", timeout=BUSY_TIMEOUT_S):
            try:
                _connected(self.path, checked=False).close()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                aside = set_aside(self.path)
                self.notes.append(
                    f"the history of load tests was damaged, and is set aside as {aside.name}; a new one begins"
                )
                _connected(self.path, checked=True).close()
            # else: another process has set it aside meanwhile


def history() -> History:
    """The history of this user."""
    return History(data_folder() / "history.sqlite")


def _connected(path: Path, *, checked: bool) -> sqlite3.Connection:
    """A connection to the file, which is made or migrated where needed. Raises sqlite3.DatabaseError with a matching
    code where it is damaged."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = connect(path, BUSY_TIMEOUT_S)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        if schema(connection) != len(MIGRATIONS):
            _migrate(connection)
            checked = False
        if not checked:
            check(connection, _TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")  # another process may have come first
    try:
        if (version := schema(connection)) > len(MIGRATIONS):
            raise Unsupported(
                f"the history of load tests was written by a newer version (its schema is {version}, this version "
                f"knows {len(MIGRATIONS)}): use that version again; nothing was changed"
            )
        migrate(connection, MIGRATIONS)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _put(connection: sqlite3.Connection, run: Run) -> None:
    columns = (*astuple(summary_of(run)), _owner(), time.time(), zlib.compress(encode(run)))
    connection.execute(f"INSERT OR REPLACE INTO runs VALUES ({', '.join('?' * len(columns))})", columns)


def _owner() -> str:
    process = this_process()
    return json.dumps({"machine": machine_name(), "pid": process.pid, "began": process.began})


def _mark_the_dead(connection: sqlite3.Connection) -> None:
    for name, owner, saved_at in connection.execute(
        "SELECT id, owner, saved_at FROM runs WHERE state = 'running'"
    ).fetchall():
        if not _alive(json.loads(owner), saved_at):
            connection.execute(
                "UPDATE runs SET state = 'cut short' WHERE id = ? AND owner = ? AND state = 'running'", (name, owner)
            )


def _alive(owner: dict[str, int | str], saved_at: float) -> bool:
    if owner["machine"] != machine_name():
        return time.time() - saved_at < SILENT_S
    return ProcessKey(int(owner["pid"]), int(owner["began"])).alive


def _run_summary(row: Sequence[object]) -> RunSummary:
    found = RunSummary(*row)  # type: ignore[arg-type]
    return replace(found, state=RunState(found.state), held=bool(found.held), limited=bool(found.limited))


def _not_found(name: str, connection: sqlite3.Connection) -> str:
    known = [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY started_at DESC")]
    if not known:
        return f"there is no run {name!r}: no load test has been kept yet"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}" if near else f"the latest are {', '.join(known[:3])}"
    return f"there is no run {name!r}; {hint}? %infer history lists them"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)


def _storage_error(error: sqlite3.Error) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return StorageError("the history of load tests is being written by another process for too long: try again")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageError(
            "the run could not be kept, since the disk of the data folder is full or does not work: its figures are "
            "still here; free some space, then report.keep(), or write them elsewhere with report.to_json(FILE)"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StorageError("the history of load tests cannot be written: check who owns the data folder")
    return StorageError(f"the history of load tests could not be used ({error}); nothing was changed")
