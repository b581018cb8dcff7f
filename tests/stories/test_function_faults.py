"""A function that does its worst in a real service: its request ends with one error, and everybody else goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests import models
from tests.helpers.function_files import save_function
from tests.helpers.processes import has_ended
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from workbench.api import Workbench, connect
from workbench.errors import DeadlineExceeded, ExecutionError

X = np.array([[1, 2]], np.float32)

TEXT = """def predict(x):
    what = int(x[0, 0])
    if what == 1:
        while True:
            pass
    if what == 2:
        os._exit(7)
    if what == 3:
        kept = []
        while True:
            kept.append(np.ones(1 << 22))
    if what == 4:
        for _ in range(1024):
            print("x" * (1 << 20))
    if what == 5:
        while os.fork() == 0:
            return x
    if what == 6:
        os.closerange(0, 1000)
    if what == 7:
        raise Odd
    if what == 8:
        return np.broadcast_to(x[0], (1 << 40, 2))
    if what == 9:
        raise SystemExit(3)
    return x
class Odd(Exception):
    def __str__(self):
        raise SystemExit
"""


def functions(pid: int) -> list[psutil.Process]:
    """The processes of functions below a service, each after its keeper."""
    found = []
    for each in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # a fork that has ended, for which the function did not wait
            if any(part.endswith("worker_program.py") for part in each.cmdline()):
                found.append(each)
    return found


def asked(what: int) -> np.ndarray:
    return np.array([[what, 0]], np.float32)


def test_whatever_a_function_does_other_models_go_on_and_its_next_call_works(tmp_path: Path) -> None:
    bundle = save_function(tmp_path / "wild.function", TEXT)
    plus = models.save(models.add_constant(1.0), tmp_path / "plus.onnx")
    with Serve(tmp_path, "--load", f"plus={plus}") as serve:
        serve.ready()
        with connect(serve.published["url"], serve.token) as wb:
            limits = {"call_timeout_s": 4.0, "worker_memory_mib": 512}
            wb.load("wild", bundle, allow_code=True, **limits)
            example = np.asarray(wb.predict("plus", _input(wb)))
            stop, count = threading.Event(), 0

            def others() -> None:
                nonlocal count
                while not stop.is_set():
                    assert np.array_equal(np.asarray(wb.predict("plus", _input(wb))), example)
                    count += 1

            beside = threading.Thread(target=others)
            beside.start()
            try:
                for what, error, says in (
                    (1, DeadlineExceeded, "did not answer within 4 s"),
                    (2, ExecutionError, "ended itself with status 7"),
                    (3, ExecutionError, "raised MemoryError"),
                    (6, ExecutionError, "ended itself with status 1"),
                    (7, ExecutionError, r"raised Odd \(line"),
                    (8, ExecutionError, r"the function\'s answer has \d+ bytes; worker_output_mib, which is"),
                    (9, ExecutionError, "raised SystemExit: 3"),
                ):
                    with pytest.raises(error, match=says):
                        wb.predict("wild", asked(what))
                    assert np.array_equal(np.asarray(wb.predict("wild", asked(0))), asked(0))
                for what in (4, 5):
                    assert np.array_equal(np.asarray(wb.predict("wild", asked(what))), asked(what))
            finally:
                stop.set()
                beside.join()
            assert count > 10

            keeper, worker = until(lambda: _alone(serve.process.pid))  # the fork of the last call may still be ending
            served = psutil.Process(keeper.ppid())
            served.send_signal(signal.SIGKILL)
            until(lambda: has_ended(worker))
            until(lambda: has_ended(keeper))
            assert np.array_equal(np.asarray(until(lambda: _answer(wb))), asked(0))
            another = until(lambda: _alone(serve.process.pid))
            assert serve.stop() == 0
            until(lambda: all(map(has_ended, another)))


def _alone(pid: int) -> tuple[psutil.Process, psutil.Process] | None:
    """The keeper and the process of the only function."""
    found = functions(pid)
    return (found[0], found[1]) if len(found) == 2 and found[1].ppid() == found[0].pid else None


def _input(wb: Workbench) -> np.ndarray:
    signature = wb["plus"].signature
    return np.ones([1 if size < 0 else size for size in signature.inputs[0].shape], np.float32)


def _answer(wb: Workbench) -> object:
    try:
        return wb.predict("wild", asked(0))
    except Exception:  # of a service that starts anew
        return None
