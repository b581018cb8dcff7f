from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.errors import StorageError, Unsupported
from workbench.rendezvous.compatibility import API, check_versions
from workbench.rendezvous.folder import Rendezvous, data_folder, rendezvous
from workbench.rendezvous.leases import Lease, holders
from workbench.rendezvous.process_identity import ProcessHandle, ProcessKey, process_key, this_process
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

ME = this_process()
RECORD = ServiceRecord("http://127.0.0.1:1", "token-of-the-tests", "/data/token", ME, ME, ServiceState.READY, since=1.5)


@pytest.fixture
def room(tmp_path: Path) -> Rendezvous:
    return Rendezvous(tmp_path / "room").open()


def ended_process() -> ProcessKey:
    """A process that is gone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        key = process_key(process.pid)
        assert key is not None
        assert process.stdin is not None
        process.stdin.close()
    return key


# Processes


def test_this_process_lives_and_one_that_ended_does_not() -> None:
    assert ME.alive
    assert not ended_process().alive


def test_a_zombie_does_not_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    key = process_key(process.pid)
    assert key is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not key.alive
    process.communicate()


@pytest.mark.parametrize("system", ["with pidfds", "without"])
def test_a_process_that_is_watched_is_seen_to_end(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    if system == "without":
        monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        key = process_key(process.pid)
        assert key is not None
        watched = ProcessHandle(key)
        assert watched.alive
        assert watched.alive
        assert not ProcessHandle(replace(key, began=key.began - 1)).alive
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not watched.alive
    assert not ProcessHandle(key).alive


def test_a_watched_process_that_outlives_the_modules_at_the_exit_goes_in_silence() -> None:
    code = (
        "import ctypes\n"
        "from workbench.rendezvous import process_identity\n"
        "process_identity.watched = process_identity.ProcessHandle(process_identity.this_process())\n"
        "ctypes.pythonapi.Py_IncRef(ctypes.py_object(process_identity))\n"  # as extensions do: it is emptied, not freed
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr == ""


def test_a_pid_that_is_used_again_is_another_process() -> None:
    assert not replace(ME, began=ME.began - 1).alive


def test_a_programs_name_may_hold_anything(tmp_path: Path) -> None:
    odd = tmp_path / "a) S (b"
    odd.symlink_to("/bin/cat")
    with subprocess.Popen([str(odd)], stdin=subprocess.PIPE) as process:
        key = process_key(process.pid)
        assert key is not None
        assert abs(key.began - ME.began) < 10_000_000
        process.kill()


# The folder


def test_the_folder_and_what_lies_in_it_are_closed_to_others(room: Rendezvous) -> None:
    room.publish(RECORD)
    assert stat.S_IMODE(room.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(room.service_file.stat().st_mode) == 0o600


def test_a_folder_that_is_open_to_others_is_refused_with_what_to_do(room: Rendezvous) -> None:
    room.path.chmod(0o750)
    with pytest.raises(StorageError, match=r"mode 0750.*chmod 700"):
        room.open()


def test_a_folder_of_another_user_is_refused(room: Rendezvous, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StorageError, match="belongs to another user"):
        room.open()


def test_a_folder_that_strangers_could_put_another_in_place_of_is_refused(room: Rendezvous) -> None:
    above = room.path.parent
    before = above.stat().st_mode
    above.chmod(0o777)
    with pytest.raises(StorageError, match=f"others can write {above} .*chmod o-w {above}"):
        room.open()
    above.chmod(before)
    room.open()


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "room").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="is not a directory"):
        Rendezvous(tmp_path / "room").open()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        Rendezvous(tmp_path / "file" / "room").open()


def test_the_folders_can_be_named_in_the_environment(tmp_path: Path) -> None:
    environment = {"INFER_WORKBENCH_RUNTIME_DIR": str(tmp_path / "r"), "INFER_WORKBENCH_DATA_DIR": str(tmp_path / "d")}
    assert rendezvous(environment).path.parent == tmp_path / "r"
    assert data_folder(environment) == tmp_path / "d"
    assert rendezvous(environment).path.name == rendezvous({}).path.name
    assert rendezvous({}).path.parent.name == data_folder({}).name == "infer-workbench"


# The record


def test_what_is_published_is_read_until_its_keeper_ends(room: Rendezvous) -> None:
    assert room.read() is None
    room.publish(RECORD)
    assert room.read() == RECORD
    stale = replace(RECORD, keeper=ended_process())
    room.publish(stale)
    assert room.read() is None
    assert room.last() == stale


def test_a_keeper_takes_back_only_what_it_published(room: Rendezvous) -> None:
    room.publish(RECORD)
    room.withdraw(replace(ME, began=0), "why", 2.5)
    assert room.read() == RECORD
    room.withdraw(ME, "why", 2.5)
    assert room.last() == replace(RECORD, state=ServiceState.STOPPED, reason="why", since=2.5, worker=None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', RECORD.encode().replace("Ready", "Happy")])
def test_a_file_that_is_damaged_counts_as_none(room: Rendezvous, text: str) -> None:
    room.service_file.write_text(text)
    assert room.read() is None


def test_a_record_of_another_user_is_not_believed(room: Rendezvous, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only asks what runs does not make the folder, and so has not looked whose it is."""
    room.publish(RECORD)
    uid = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: uid + 1)
        with pytest.raises(StorageError, match=rf"service.json .* it belongs to another user \(uid {uid}\)"):
            room.read()
    room.service_file.chmod(0o602)
    with pytest.raises(StorageError, match="others may change"):
        room.read()
    room.service_file.rename(room.path / "elsewhere")
    room.service_file.symlink_to(room.path / "elsewhere")
    with pytest.raises(StorageError, match="symbolic link"):
        room.read()


def test_what_a_later_release_says_beyond_this_one_is_passed_over(room: Rendezvous) -> None:
    room.service_file.write_text(json.dumps({**json.loads(RECORD.encode()), "more": True}))
    assert room.read() == RECORD


def test_a_file_of_a_newer_schema_is_refused(room: Rendezvous) -> None:
    room.service_file.write_text(json.dumps({**json.loads(RECORD.encode()), "schema": 2, "more": True}))
    with pytest.raises(Unsupported, match="another version"):
        room.read()


# Leases


def test_a_lease_is_held_until_it_is_released(room: Rendezvous) -> None:
    lease = Lease(room.leases)
    lease.take()
    lease.take()
    assert holders(room.leases) == [ME]
    lease.release()
    assert holders(room.leases) == []


def test_who_ended_holds_nothing_and_neither_does_who_has_its_pid_now(room: Rendezvous) -> None:
    gone = ended_process()
    for name in (f"{gone.pid}-{gone.began}", f"{ME.pid}-{ME.began - 1}", "something else"):
        (room.leases / name).touch()
    assert holders(room.leases) == []
    assert [path.name for path in room.leases.iterdir()] == ["something else"]


def test_a_fork_neither_holds_nor_releases_its_parents_lease(room: Rendezvous) -> None:
    lease = Lease(room.leases)
    lease.take()
    child = os.fork()
    if child == 0:
        lease.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert holders(room.leases) == [ME]


def test_a_lease_for_which_there_is_no_room_is_refused_in_words(
    room: Rendezvous, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(StorageError, match="No space left on device"):
            Lease(room.leases).take()
    assert holders(room.leases) == []


def test_a_lease_in_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        Lease(tmp_path / "none").take()
    assert holders(tmp_path / "none") == []


# Versions


def test_the_same_and_the_not_yet_known_are_not_spoken_of() -> None:
    assert check_versions("0.4.0", "0.4.0", API) == check_versions("0.4.0", "", 0) == ""


def test_another_release_is_told_in_one_line_and_another_api_refused() -> None:
    assert check_versions("0.4.0", "0.3.1", API).startswith("0.3.1 is running, you have 0.4.0: restart it")
    with pytest.raises(Unsupported, match=r"restart it to have 0\.4\.0"):
        check_versions("0.4.0", "1.0.0", API + 1)
