"""An SQLite file of ours: for its owner's eyes only, of a known schema, and set aside where it proves to be damaged."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence, Set
from itertools import count
from pathlib import Path

Migrations = Sequence[Sequence[str]]
"""Entry n holds the statements that lead from schema n to n + 1; `PRAGMA user_version` says which one a file has."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def connect(path: Path, busy_timeout_s: float, *, check_same_thread: bool = True) -> sqlite3.Connection:
    """A connection to the file, made where it is not there. Transactions are the caller's to begin."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # sqlite would let others read it
    return sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=check_same_thread)


def schema(connection: sqlite3.Connection) -> int:
    """The version of the file's schema; 0: it is empty."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: Migrations) -> None:
    """Lead the file to the last schema, within the transaction that is open."""
    for number, statements in enumerate(migrations[schema(connection) :], schema(connection) + 1):
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")


def check(connection: sqlite3.Connection, tables: Set[str]) -> None:
    """Raises sqlite3.DatabaseError, one of damage, where the file is not whole, or lacks one of `tables`."""
    found = connection.execute("PRAGMA quick_check").fetchall()
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if found != [("ok",)] or not there >= tables:
        error = sqlite3.DatabaseError("the check failed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def set_aside(path: Path) -> Path:
    """Rename the file, and say how it is called now. Nothing is ever written over."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.name}.damaged-{stamp}{f'-{number}' if number > 1 else ''}" for number in count(1))
    aside = next(free for name in names if not (free := path.with_name(name)).exists())
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists() and journal.stat().st_size:  # left beside it, it would be played into the next file
        journal.rename(aside.with_name(f"{aside.name}-journal"))
    return path.rename(aside)
