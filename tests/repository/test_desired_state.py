"""What is to be served, over restarts, deaths, damage and full disks."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from workbench.config import ModelConfig
from workbench.core.model import DesiredModel
from workbench.errors import Conflict, ModelError, StorageError, Unsupported
from workbench.repository import desired_state
from workbench.repository.desired_state import DIED_LOADING, KEPT_VERSIONS, DesiredKind, DesiredState, state_file

Change = Callable[[DesiredState], None]


def model(name: str = "m", version: int = 1, **settings: object) -> DesiredModel:
    """One whose digest tells name and version."""
    digest = f"{name.encode().hex()}{version:04x}".rjust(64, "0")
    return DesiredModel(name, str(version), digest, ModelConfig(**settings))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def state(path: Path) -> DesiredState:
    return opened(path)


_opened: list[DesiredState] = []


@pytest.fixture(autouse=True)
def closed_at_the_end() -> Iterator[None]:
    yield
    for state in _opened:
        state.close()
    _opened.clear()


def opened(path: Path) -> DesiredState:
    state = DesiredState(path)
    state.open()
    _opened.append(state)
    return state


def kill(state: DesiredState) -> None:
    """The end of its process: nothing is tidied up."""
    assert state._connection is not None
    state._connection.close()
    state._connection = None


def rows(state: DesiredState) -> list[tuple[str, str, DesiredKind]]:
    return [(each.model.name, each.model.version, each.kind) for each in state.models()]


def test_what_serves_is_there_after_any_end(path: Path) -> None:
    first = model("first", 3, max_batch_size=7, batching="never", max_queue_delay_s=0.5)
    state = opened(path)
    state.attempting(first)
    state.serving(first)
    state.serving(model("second"))
    state.unloaded("second")
    kill(state)
    again = opened(path)
    (found,) = again.models()
    assert (found.model, found.kind, found.reason, found.suspect) == (first, DesiredKind.SERVING, "", False)
    assert found.since > 0
    again.close()
    assert [each.model for each in opened(path).models()] == [first]


def test_only_its_owner_can_read_the_file(state: DesiredState) -> None:
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600


def test_settings_change_in_place_and_keep_the_day(state: DesiredState) -> None:
    state.serving(model())
    (before,) = state.models()
    state.serving(model(max_batch_size=3))
    (after,) = state.models()
    assert after.since == before.since
    assert after.model.config.max_batch_size == 3
    assert [each.config.max_batch_size for each in state.versions("m")] == [3]


def test_a_model_that_was_being_loaded_at_the_death_is_quarantined_beside_the_one_that_served(path: Path) -> None:
    state = opened(path)
    state.serving(model("m", 1))
    state.attempting(model("m", 2))
    kill(state)
    state = opened(path)
    assert rows(state) == [("m", "1", DesiredKind.SERVING), ("m", "2", DesiredKind.QUARANTINED)]
    assert state.models()[1].reason == DIED_LOADING
    state.restoring(model("m", 1))
    state.serving(model("m", 1, max_batch_size=3))
    kill(state)
    state = opened(path)  # and it stays so
    assert rows(state)[1] == ("m", "2", DesiredKind.QUARANTINED)
    state.attempting(model("m", 2))
    state.serving(model("m", 2))
    assert rows(state) == [("m", "2", DesiredKind.SERVING)]
    state.close()


def test_an_attempt_that_ended_is_not_held_against_the_model(path: Path) -> None:
    state = opened(path)
    state.attempting(model())
    state.settled("m")
    assert rows(state) == []
    state.attempting(model())
    state.close()  # an orderly end
    assert rows(opened(path)) == []


def test_a_death_while_settings_were_changed_brings_back_the_former_ones(path: Path) -> None:
    state = opened(path)
    state.serving(model())
    state.attempting(model(batching="always"))
    kill(state)
    state = opened(path)
    (found,) = state.models()
    assert found.model == model()
    assert state.notes == [
        "the service died while model 'm' was loaded anew with other settings; it has its former ones"
    ]


def test_one_death_while_restoring_makes_suspect_and_two_quarantine(path: Path) -> None:
    state = opened(path)
    for name in ("a", "b"):
        state.serving(model(name))
    state.restoring(model("a"))
    kill(state)
    state = opened(path)
    assert [(each.model.name, each.suspect) for each in state.models()] == [("a", True), ("b", False)]
    state.restoring(model("a"))
    state.restoring(model("b"))
    state.serving(model("b"))
    kill(state)
    state = opened(path)
    assert rows(state) == [("a", "1", DesiredKind.QUARANTINED), ("b", "1", DesiredKind.SERVING)]
    assert "died twice while restoring" in state.models()[0].reason
    assert not state.models()[1].suspect


def test_a_quarantined_model_is_not_served_until_something_is_loaded_under_its_name(path: Path) -> None:
    state = opened(path)
    for name in ("m", "other"):
        state.serving(model(name))
    state.quarantined(model("m"), "it crashed")
    state.quarantined(model("flagged", 2), "it hung")
    state.quarantined(model("other", 2), "another version serves by now")
    state.close()
    state = opened(path)
    assert rows(state) == [
        ("flagged", "2", DesiredKind.QUARANTINED),
        ("m", "1", DesiredKind.QUARANTINED),
        ("other", "1", DesiredKind.SERVING),
    ]
    assert state.models()[1].reason == "quarantined: it crashed; load it again to try once more, or unload it"
    assert model("m").digest not in state.forgotten()
    state.serving(model("m"))
    state.unloaded("flagged")
    assert rows(state) == [("m", "1", DesiredKind.SERVING), ("other", "1", DesiredKind.SERVING)]


def test_an_orderly_end_while_restoring_blames_nobody(path: Path) -> None:
    state = opened(path)
    state.serving(model())
    state.restoring(model())
    state.close()
    assert not opened(path).models()[0].suspect


def test_five_versions_are_kept_and_the_files_of_older_ones_may_go(state: DesiredState) -> None:
    for version in range(1, KEPT_VERSIONS + 3):
        state.serving(model("m", version))
    assert [each.version for each in state.versions("m")] == ["7", "6", "5", "4", "3"]
    assert state.forgotten() == [model("m", 1).digest, model("m", 2).digest]
    state.dropped(model("m", 1).digest)
    state.serving(DesiredModel("other", "1", model("m", 2).digest))
    assert state.forgotten() == []
    state.unloaded("other")
    assert state.forgotten() == [model("m", 2).digest]


def test_a_file_that_anyone_desires_is_never_forgotten(state: DesiredState) -> None:
    shared = model("a").digest
    state.serving(model("a"))
    state.serving(DesiredModel("b", "1", shared))
    state.unloaded("a")
    assert state.forgotten() == []
    for version in range(2, 20):
        state.serving(DesiredModel("c", str(version), shared))
    state.unloaded("c")
    assert state.forgotten() == []


def test_a_file_that_another_machine_names_is_not_forgotten_here(tmp_path: Path) -> None:
    here, there = opened(state_file(tmp_path, "here")), opened(state_file(tmp_path, "there"))
    there.serving(model())
    here.serving(model())
    here.unloaded("m")
    assert here.forgotten() == []  # it runs, and holds its file
    there.close()
    assert here.forgotten() == []
    there = opened(state_file(tmp_path, "there"))
    there.unloaded("m")
    there.close()
    assert here.forgotten() == [model().digest]
    here.close()


def test_a_digest_is_proved_until_it_is_disproved(path: Path) -> None:
    state = opened(path)
    assert not state.is_proved("a")
    state.tried("a", well=True)
    kill(state)
    state = opened(path)
    assert state.is_proved("a")
    state.tried("a", well=False)
    assert not state.is_proved("a")
    state.close()


def test_what_was_found_in_a_file_is_remembered(path: Path) -> None:
    state = opened(path)
    assert state.inspected("a onnx 1") is None
    state.tried("a", key="a onnx 1", found=b'{"content": "a"}')
    kill(state)
    state = opened(path)
    assert state.inspected("a onnx 1") == b'{"content": "a"}'
    assert state.inspected("a onnx 2") is None
    assert not state.is_proved("a")
    state.close()


def test_a_file_that_was_being_tried_at_a_death_is_refused_once(path: Path) -> None:
    state = opened(path)
    state.trying("done")
    state.tried("done", well=True)
    state.trying("a")
    kill(state)
    state = opened(path)
    state.trying("done")
    with pytest.raises(ModelError, match="ended while this model was being tried out, of it or of something else"):
        state.trying("a")
    state.trying("a")  # somebody asks again
    state.close()  # in good order: nothing is to blame
    state = opened(path)
    state.trying("a")
    state.close()


def test_what_was_being_loaded_at_a_death_is_to_be_proved_again(path: Path) -> None:
    state = opened(path)
    for each in (model("m", 1), model("n", 2)):
        state.tried(each.digest, well=True)
    state.attempting(model("m", 1))
    kill(state)
    state = opened(path)
    assert not state.is_proved(model("m", 1).digest)
    assert state.is_proved(model("n", 2).digest)
    state.close()


def test_a_second_service_is_refused_the_file(state: DesiredState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desired_state, "BUSY_TIMEOUT_S", 0.01)
    with pytest.raises(Conflict, match="another service uses this data folder"):
        opened(state.path)


def damaged_by_text(path: Path) -> None:
    path.write_bytes(b"this is no database, however long it may go on " * 40)


def damaged_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)


def damaged_by_a_missing_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE versions")
    connection.close()


@pytest.mark.parametrize("damage", [damaged_by_text, damaged_in_the_middle, damaged_by_a_missing_table])
def test_a_damaged_file_is_set_aside_and_said(path: Path, damage: Callable[[Path], None]) -> None:
    state = opened(path)
    state.serving(model())
    state.close()
    damage(path)
    damaged = path.read_bytes()
    asides: set[Path] = set()
    for _ in range(2):  # within a second too
        state = opened(path)
        assert state.models() == []
        (note,) = state.notes
        before, asides = asides, set(path.parent.glob("state.sqlite.damaged-*"))
        (aside,) = asides - before
        assert f" {aside.name}:" in note
        assert all(each.read_bytes() == damaged for each in asides) and before < asides
        state.serving(model())
        state.close()
        state = opened(path)
        assert rows(state) == [("m", "1", DesiredKind.SERVING)]
        state.close()
        path.write_bytes(damaged)


def test_a_file_from_a_newer_version_is_refused_and_not_touched(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA user_version = 77")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Unsupported, match=r"newer version \(its schema is 77"):
        opened(path)
    assert path.read_bytes() == before


def test_an_older_file_is_migrated_with_what_it_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = opened(path)
    state.serving(model())
    state.close()
    more = ("ALTER TABLE models ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'", "CREATE TABLE notes (text TEXT)")
    monkeypatch.setattr(desired_state, "MIGRATIONS", (*desired_state.MIGRATIONS, more))
    state = opened(path)
    assert rows(state) == [("m", "1", DesiredKind.SERVING)]
    assert state._read("SELECT colour FROM models") == [("red",)]
    assert state._read("PRAGMA user_version") == [(len(desired_state.MIGRATIONS),)]
    state.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).close()
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(
            desired_state, "MIGRATIONS", (*desired_state.MIGRATIONS, ("CREATE TABLE a (b)", "CREATE NONSENSE"))
        )
        with pytest.raises(StorageError):
            opened(path)
    assert path.read_bytes() == before


CHANGES: dict[str, Change] = {
    "attempting": lambda state: state.attempting(model("m", 2)),
    "restoring": lambda state: state.restoring(model("m", 1)),
    "serving": lambda state: state.serving(model("m", 2)),
    "settled": lambda state: state.settled("tried"),
    "unloaded": lambda state: state.unloaded("m"),
    "trying": lambda state: state.trying("b"),
    "tried well": lambda state: state.tried("b", well=True, key="k", found=b"{}"),
    "tried with harm": lambda state: state.tried("a", well=False),
    "dropped": lambda state: state.dropped(model("gone").digest),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_full_disk_at_any_write_changes_nothing(
    state: DesiredState, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    state.serving(model("gone"))
    state.unloaded("gone")
    for version in range(10, 16):
        state.serving(model("many", version))
    state.serving(model("m", 1))
    state.attempting(model("tried", 1))
    state.tried("a", well=True)
    before = everything(state)
    writes = 0
    while True:
        with monkeypatch.context() as patched:
            patched.setattr(desired_state, "execute", disk_with_room_for(writes))
            try:
                CHANGES[change](state)
            except StorageError as error:
                assert "disk of the data folder is full" in error.message
            else:
                break
        assert everything(state) == before
        writes += 1
    assert writes >= 3
    assert everything(state) != before


def disk_with_room_for(writes: int) -> Callable[[sqlite3.Connection, str, Sequence[object]], None]:
    """`desired_state.execute` until it was called so often; then a full disk."""
    real, left = desired_state.execute, writes

    def execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[object] = ()) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        real(connection, statement, parameters)

    return execute


def everything(state: DesiredState) -> list[object]:
    tables = ("models", "versions", "proved", "inspected", "trying", "forgotten")
    return [sorted(state._read(f"SELECT * FROM {table}")) for table in tables]


def test_sqlite_itself_says_full_and_nothing_is_half_done(state: DesiredState) -> None:
    state.serving(model())
    assert state._connection is not None
    (pages,) = state._connection.execute("PRAGMA page_count").fetchone()
    state._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="disk of the data folder is full"):
        for number in range(2, 1000):
            state.serving(model(f"m{number}"))
    served = {each.model.name for each in state.models()}
    assert "m" in served and f"m{len(served) + 1}" not in served
    state._connection.execute(f"PRAGMA max_page_count = {pages * 100}")
    state.serving(model("more"))


def test_a_folder_that_cannot_be_used_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(tmp_path / "file" / "state.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(tmp_path / "folder.sqlite")


def test_after_the_end_nothing_is_noted(path: Path) -> None:
    state = opened(path)
    state.close()
    state.close()
    with pytest.raises(StorageError, match="closed"):
        state.serving(model())
    with pytest.raises(StorageError, match="closed"):
        state.models()


def test_rows_that_nothing_of_ours_wrote_are_passed_over(state: DesiredState) -> None:
    state.serving(model("good"))
    for name, version, digest, config in (
        ("../evil", "1", "0" * 64, "{}"),
        ("a", "0", "0" * 64, "{}"),
        ("b", "1", "../../etc", "{}"),
        ("c", "1", "0" * 64, "[]"),
        ("d", "1", "0" * 64, '{"max_batch_size": -1}'),
    ):
        with state._changing() as connection:
            columns = "(name, version, digest, config, state, since)"
            values = (name, version, digest, config, "serving", 0.0)
            connection.execute(f"INSERT INTO models {columns} VALUES (?, ?, ?, ?, ?, ?)", values)
    assert rows(state) == [("good", "1", DesiredKind.SERVING)]


def test_settings_of_another_version_are_left_out(state: DesiredState) -> None:
    state.serving(model(max_batch_size=3))
    with state._changing() as connection:
        connection.execute('UPDATE models SET config = \'{"max_batch_size": 3, "colour": "red"}\'')
    assert state.models()[0].model.config == ModelConfig(max_batch_size=3)


def test_the_key_tells_machines_apart(tmp_path: Path) -> None:
    assert state_file(tmp_path).name == "state.sqlite"
    assert state_file(tmp_path, "host_1-a").name == "state-host_1-a.sqlite"


def test_the_models_that_were_asked_for_are_kept(path: Path) -> None:
    state = opened(path)
    assert state.asked() == []
    state.keep_asked({"b", "a"})
    state.keep_asked({"a", "c"})
    state.close()
    assert opened(path).asked() == ["a", "c"]
