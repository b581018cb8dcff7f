"""A service started by hand: its keeper brings the worker back, and answers where there is none."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

from tests import models
from tests.helpers.hostile_text import FORGED
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.hostile import hostile_model, hostile_runtime
from workbench.config import ServerConfig
from workbench.rendezvous.folder import Rendezvous
from workbench.rendezvous.service_record import ServiceRecord, ServiceState
from workbench.server.process.restart_policy import FAILED_WAIT_S, QUICK_WAIT_S, SETTLED_S, RestartPolicy
from workbench.server.process.supervisor import FIRST_WORD_S, RUN_GRACE_S, health_problem
from workbench.server.process.worker import Worker
from workbench.server.process.worker_channel import WorkerReport, WorkerSetup, decode_report, decode_setup
from workbench.telemetry.logs import Logs

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
HARMFUL = {"inputs": [{**BODY["inputs"][0], "data": [0, 0, 0, 13]}]}
"""To a hostile model."""


# Decisions


def test_a_worker_that_never_gets_ready_is_tried_three_times() -> None:
    restarts = RestartPolicy()
    assert [restarts.after(None) for _ in range(3)] == [*FAILED_WAIT_S, None]
    restarts.forget()
    assert restarts.after(None) == FAILED_WAIT_S[0]
    assert restarts.after(0.0) == 0.0
    assert restarts.after(None) == FAILED_WAIT_S[0]


def test_a_worker_that_was_ready_is_followed_at_once_and_slower_only_if_it_ends_again_soon() -> None:
    restarts = RestartPolicy()
    assert [restarts.after(1.0) for _ in QUICK_WAIT_S] == list(QUICK_WAIT_S)
    assert restarts.after(1.0) == QUICK_WAIT_S[-1]
    assert restarts.after(SETTLED_S) == 0.0


@pytest.mark.parametrize(
    ("report", "silent_s", "why"),
    [
        (None, FIRST_WORD_S - 1, ""),
        (None, FIRST_WORD_S + 1, "it said nothing"),
        (WorkerReport(), 9, ""),
        (WorkerReport(), 11, "no sign of life for 11 s"),
        (WorkerReport(loop_s=9, run_s=21), 1, ""),
        (WorkerReport(loop_s=11), 1, "its event loop did not turn for 11 s"),
        (WorkerReport(run_s=21 + RUN_GRACE_S), 1, "a run did not end"),
    ],
)
def test_what_is_wrong_with_a_worker(report: WorkerReport | None, silent_s: float, why: str) -> None:
    found = health_problem(report, silent_s, ServerConfig(deaf_limit_s=10, run_limit_s=20, data_dir=Path()))
    assert why in found
    assert bool(why) == bool(found)


def test_what_keeper_and_worker_tell_each_other_arrives() -> None:
    report = WorkerReport(True, True, "as far as that", 0.1, 0.2, 0.3, "1.2.3", 1, stuck=[["m", "1", "d"]])
    assert decode_report(report.encode()) == report
    place = WorkerSetup(1, 2, 3, "a log", 4.0, grpc_listener=5, marks=6, quarantine=[["m", "1", "d", "it hung"]])
    assert decode_setup(place.encode()) == place


# The process

WORKER = """
import json, pathlib, socket, sys, time
link = socket.socket(fileno=json.loads(sys.argv[-1])["link"])
link.settimeout(0.05)
report = {"accepting": True, "progress": "restoring models, 1 of 2 done", "of a later release": 1}
while True:
    if pathlib.Path("loaded").exists():
        report = {"accepting": True, "ready": True, "version": "9", "api": 1}
    link.sendall(b'no report\\n')
    time.sleep(0.05)
    link.sendall(json.dumps(report).encode() + b'\\n')
    if "ready" in report:
        pathlib.Path("said").touch()
    try:
        if link.recv(1) == b"s":
            break
    except TimeoutError:
        pass
"""


def test_what_a_worker_reports_is_published_whatever_else_it_says(tmp_path: Path) -> None:
    with kept(tmp_path) as (_, published):
        until(lambda: published().progress == "restoring models, 1 of 2 done")
        assert (published().state, published().reason) == ("Starting", "its process is coming up")
        (tmp_path / "loaded").touch()
        until(lambda: published().state is ServiceState.READY)
        assert (published().progress, published().version) == ("", "9")


def test_a_worker_that_is_to_end_is_ready_for_nobody(tmp_path: Path) -> None:
    with kept(tmp_path) as (keeper, published):
        until(lambda: published().progress)
        keeper.send_signal(signal.SIGUSR1)
        until(lambda: published().state is ServiceState.RESTARTING)
        (tmp_path / "loaded").touch()
        until((tmp_path / "said").exists)
        keeper.send_signal(signal.SIGTERM)
        seen = {published().state}
        while ServiceState.STOPPED not in seen:
            seen.add(published().state)
        assert ServiceState.READY not in seen


def test_a_worker_that_could_not_be_started_leaves_nothing_open(tmp_path: Path) -> None:
    logs = Logs(tmp_path, "text", [])
    before = os.listdir("/proc/self/fd")
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(FileNotFoundError) as caught:
        Worker(["/absent"], (listener, listener), logs, "", 0.0, 0.0)
    assert caught.traceback  # holds all that was made
    assert os.listdir("/proc/self/fd") == before
    logs.close()


def test_what_native_code_of_a_worker_writes_cannot_pass_for_its_log(tmp_path: Path) -> None:
    script = f"""
import json, os, sys
mark = json.loads(sys.argv[-1])["log_mark"]
sys.stderr.write(mark + "said by its log\\n" + {FORGED!r} + "\\n")
"""
    logs = Logs(tmp_path, "text", [], to_stream=False)
    with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
        worker = Worker([sys.executable, "-c", script], (listener, listener), logs, "", 0.0, 0.0)
        worker.process.wait(60)
        worker.read_words()
        assert worker.how_it_ended().endswith(FORGED)
        worker.close(selector)
    logs.close()
    assert logs.lines(9) == ["said by its log", f"| {FORGED}"]


@contextmanager
def kept(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], ServiceRecord]]]:
    """The keeper of a WORKER, and what it publishes."""
    room = Rendezvous(folder / "room").open()
    script = f"""
        import sys
        from pathlib import Path
        from workbench.config import ServerConfig
        from workbench.rendezvous.folder import Rendezvous
        from workbench.server.process.supervisor import supervise
        config = ServerConfig(http_port=0, data_dir=Path("data"))
        supervise(config, [sys.executable, "-c", {WORKER!r}], Rendezvous(Path("room")))
    """
    keeper = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=folder)

    def published() -> ServiceRecord:
        found = until(room.last)
        assert found is not None
        return found

    try:
        yield keeper, published
    finally:
        keeper.terminate()
        keeper.wait(30)


def test_the_keeper_stays_small() -> None:
    code = "import sys, workbench.server.process.supervisor, workbench.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnxruntime", "numpy", "uvicorn", "asyncio", "msgspec", "psutil"} & set(loaded)


def test_a_worker_that_is_killed_is_replaced_on_the_same_port(tmp_path: Path) -> None:
    path = models.save(models.add_constant(1.0), tmp_path / "plus.onnx")
    with Serve(tmp_path, "--load", f"plus={path}") as serve:
        published = serve.ready().published
        worker = worker_of(serve)
        worker.kill()
        serve.until("the worker was killed by signal 9 (SIGKILL)")
        serve.ready()
        assert serve.published == published
        assert serve.call("POST", "/v2/models/plus/infer", BODY)[0] == 200
        lines = json.loads(serve.call("GET", "/control/logs?lines=1000")[1])["lines"]
        assert any("killed by signal 9" in line for line in lines)
        assert serve.stop() == 0


def test_the_token_outlasts_its_file_while_the_service_runs(tmp_path: Path) -> None:
    with Serve(tmp_path) as serve:
        serve.ready()
        (file,) = serve.data_dir.glob("token")
        token = file.read_text(encoding="utf-8")
        file.unlink()
        worker_of(serve).kill()
        serve.ready()
        assert file.read_text(encoding="utf-8") == token
        assert serve.call("GET", "/v2")[0] == 200


def test_a_worker_ends_when_its_keeper_is_killed(tmp_path: Path) -> None:
    with Serve(tmp_path) as serve:
        serve.ready()
        worker = worker_of(serve)
        serve.process.kill()
        gone, _ = psutil.wait_procs([worker], timeout=10)
        assert gone


def test_a_restart_is_asked_for_by_a_signal(tmp_path: Path) -> None:
    with Serve(tmp_path, "--log-format", "json") as serve:
        serve.until('"message": "ready"')
        worker = worker_of(serve)
        serve.process.send_signal(signal.SIGUSR1)
        serve.until("a restart was asked for")
        serve.until('"message": "ready"')
        assert worker_of(serve) != worker
        assert serve.stop() == 0
        assert all(json.loads(line)["level"] for line in serve.seen)


def test_a_second_signal_ends_it_without_waiting(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "slow"
    models.save(models.identity(), folder / "1" / "model.onnx")
    with Serve(tmp_path, "--model-repository", str(folder.parent)) as serve:
        serve.ready()
        worker = worker_of(serve)
        worker.suspend()  # it does not hear that it should end
        serve.process.send_signal(signal.SIGTERM)
        serve.until("the service ends: it was told to stop")
        serve.process.send_signal(signal.SIGTERM)
        assert serve.ended() == 128 + signal.SIGTERM
        assert not worker.is_running()


def test_what_native_code_says_before_it_aborts_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    path = models.save(hostile_model("abort in row 13"), tmp_path / "m.onnx")
    with Serve(tmp_path, "--load", f"m={path}") as serve:
        serve.ready()
        with pytest.raises(OSError):
            serve.call("POST", "/v2/models/m/infer", HARMFUL)
        serve.until("Fatal Python error: Aborted")
        serve.until("the worker was killed by signal 6 (SIGABRT)")


def test_an_event_loop_that_hangs_is_seen_and_its_worker_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On this signal, which only keepers use, a worker's main thread stays where it is.
    hang = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))"
    (tmp_path / "sitecustomize.py").write_text(hang)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(
        "INFER_WORKBENCH_DEAF_LIMIT_S", "4"
    )  # on a busy machine a worker may say nothing for a second or two
    with Serve(tmp_path) as serve:
        serve.ready()
        worker_of(serve).send_signal(signal.SIGUSR1)
        # Its event loop did not turn, or, where the machine is so busy that it cannot say so, it gave no sign of life.
        serve.until("the worker is killed: it")
        serve.until("sitecustomize.py")  # in the stacks, which show where
        serve.ready()
        assert serve.call("GET", "/v2")[0] == 200


def test_callers_of_a_run_that_never_ends_get_504_and_the_service_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    monkeypatch.setenv("INFER_WORKBENCH_RUN_LIMIT_S", "1")
    folder = tmp_path / "repository"
    models.save(hostile_model("hang in row 13"), folder / "stuck" / "1" / "model.onnx")
    models.save(models.add_constant(1.0), folder / "plus" / "1" / "model.onnx")
    (folder / "stuck" / "model.toml").write_text("max_queue_delay_s = 0.001\n")  # on a runner's thread
    models.save(models.add_constant(2.0), folder / "late" / "1" / "model.onnx")
    (folder / "late" / "model.toml").write_text('max_queue_delay_s = 3\nbatching = "always"\n')  # for company
    with Serve(tmp_path, "--model-repository", str(folder)) as serve:
        serve.ready()
        answers: list[int] = []

        def ask() -> None:
            answers.append(serve.call("POST", "/v2/models/stuck/infer", HARMFUL)[0])

        late: list[int] = []
        asking = threading.Thread(target=ask)
        asking.start()
        waiting = threading.Thread(target=lambda: late.append(serve.call("POST", "/v2/models/late/infer", BODY)[0]))
        waiting.start()
        serve.until("a run cannot be ended after run_limit_s")
        waiting.join()
        assert late == [200]
        serve.until("the worker ended itself, because a run of model 'stuck' version 1 did not end")
        serve.ready()
        asking.join()
        assert answers == [504]
        assert serve.call("POST", "/v2/models/plus/infer", BODY)[0] == 200
        assert serve.call("POST", "/v2/models/stuck/infer", BODY)[0] == 200


def test_a_run_that_takes_too_long_is_ended_and_nobody_else_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_RUN_LIMIT_S", "1")
    path = models.save(models.loop(), tmp_path / "loop.onnx")
    with Serve(tmp_path, "--load", f"loop={path}") as serve:
        serve.ready()
        worker = worker_of(serve).pid
        endless, short = (
            {
                "inputs": [
                    {"name": "x", "datatype": "FP32", "shape": [1], "data": [0]},
                    {"name": "n", "datatype": "INT64", "shape": [], "data": [turns]},
                ]
            }
            for turns in (10**15, 3)
        )
        status, said = serve.call("POST", "/v2/models/loop/infer", endless)
        assert status == 504
        assert "a run of model 'loop' did not end within 1 s (run_limit_s), and was ended" in json.loads(said)["error"]
        assert serve.call("POST", "/v2/models/loop/infer", short)[0] == 200
        assert worker_of(serve).pid == worker


def test_a_service_leaves_nothing_in_the_folder_it_is_started_in_and_says_where_its_files_are(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    environment = {**os.environ, "INFER_WORKBENCH_DATA_DIR": "", "JUPYTER_DATA_DIR": str(tmp_path / "jupyter")}
    command = [sys.executable, "-m", "workbench", "serve", "--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, text=True) as keeper:
        assert keeper.stderr is not None
        said = list(takewhile(lambda line: "workbench.serve: ready" not in line, keeper.stderr))
        keeper.terminate()
        keeper.stderr.read()
    assert keeper.returncode == 0
    (data,) = (tmp_path / "jupyter" / "infer-workbench-serve").iterdir()
    assert f"workbench.keeper: the data folder is {data}" in said[0]
    assert {"token", "service.log", "state.sqlite"} <= {path.name for path in data.iterdir()}
    assert not list(here.iterdir())
