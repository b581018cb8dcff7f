from __future__ import annotations

import os
import signal
import sqlite3
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.full_disk import full_disk
from tests.loadtest.runs import run
from tests.stories.actors import python, said
from workbench.errors import NotFound, StorageError, Unsupported
from workbench.loadtest.store import history as module
from workbench.loadtest.store.history import DIED, MIGRATIONS, History, Run
from workbench.loadtest.store.run import RunState


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "data" / "history.sqlite")


def kept(history: History, **changes: object) -> Run:
    return history.begin(run(20.0, 2.0, **changes))  # type: ignore[arg-type]


def test_runs_are_numbered_by_model_and_never_twice(history: History) -> None:
    first, second, other = kept(history), kept(history), kept(history, model="resnet-50")
    assert (first.id, second.id, other.id) == ("digits-1", "digits-2", "resnet-50-1")
    with closing(sqlite3.connect(history.path)) as file, file:
        file.execute("DELETE FROM runs WHERE id = 'digits-2'")
    assert kept(history).id == "digits-3"
    assert history.run("digits-1") == first


def test_the_latest_is_found_by_its_models_name_or_as_last(history: History) -> None:
    for at, model in enumerate(("digits", "resnet", "digits")):
        kept(history, model=model, started_at=1000.0 + at)
    assert history.run("last").id == "digits-2"
    assert history.run("resnet").id == "resnet-1"
    assert [each.id for each in history.list()] == ["digits-2", "resnet-1", "digits-1"]
    assert [each.id for each in history.list("digits", limit=1)] == ["digits-2"]


def test_a_run_that_is_not_there_is_said_with_the_nearest(history: History) -> None:
    with pytest.raises(NotFound, match="no load test has been kept yet"):
        history.run("digits-1")
    kept(history)
    with pytest.raises(NotFound, match="did you mean 'digits-1'"):
        history.run("digit-1")
    with pytest.raises(NotFound, match="the latest are digits-1"):
        history.run("x")


def test_what_is_saved_takes_the_place_of_what_was(history: History) -> None:
    begun = kept(history, state=RunState.RUNNING)
    history.save(replace(begun, state=RunState.DONE, summary="other"))
    assert history.run(begun.id).summary == "other"
    assert [each.state for each in history.list()] == [RunState.DONE]


def test_a_table_of_them_is_a_data_frame(history: History) -> None:
    kept(history, slo="p99<1us")
    frame = history.to_pandas()
    assert frame.index.tolist() == ["digits-1"]
    assert frame.loc["digits-1", "requests_per_s"] == pytest.approx(20, rel=0.1)
    assert not frame.loc["digits-1", "held"]
    assert History(history.path.with_name("none.sqlite")).to_pandas().empty


def test_only_its_owner_may_read_it(history: History) -> None:
    kept(history)
    assert history.path.stat().st_mode & 0o777 == 0o600


WRITE = """
    import sys
    from pathlib import Path
    from dataclasses import replace
    from tests.loadtest.runs import run
    from workbench.loadtest.store.history import History
    from workbench.loadtest.store.run import RunState
    history, made = History(Path({path!r})), run(20.0, 2.0)
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_two_processes_write_at_once_and_nothing_is_lost(history: History) -> None:
    script = textwrap.dedent(WRITE).format(path=str(history.path)) + textwrap.dedent(
        """
        for _ in range(40):
            begun = history.begin(replace(made, state=RunState.RUNNING))
            history.save(replace(begun, state=RunState.DONE))
        """
    )
    writers = [python(script) for _ in range(2)]
    for each in writers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in writers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in writers:
        assert said(each) == []
    listed = history.list()
    assert sorted(int(each.id.partition("-")[2]) for each in listed) == list(range(1, 81))
    assert {each.state for each in listed} == {RunState.DONE}


def test_a_run_whose_process_was_killed_is_kept_and_marked(history: History) -> None:
    script = textwrap.dedent(WRITE).format(path=str(history.path)) + textwrap.dedent(
        """
        history.begin(replace(made, state=RunState.RUNNING))
        print("begun", flush=True)
        sys.stdin.readline()
        """
    )
    process = python(script)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert [process.stdout.readline(), process.stdout.readline()] == ["ready\n", "begun\n"]
    assert history.run("digits-1").state is RunState.RUNNING
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    found = history.run("digits-1")
    assert (found.state, found.reason) == (RunState.CUT_SHORT, DIED)
    assert found.whole.due == 40
    assert [each.state for each in history.list()] == [RunState.CUT_SHORT]


def test_a_run_of_another_machine_is_over_once_nothing_was_heard_of_it(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "machine_name", lambda: "elsewhere")
    kept(history, state=RunState.RUNNING)
    monkeypatch.undo()
    assert history.run("last").state is RunState.RUNNING
    monkeypatch.setattr(module, "SILENT_S", 0.0)
    assert history.run("last").state is RunState.CUT_SHORT


def test_a_file_of_an_older_schema_is_migrated_with_its_runs(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept(history)
    more = ("ALTER TABLE runs ADD COLUMN words TEXT NOT NULL DEFAULT 'none'",)
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, more))
    later = History(history.path)
    assert later.run("digits-1") == first
    with closing(sqlite3.connect(history.path)) as connection:
        assert connection.execute("SELECT words FROM runs").fetchall() == [("none",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_file_of_a_newer_schema_is_refused_and_left_alone(history: History) -> None:
    kept(history)
    with closing(sqlite3.connect(history.path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = history.path.read_bytes()
    for ask in (history.list, lambda: history.run("last"), lambda: kept(history)):
        with pytest.raises(Unsupported, match=r"written by a newer version.*nothing was changed"):
            ask()
    assert history.path.read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "half of it", "a page of noise", "no tables"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(history: History, damage: str) -> None:
    for _ in range(20):
        kept(history)
    whole = history.path.read_bytes()
    if damage == "no tables":
        with closing(sqlite3.connect(history.path)) as connection:
            connection.execute("DROP TABLE numbers")
            connection.commit()
        written = history.path.read_bytes()
    else:
        written = {
            "no database": b"these are the words of something else " * 100,
            "half of it": whole[: len(whole) // 2],
            "a page of noise": whole[:4096] + bytes(range(256)) * 16 + whole[8192:],
        }[damage]
        history.path.write_bytes(written)
    fresh = History(history.path)
    assert kept(fresh).id == "digits-1"
    (note,) = fresh.notes
    (aside,) = history.path.parent.glob("history.sqlite.damaged-*")
    assert aside.name in note
    assert aside.read_bytes() == written


def test_on_a_full_disk_the_run_is_whole_in_memory_and_what_was_kept_can_be_read(history: History) -> None:
    begun = kept(history)
    more = replace(begun, summary="what came later")
    with full_disk():
        with pytest.raises(StorageError, match=r"disk of the data folder is full.*figures are still here"):
            history.save(more)
        with pytest.raises(StorageError, match="disk"):
            kept(history)
        assert history.run("last") == begun
    history.save(more)
    assert history.run("last") == more
    assert kept(history).id == "digits-2"
