from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from workbench.api import connect
from workbench.client.own import OwnService
from workbench.errors import Unavailable


def test_a_service_starts_answers_and_leaves_nothing_behind() -> None:
    own = OwnService()
    address = own.start()
    folder = own._folder
    assert own.running
    assert folder is not None
    with connect(address.url, address.token) as wb:
        assert list(wb) == []
    pid = own.pid
    own.stop()
    own.stop()
    assert not own.running
    assert not folder.exists()
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_a_service_that_cannot_start_says_why_in_one_line() -> None:
    own = OwnService(("--load", "m=/no/such/model.onnx"))
    with pytest.raises(Unavailable, match=r"did not start: .*--load m") as caught:
        own.start()
    assert "\n" not in caught.value.message
    assert "Traceback" not in caught.value.message


def test_a_service_that_was_killed_is_unavailable_and_says_so() -> None:
    own = OwnService()
    address = own.start()
    with connect(address.url, address.token) as wb:
        wb.client.gone = own.last_words
        assert own.pid is not None
        os.kill(own.pid, signal.SIGKILL)
        assert own._process is not None
        own._process.wait()
        with pytest.raises(Unavailable, match=r"was killed by signal 9; workbench\.connect"):
            while True:  # what is under way may end
                wb.models()
    own.stop()


def test_a_service_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    script = """
        import os, signal
        from workbench.api import _with_own_service as connect

        wb = connect()
        print(wb._service.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # its folder stays behind
    )
    assert done.returncode == -signal.SIGKILL
    try:
        psutil.Process(int(done.stdout)).wait(timeout=30)
    except psutil.NoSuchProcess:
        pass


def test_a_service_ends_with_its_process_and_without_a_word() -> None:
    script = """
        from workbench.api import _with_own_service as connect

        wb = connect()
        assert connect().url == wb.url
        print(wb._service.pid, wb._service._folder)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    pid, folder = done.stdout.split()
    assert not psutil.pid_exists(int(pid))
    assert not Path(folder).exists()


def test_a_dead_service_is_replaced_by_the_next_connect() -> None:
    script = """
        import os, signal
        from workbench.api import _with_own_service as connect

        wb = connect()
        os.kill(wb._service.pid, signal.SIGKILL)
        wb._service._process.wait()
        try:
            while True:
                wb.models()
        except Exception as error:
            print(type(error).__name__)
        print(list(connect()))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("Unavailable\n[]\n", "")


def test_a_fork_starts_a_service_of_its_own_and_does_not_end_its_parents() -> None:
    script = """
        import os, sys
        from workbench.api import _with_own_service as connect

        wb = connect()
        child = os.fork()
        if child == 0:
            assert connect().url != wb.url
            assert wb.models() is not None
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), list(wb))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("7 []\n", "")
