"""The one service of a user: found, shared, killed and back. Real processes, really killed."""

from __future__ import annotations

import http.client
import json
import os
import platform
import signal
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import workbench
from tests.helpers.waiting import until
from tests.models import add_constant
from tests.stories.actors import full_disk, kill, python, running, said
from workbench.api import Workbench, current
from workbench.cli import main
from workbench.client import shared_service as shared_service_module
from workbench.client.shared_service import SharedService, ensure_service, shared_service
from workbench.errors import StorageError, Unavailable, Unsupported, WorkbenchError
from workbench.rendezvous import compatibility
from workbench.rendezvous.folder import Rendezvous, host_name
from workbench.rendezvous.leases import holders
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

ROW = np.zeros((1, 4), np.float32)


# Finding and sharing it


def test_a_service_outlives_who_started_it_and_keeps_its_models(workplace: SharedService, tmp_path: Path) -> None:
    (tmp_path / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    script = f"""
        import workbench
        wb = workbench.connect()
        wb.load("plus", {str(tmp_path / "plus.onnx")!r})
        print(wb._shared.record().keeper.pid)
    """
    (pid,) = said(python(script))
    with workbench.connect() as wb:
        assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
        record = running(workplace)
    assert record.keeper.pid == int(pid)
    assert record.data_dir == str(tmp_path / "shared data")
    assert os.getsid(record.keeper.pid) != os.getsid(0)
    assert Path(f"/proc/{record.keeper.pid}/cwd").readlink() == tmp_path / "shared data"


def test_the_status_tells_what_it_runs_under(workplace: SharedService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    script = """
        import os, psutil, workbench
        wb = workbench.connect()
        print(os.getpid(), psutil.Process().name(), wb.status()["runs under"])
    """
    pid, name, *words = said(python(script))
    cores = len(os.sched_getaffinity(0))
    assert " ".join(words) == (
        f"Python {platform.python_version()}, {cores} core{'s' * (cores != 1)}, CUDA_VISIBLE_DEVICES=1, "
        f"the environment of process {pid} ({name})"
    )


def test_a_stale_record_and_a_pid_that_is_used_again_deceive_nobody(workplace: SharedService) -> None:
    room = workplace.rendezvous.open()
    me = this_process()
    reused = replace(me, began=me.began - 1)
    room.publish(ServiceRecord("http://127.0.0.1:1", "x", "", reused, reused, ServiceState.READY, api=1, version="1"))
    with workbench.connect() as wb:
        assert list(wb) == []
        assert running(workplace).keeper != reused


def test_what_an_earlier_boot_left_goes_when_a_service_starts(workplace: SharedService) -> None:
    room = workplace.rendezvous.open()
    host, _, namespace = room.path.name.rpartition("-")
    before = Rendezvous(room.path.with_name(f"{host[:-8]}00000000-{namespace}")).open()
    for path in (before.leases, before.path):
        os.utime(path, (0, 0))
    with workbench.connect():
        until(lambda: not before.path.exists())


def test_a_record_that_is_lost_is_written_again(wb: Workbench, workplace: SharedService) -> None:
    record = running(workplace)
    workplace.rendezvous.service_file.unlink()
    assert running(workplace) == record


def test_a_full_disk_harms_only_what_is_published_and_only_until_there_is_room(
    wb: Workbench, workplace: SharedService
) -> None:
    record = running(workplace)
    with full_disk(record.keeper.pid):
        workplace.rendezvous.service_file.unlink()
        swept = workplace.rendezvous.leases / "1-1"
        swept.touch()
        until(lambda: not swept.exists())  # in the same round in which it tries to publish
        assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
        assert workplace.record() is None
    assert running(workplace) == record


def test_a_folder_open_to_others_is_refused_and_so_is_one_that_cannot_be_made(
    workplace: SharedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.rendezvous.open().path.chmod(0o777)
    with pytest.raises(StorageError, match="chmod 700"):
        workbench.connect()
    (tmp_path / "file").touch()
    monkeypatch.setenv("INFER_WORKBENCH_RUNTIME_DIR", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot be made"):
        workbench.connect()


def test_a_lease_that_cannot_be_written_keeps_nobody_from_a_service_that_runs(
    workplace: SharedService, capsys: pytest.CaptureFixture[str]
) -> None:
    me = this_process()
    lease = workplace.rendezvous.open().leases / f"{me.pid}-{me.began}"
    lease.mkdir()  # in the way, as a full disk would be
    with pytest.raises(StorageError):
        workplace.ensure()
    assert workplace.record() is None
    lease.rmdir()
    keeper = workplace.ensure().keeper
    workplace.release()
    lease.mkdir()
    assert workplace.ensure().keeper == workplace.ensure().keeper == keeper
    assert capsys.readouterr().err.count("this process holds no lease") == 1


def test_a_data_folder_that_cannot_be_used_is_told_in_one_line(
    workplace: SharedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(workplace, "data_dir", tmp_path / "file")
    with pytest.raises(StorageError, match="data folder"):
        workplace.ensure()


def test_a_setting_that_cannot_be_read_is_why_it_does_not_start(
    workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_RUN_LIMIT_S", "long")
    with pytest.raises(Unavailable, match=r"did not start: .*INFER_WORKBENCH_RUN_LIMIT_S must be a number, got 'long'"):
        workplace.ensure()


# Killed


def test_an_idle_worker_that_is_killed_is_back_with_its_models(wb: Workbench, workplace: SharedService) -> None:
    before = running(workplace)
    assert before.worker is not None
    kill(before.worker.pid)
    assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
    after = running(workplace)
    assert (after.url, after.keeper) == (before.url, before.keeper)
    assert after.worker != before.worker
    assert "killed by signal 9" in after.reason
    assert "killed by signal 9" in "\n".join(workplace.logs(50))


def test_who_waits_when_the_worker_is_killed_is_told_at_once_and_others_are_served(
    wb: Workbench, workplace: SharedService
) -> None:
    wb.set("plus", max_queue_delay_s=10, batching="always")  # a lone request waits for company
    errors: list[WorkbenchError] = []

    def ask() -> None:
        try:
            wb.predict("plus", ROW)
        except WorkbenchError as error:
            errors.append(error)

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    until(lambda: wb["plus"].status.queued == 4)
    worker = running(workplace).worker
    assert worker is not None
    kill(worker.pid)
    began = time.monotonic()
    for caller in callers:
        caller.join()
    assert time.monotonic() - began < 5
    for error in errors:
        assert isinstance(error, Unavailable)
        assert "was restarted while it ran your request" in error.message
        assert "it was not repeated" in error.message
    assert len(errors) == 4
    assert wb.set("plus", max_queue_delay_s=0)
    assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]


def test_when_the_keeper_is_killed_the_worker_ends_and_the_next_call_starts_another(
    wb: Workbench, workplace: SharedService
) -> None:
    before = running(workplace)
    assert before.worker is not None
    kill(before.keeper.pid)
    until(lambda: not before.worker.alive)  # type: ignore[union-attr]
    assert "was killed or lost" in str(wb.status()["state"])
    assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
    assert running(workplace).keeper != before.keeper


def test_when_both_are_killed_the_next_call_starts_another(wb: Workbench, workplace: SharedService) -> None:
    before = running(workplace)
    assert before.worker is not None
    kill(before.keeper.pid)
    kill(before.worker.pid)
    until(lambda: not (before.keeper.alive or before.worker.alive))  # type: ignore[union-attr]
    assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]


def test_a_worker_that_is_stopped_is_deaf_and_replaced(
    workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_DEAF_LIMIT_S", "1.5")
    with workbench.connect() as wb:
        worker = running(workplace).worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGSTOP)
        assert list(wb) == []  # waits, in the socket that the keeper owns
        assert "no sign of life" in running(workplace).reason


# Failed


def test_a_crash_loop_is_answered_with_the_reason_until_a_restart(workplace: SharedService, tmp_path: Path) -> None:
    newer = tmp_path / "shared data" / f"state-{host_name()}.sqlite"
    newer.parent.mkdir()
    with closing(sqlite3.connect(newer)) as database:  # as a newer version would leave it
        database.execute("PRAGMA user_version = 999")
    with pytest.raises(Unavailable, match="has failed: 3 starts in a row failed") as caught:
        workbench.connect()
    assert "%infer restart" in caught.value.message
    record = workplace.record()
    assert record is not None
    state = str(current(start=False).status()["state"])
    assert state.startswith("Failed: 3 starts in a row failed")

    def ask(path: str, token: str = "") -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection(record.url.removeprefix("http://"), timeout=5)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("POST", path, b"x" * 300_000, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    status, answer = ask("/v2/models/m/infer", record.token)
    assert status == 503
    assert "3 starts in a row failed" in str(answer["error"])
    assert "newer version" in str(answer["error"])
    status, answer = ask("/v2/models/m/infer", "another-token-0123456789")
    assert status == 503
    assert "starts" not in str(answer["error"])
    assert ask("/v2/health/live") == (503, {"live": False})
    assert ask("/v2/health/ready") == (503, {"ready": False, "live": False})

    began = time.monotonic()
    with pytest.raises(Unavailable, match="has failed: 3 starts in a row failed"):
        current(start=False).restart()  # for the same reason, and told as soon
    assert time.monotonic() - began < shared_service_module.START_TIMEOUT_S / 2

    newer.unlink()
    assert str(current(start=False).restart()["state"]).startswith("Ready")
    with workbench.connect() as wb:
        assert list(wb) == []


# Asked for


def test_a_restart_lets_what_is_under_way_end_and_serves_the_same_again(
    wb: Workbench, workplace: SharedService
) -> None:
    wb.set("plus", max_queue_delay_s=10, batching="always")
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(wb["plus"](ROW).array.tolist()))
    asking.start()
    until(lambda: wb["plus"].status.queued == 1)
    before = running(workplace)
    assert str(wb.restart()["state"]) == "Ready: a restart was asked for"
    asking.join()
    after = running(workplace)
    assert answers == [[[1, 1, 1, 1]]]
    assert after.keeper == before.keeper
    assert after.worker != before.worker
    assert wb.show("plus")["queue delay"]


def test_a_service_that_was_stopped_says_so_and_comes_back_when_it_is_called(
    wb: Workbench, workplace: SharedService
) -> None:
    wb.stop()
    assert workplace.record() is None
    assert str(wb.status()["state"]) == "Stopped: it was told to stop"
    assert "stopped" in repr(wb.logs(5))
    assert holders(workplace.rendezvous.leases) == []
    assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
    assert holders(workplace.rendezvous.leases) == [this_process()]


def test_asking_about_it_starts_nothing(workplace: SharedService) -> None:
    wb = current(start=False)
    assert str(wb.status()["state"]) == "Stopped: it has not been started yet"
    assert wb.logs() == ()
    wb.stop()
    assert workplace.record() is None


# Leases


def test_listing_models_at_the_command_line_starts_nothing(
    workplace: SharedService, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("the service does not run: it has not been started yet; the next call that needs it")
    assert workplace.record() is None


def test_a_new_kernel_is_offered_the_models_of_the_service_that_runs(
    wb: Workbench, workplace: SharedService, tmp_path: Path
) -> None:
    script = """
        from IPython.core.completer import provisionalcompleter
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "workbench")
        with provisionalcompleter():
            print(*(each.text for each in shell.Completer.completions("%infer show p", 13)))
    """
    held = workplace.holders()
    assert said(python(script)) == ["plus"]
    assert workplace.holders() == held
    wb.stop()
    assert said(python(script)) == []
    assert workplace.record() is None


@pytest.mark.long
def test_a_call_waits_for_a_worker_that_takes_longer_than_connections_are_held(
    wb: Workbench, workplace: SharedService
) -> None:
    before = running(workplace)
    assert before.worker is not None
    kill(before.worker.pid)
    keeper = psutil.Process(before.keeper.pid)
    following = until(lambda: [each for each in keeper.children() if each.pid != before.worker.pid])  # type: ignore[union-attr]
    following[0].suspend()
    threading.Timer(13, following[0].resume).start()
    began = time.monotonic()
    assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
    assert time.monotonic() - began > 10


def test_it_ends_by_itself_after_the_last_who_used_it_however_that_one_ended(
    workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_IDLE_END_S", "1")
    client = python("import workbench; workbench.connect(); print('there', flush=True); input()")
    assert client.stdout is not None
    assert client.stdout.readline() == "there\n"
    keeper = running(workplace).keeper
    # Busy in native code, or stopped: it holds what it holds.
    client.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert keeper.alive
        time.sleep(0.1)
    kill(client.pid)
    client.communicate()
    until(lambda: not keeper.alive)
    assert workplace.ended()[0] == "idle: no client for 1 s"


# Versions


def test_a_newer_client_says_in_one_line_which_version_runs_and_works(
    wb: Workbench, workplace: SharedService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running_version = running(workplace).version
    monkeypatch.setattr(shared_service_module, "_version", lambda: "9.9.9")
    ensure_service()
    ensure_service()
    assert capsys.readouterr().err == (
        f"{running_version} is running, you have 9.9.9: restart it to have that (in a notebook: `%infer restart`)\n"
    )
    before = running(workplace)
    shared_service().restart()
    assert running(workplace).keeper != before.keeper
    assert running(workplace).url == before.url


def test_a_client_of_another_api_refuses_and_says_what_to_do(
    wb: Workbench, workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compatibility, "API", compatibility.API + 1)
    with pytest.raises(Unsupported, match=r"restart it to have .* `%infer restart`"):
        workbench.connect()
