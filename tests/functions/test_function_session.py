from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.helpers.function_files import descriptors, function_spec, save_function
from tests.helpers.waiting import until
from workbench.config import ModelConfig
from workbench.core.ports import Interruptible, Trimmable
from workbench.errors import DeadlineExceeded, ExecutionError, ModelError, Unavailable
from workbench.functions.function_bundle import ValueSpec
from workbench.functions.function_process import FunctionProcess
from workbench.functions.function_session import FunctionSession, RestartPause, open_function

X = np.array([[1, 2], [3, 4]], np.float32)
BY_PID = function_spec(outputs=(ValueSpec("y", "INT64"),))


def opened(folder: Path, text: str, *, instances: int = 1, **settings: float) -> FunctionSession:
    path = save_function(folder / "model.function", text, BY_PID)
    return open_function(path, ModelConfig(**settings), instances=instances)  # type: ignore[arg-type]


def children() -> set[int]:
    """Two for each function's process: there is its keeper."""
    return {each.pid for each in psutil.Process().children(recursive=True)}


def alive(pids: set[int]) -> set[int]:
    """Without those that an earlier test left, and that have ended meanwhile."""
    return set(filter(psutil.pid_exists, pids))


def test_calls_at_once_have_a_process_each_and_all_end_with_the_session(tmp_path: Path) -> None:
    before, files = children(), descriptors()
    meet = tmp_path / "meet"
    meet.mkdir()
    text = (
        "def predict(x):\n"
        f"    open(os.path.join({str(meet)!r}, str(os.getpid())), 'w').close()\n"
        f"    while len(os.listdir({str(meet)!r})) < 3:\n"
        "        pass\n"
        "    return os.getpid()\n"
    )
    session = opened(tmp_path, text, instances=2)
    assert isinstance(session, Interruptible)
    assert isinstance(session, Trimmable)
    assert len(children() - before) == 4
    with ThreadPoolExecutor(3) as pool:
        pids = {int(answer[0]) for answer in pool.map(lambda _: session.run({"x": X}, ["y"]), range(3))}
    assert len(pids) == 3
    session.trim()
    assert len(children() - before) == 2
    session.close()
    assert children() == alive(before)
    assert not any(map(psutil.pid_exists, pids)), (
        "a keeper has waited for each, also where the first process never does"
    )
    assert descriptors() == files


def test_after_one_ended_the_next_call_is_answered_by_another(tmp_path: Path) -> None:
    text = "def predict(x):\n    if x[0, 0] < 0:\n        os._exit(1)\n    return os.getpid()"
    session = opened(tmp_path, text)
    try:
        first = int(session.run({"x": X}, ["y"])[0])
        with pytest.raises(ExecutionError, match="ended itself with status 1"):
            session.run({"x": -X}, ["y"])
        second = int(session.run({"x": X}, ["y"])[0])
        assert second != first
        os.kill(second, signal.SIGKILL)  # between calls, as the system does where memory is used up
        until(lambda: not psutil.pid_exists(second))  # as a zombie it may still have threads that hold its socket
        assert int(session.run({"x": X}, ["y"])[0]) != second
        for _ in range(3):
            with pytest.raises(ExecutionError):
                session.run({"x": -X}, ["y"])
        with pytest.raises(Unavailable, match=r"ended 3 times one after another; it is started again after a pause"):
            session.run({"x": X}, ["y"])
    finally:
        session.close()


def test_a_call_is_interrupted_by_its_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other: while a process is ended, it cannot become another call's."""
    session = opened(tmp_path, "def predict(x):\n    while x[0, 0]:\n        pass\n    return os.getpid()")
    inside = threading.Event()
    kill, held = FunctionProcess.kill, []
    monkeypatch.setattr(FunctionProcess, "kill", lambda self: (held.append(session._lock.locked()), kill(self)))

    def interrupt(thread: int) -> None:
        inside.wait(60)
        while not session._inside:
            pass
        session.interrupt(thread)

    ender = threading.Thread(target=interrupt, args=(threading.get_ident(),))
    ender.start()
    inside.set()
    with pytest.raises(ExecutionError, match="SIGKILL"):
        session.run({"x": X}, ["y"])
    ender.join()
    assert held[0]
    assert session.run({"x": X * 0}, ["y"])
    session.close()


def test_its_limits_are_settings_of_the_model(tmp_path: Path) -> None:
    session = opened(tmp_path, "def predict(x):\n    while True:\n        pass", call_timeout_s=0.5)
    with pytest.raises(DeadlineExceeded, match=r"within 0\.5 s"):
        session.run({"x": X}, ["y"])
    session.close()
    with pytest.raises(ModelError, match="a Python function runs on the CPU"):
        path = save_function(tmp_path / "model.function", "def predict(x):\n    return 1", BY_PID)
        open_function(path, ModelConfig(device="cuda"), instances=1)


def test_one_that_cannot_be_made_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        opened(tmp_path, "1 / 0\ndef predict(x):\n    return 1", instances=2)
    assert children() == alive(before)


def test_the_pause_before_a_restart_grows_and_a_call_that_works_ends_it() -> None:
    pause = RestartPause()
    pauses = []
    for now in range(10):
        pause.ended(now)
        pauses.append(round(pause.left(now), 3))
    assert pauses == [0, 0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert pause.left(18) == 1
    pause.worked()
    assert (pause.count, pause.left(10)) == (0, 0)
