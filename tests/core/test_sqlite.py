"""What the files of ours have in common; what each makes of it is in its own tests."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from workbench.core.sqlite import check, connect, is_damage, migrate, schema, set_aside

STEPS = (("CREATE TABLE a (x)",), ("ALTER TABLE a ADD COLUMN y", "CREATE TABLE b (z)"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, 1.0)) as connection:
        yield connection


def test_a_file_is_its_owners_alone(path: Path, connection: sqlite3.Connection) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_step_is_taken_once(connection: sqlite3.Connection) -> None:
    assert schema(connection) == 0
    migrate(connection, STEPS[:1])
    connection.execute("INSERT INTO a VALUES (1)")
    migrate(connection, STEPS)
    migrate(connection, STEPS)
    assert schema(connection) == 2
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, None)]


def test_a_lacking_table_is_damage_and_a_busy_file_is_none(path: Path, connection: sqlite3.Connection) -> None:
    migrate(connection, STEPS)
    check(connection, {"a", "b"})
    with pytest.raises(sqlite3.DatabaseError) as caught:
        check(connection, {"a", "c"})
    assert is_damage(caught.value)
    connection.execute("BEGIN EXCLUSIVE")
    with closing(connect(path, 0.01)) as other, pytest.raises(sqlite3.OperationalError) as busy:
        other.execute("BEGIN EXCLUSIVE")
    assert not is_damage(busy.value)


def test_nothing_that_was_set_aside_is_written_over(path: Path) -> None:
    aside = {}
    for text in ("one", "two", "three"):
        path.write_text(text)
        path.with_name(f"{path.name}-journal").write_text(f"of {text}")
        aside[set_aside(path)] = text
    assert not path.exists() and not path.with_name(f"{path.name}-journal").exists()
    assert len(aside) == 3
    for name, text in aside.items():
        assert (name.read_text(), name.with_name(f"{name.name}-journal").read_text()) == (text, f"of {text}")
