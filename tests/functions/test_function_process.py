"""What a function may do to its process: each ends one request with one error, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.helpers.function_files import descriptors, function_spec, save_function
from tests.helpers.processes import has_ended
from tests.helpers.waiting import until
from workbench.config import MIB
from workbench.errors import DeadlineExceeded, ExecutionError, InvalidInput, ModelError
from workbench.functions.function_bundle import FunctionSpec, Interpreter, ValueSpec
from workbench.functions.function_process import CallLimits, FunctionProcess, WorkerEnded, WorkerSpoilt

X = np.array([[1, 2], [3, 4]], np.float32)

Start = Callable[..., FunctionProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[FunctionProcess] = []

    def begin(text: str, limits: CallLimits | None = None, spec: FunctionSpec | None = None) -> FunctionProcess:
        spec = spec or function_spec()
        path = save_function(tmp_path / "model.function", text, spec)
        process = FunctionProcess(path, spec, limits or CallLimits())
        started.append(process)
        process.ready()
        return process

    gc.collect()  # what earlier tests left is not closed in between
    before = descriptors()
    yield begin
    for process in started:
        process.close()
    assert descriptors() <= before


def test_arrays_of_any_size_and_text_come_and_go(start: Start) -> None:
    inputs = (ValueSpec("x", "FP32", (-1, 2)), ValueSpec("words", "BYTES", (-1,), text=True), ValueSpec("b", "BYTES"))
    outputs = (ValueSpec("y", "FP32", (-1, 2)), ValueSpec("loud", "BYTES", (-1,), text=True), ValueSpec("b", "BYTES"))
    text = (
        "def predict(x, words, b):\n    x += 1\n    return {'y': x, 'loud': [each.upper() for each in words], 'b': b}"
    )
    process = start(text, spec=function_spec(inputs, outputs))
    words = np.array(["ä".encode(), b""], object)
    raw = np.array(b"\xff\x00", object)
    for rows in (1, 100, 1_000_000):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        answer = process.call({"x": x, "words": words, "b": raw}, ["y", "loud", "b"])
        assert np.array_equal(answer["y"], x + 1)
        assert answer["loud"].tolist() == ["Ä".encode(), b""]
        assert answer["b"].tolist() == b"\xff\x00"


def test_what_it_raises_comes_with_its_own_line(start: Start) -> None:
    text = (
        "def predict(x):\n"
        "    if x.sum() < 0:\n"
        "        raise ValueError('no negative rows')\n"
        "    if x.sum() > 100:\n"
        "        raise SystemExit(1)\n"
        "    return x[:, [7]]\n"
    )
    process = start(text)
    with pytest.raises(
        InvalidInput, match=r"raised ValueError: no negative rows \(line 4 of the cell, in predict: raise"
    ):
        process.call({"x": -X}, ["y"])
    with pytest.raises(ExecutionError, match=r"raised IndexError: .* \(line 7 of the cell, in predict: return x"):
        process.call({"x": X}, ["y"])
    with pytest.raises(ExecutionError, match="raised SystemExit: 1"):
        process.call({"x": X * 100}, ["y"])
    assert process.idle_and_well


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("x.astype(complex)", "output 'y' is declared as FP32; the answer is an array of complex128"),
        ("x[:, :1]", r"output 'y' is declared with shape \[-1, 2\]; the answer has \[2, 1\]"),
        ("{'z': x}", "its answer lacks 'y'; it has 'z'"),
        ("object()", "the answer is an array of object"),
        (
            "np.zeros((1 << 20, 2), np.float32)",
            "the function's answer has 8388608 bytes; worker_output_mib, which is 1, allows 1048576",
        ),
        ("np.broadcast_to(np.float32(0), (1 << 40, 2))", "the function's answer has 8796093022208 bytes"),
    ],
)
def test_an_answer_that_is_not_the_declared_one_is_told(start: Start, returned: str, reason: str) -> None:
    process = start(f"def predict(x):\n    return {returned}", CallLimits(output_bytes=MIB))
    with pytest.raises(ExecutionError, match=reason):
        process.call({"x": X}, ["y"])
    assert process.idle_and_well


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("os._exit(3)", "ended itself with status 3"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("os.closerange(0, 1000)", "ended itself with status 1"),
        ("os.closerange(0, 1000)\n    while True:\n        pass", "was ended by SIGKILL"),
    ],
    ids=range(5),
)
def test_one_that_ends_itself_ends_its_request(start: Start, how: str, says: str) -> None:
    process = start(f"def predict(x):\n    {how}")
    with pytest.raises(WorkerEnded, match=f"the function's process {says}"):
        process.call({"x": X}, ["y"])
    assert not process.idle_and_well


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "class Odd(Exception):\n    def __str__(self):\n        raise SystemExit\ndef predict(x):\n    raise Odd",
            "Odd",
        ),
        ("def predict(x):\n    raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def predict(x):\n    return predict(x)", "RecursionError"),
        ("def predict(x):\n    raise Exception('x' * (1 << 28))", "Exception: x{100}"),
    ],
    ids=range(4),
)
def test_whatever_it_raises_is_told_and_it_goes_on(start: Start, text: str, says: str) -> None:
    process = start(text)
    for _ in range(2):
        with pytest.raises(ExecutionError, match=f"the function raised {says}"):
            process.call({"x": X}, ["y"])
    assert process.idle_and_well


def test_what_it_leaves_behind_in_its_process_does_not_harm_its_next_calls(start: Start, tmp_path: Path) -> None:
    (gone := tmp_path / "gone").mkdir()
    text = (
        "import sys, threading\n"
        "def chatter():\n"
        "    while True:\n"
        "        print('x' * 100)\n"
        "def predict(x):\n"
        "    threading.Thread(target=chatter).start()\n"
        f"    os.path.exists({str(gone)!r}) and os.chdir({str(gone)!r})\n"
        "    sys.stdout.close()\n"
        "    print('said')\n"
        "    return x"
    )
    process = start(text)
    for _ in range(4):
        assert np.array_equal(process.call({"x": X}, ["y"])["y"], X)
    gone.rmdir()
    assert np.array_equal(process.call({"x": X}, ["y"])["y"], X)


def test_one_that_leaks_open_files_is_not_called_again(start: Start) -> None:
    process = start("kept = []\ndef predict(x):\n    while True:\n        kept.append(open('/dev/null'))")
    with pytest.raises(WorkerSpoilt, match=r"raised OSError: \[Errno 24\] Too many open files"):
        process.call({"x": X}, ["y"])


def test_one_long_text_does_not_make_all_of_them_as_long(start: Start) -> None:
    texts = (ValueSpec("x", "BYTES", (-1,), text=True),)
    given = np.array([b"y" * 50_000, *[b""] * 10_000], object)
    text = "def predict(x):\n    return [each + 'z' for each in x]"
    process = start(text, CallLimits(memory_bytes=512 * MIB), function_spec(texts, (replace(texts[0], name="y"),)))
    assert process.call({"x": given}, ["y"])["y"].tolist() == [each + b"z" for each in given]
    process = start(
        "def predict(x):\n    return [b'', b'ends in 0\\0']",
        None,
        function_spec(outputs=(replace(texts[0], name="y"),)),
    )
    assert process.call({"x": X}, ["y"])["y"].tolist() == [b"", b"ends in 0\0"]


def test_the_shared_memory_of_a_large_call_is_given_back(start: Start) -> None:
    process = start("def predict(x):\n    return x")
    large = np.zeros((9 << 20, 2), np.float32)
    for _ in range(2):
        assert np.array_equal(process.call({"x": large}, ["y"])["y"], large)
        assert [os.fstat(file).st_size for file in (process._given, process._taken)] == [0, 0]
    process.call({"x": large[: 1 << 17]}, ["y"])
    assert [os.fstat(file).st_size for file in (process._given, process._taken)] == [1 << 20, 1 << 20]
    process.trim()
    assert [os.fstat(file).st_size for file in (process._given, process._taken)] == [0, 0]
    process.call({"x": large[: 1 << 17]}, ["y"])


_OWN_ANSWER = """
import gc, socket, time
from json import dumps
control = next(each for each in gc.get_objects() if isinstance(each, socket.socket))
def predict(x):
{}
"""


def test_an_answer_that_comes_in_drops_is_late_all_the_same(start: Start) -> None:
    text = _OWN_ANSWER.format(
        "    control.send((60_000).to_bytes(8, 'little'))\n"
        "    while True:\n        control.send(b' ')\n        time.sleep(0.05)"
    )
    process = start(text, CallLimits(time_s=1.0))
    with pytest.raises(DeadlineExceeded, match="did not answer within 1 s"):
        process.call({"x": X}, ["y"])


def test_an_answer_that_is_not_where_it_says_ends_the_process(start: Start) -> None:
    text = _OWN_ANSWER.format(
        "    head = dumps({'outputs': [['y', 'FP32', False, [1000]]], 'sizes': [4000]}).encode()\n"
        "    control.sendall(len(head).to_bytes(4, 'little') + bytes(4) + head)\n"
        "    time.sleep(600)"
    )
    process = start(text)
    with pytest.raises(WorkerEnded, match="gave an answer that makes no sense"):
        process.call({"x": X}, ["y"])


def test_one_that_hangs_is_ended_with_all_that_it_started(start: Start, tmp_path: Path) -> None:
    child = tmp_path / "child"
    text = (
        "def predict(x):\n"
        "    import subprocess, sys\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"    with open({str(child)!r}, 'w') as file:\n"
        "        file.write(str(child.pid))\n"
        "    while True:\n"
        "        pass\n"
    )
    process = start(text, CallLimits(time_s=1.0))
    with pytest.raises(DeadlineExceeded, match=r"did not answer within 1 s, and its process was ended; call_timeout_s"):
        process.call({"x": X}, ["y"])
    process.close()
    until(lambda: not psutil.pid_exists(int(child.read_text())))


def test_one_that_takes_all_memory_fails_and_is_not_called_again(start: Start) -> None:
    text = "kept = []\ndef predict(x):\n    while True:\n        kept.append(np.ones(1 << 22))\n"
    process = start(text, CallLimits(memory_bytes=512 * MIB))
    with pytest.raises(WorkerSpoilt, match=r"raised MemoryError: .*\(line .*; worker_memory_mib sets how much"):
        process.call({"x": X}, ["y"])


def test_an_input_that_it_has_no_memory_for_fails_alone(start: Start) -> None:
    process = start("def predict(x):\n    return x", CallLimits(memory_bytes=256 * MIB))
    with pytest.raises(WorkerSpoilt, match=r"raised MemoryError .*worker_memory_mib sets how much"):
        process.call({"x": np.zeros((40 << 20, 2), np.float32)}, ["y"])


def test_a_fork_of_it_gives_no_answer(start: Start) -> None:
    process = start("def predict(x):\n    pid = os.fork()\n    return x * (1 if pid else 2)")
    for _ in range(3):
        assert np.array_equal(process.call({"x": X}, ["y"])["y"], X)


def test_a_gigabyte_of_prints_is_cut_to_its_end(start: Start) -> None:
    text = (
        "def predict(x):\n"
        "    for _ in range(1024):\n"
        "        print('x' * (1 << 20))\n"
        "    os.write(1, b'y' * (1 << 20))\n"
        "    print('the end')\n"
        "    return x"
    )
    process = start(text)
    assert np.array_equal(process.call({"x": X}, ["y"])["y"], X)
    assert process.printed.endswith("xxx\nthe end\n")
    assert len(process.printed) <= 2000


def test_it_sees_nothing_of_the_services_environment(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_TOKEN_FILE", "/secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    spec = function_spec(outputs=(ValueSpec("y", "BYTES", (-1,), text=True),))
    process = start(
        "def predict(x):\n    return np.array(list(os.environ.values()) + os.listdir('/proc/self/fd'))", spec=spec
    )
    seen = process.call({"x": X}, ["y"])["y"].tolist()
    assert not any(b"secret" in each for each in seen)


def test_a_function_that_cannot_be_made_is_told_with_its_line(start: Start) -> None:
    with pytest.raises(ModelError, match=r"cannot be made .*NameError: .*'missing'.*line 3 of the cell"):
        start("import os\nmissing\ndef predict(x):\n    return x")


def test_where_its_interpreter_is_gone_the_service_s_own_runs_it(start: Start) -> None:
    home = function_spec().interpreter
    gone = replace(function_spec(), interpreter=Interpreter("/nowhere/python", "3.9", home.path, "/nowhere"))
    process = start("def predict(x):\n    return x", spec=gone)
    assert process.substitute == sys.executable
    assert np.array_equal(process.call({"x": X}, ["y"])["y"], X)


_OWNER = """
import sys, psutil, numpy as np
from pathlib import Path
from tests.helpers.function_files import function_spec
from workbench.functions.function_process import CallLimits, FunctionProcess
process = FunctionProcess(Path(sys.argv[1]), function_spec(), CallLimits())
process.ready()
keeper = psutil.Process(process._process.pid)
print(keeper.pid, keeper.children()[0].pid, flush=True)
process.call({"x": np.zeros((1, 2), np.float32)}, ["y"])
"""


@pytest.mark.parametrize("does", ["while True: pass", "re.match('(a+)+$', 'a' * 60 + 'b')"], ids=["loop", "native"])
def test_when_the_service_is_killed_it_ends_in_the_middle_of_a_call(tmp_path: Path, does: str) -> None:
    """Native code that never gives up the interpreter keeps any thread of that process from ending it."""
    inside = tmp_path / "inside"
    text = f"import re\ndef predict(x):\n    open({str(inside)!r}, 'w').close()\n    {does}"
    path = save_function(tmp_path / "model.function", text)
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert owner.stdout is not None
    started = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
    assert len(started) == 2
    until(inside.exists)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    until(lambda: all(map(has_ended, started)))


def test_a_kill_from_another_thread_ends_a_call(start: Start) -> None:
    process = start("def predict(x):\n    os.write(1, b'')\n    while True:\n        pass")
    timer = threading.Timer(0.2, process.kill)
    timer.start()
    with pytest.raises(WorkerEnded, match="SIGKILL"):
        process.call({"x": X}, ["y"])
    timer.join()
