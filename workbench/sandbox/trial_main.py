"""The process in which files of strangers are read and tried: it imports what that takes, and forks for each.

    python -P -m workbench.sandbox.trial_main

It takes a line of JSON for each file on standard input (`Asked`), and answers each on standard output: a line
"STATUS SIZE", where STATUS is the exit status of the fork or the negative number of the signal that ended it, and then
SIZE bytes, what the fork wrote, untouched: an `Answer` for each step, as lines of JSON. The fork confines itself before
it opens the file, so no file answers for another, and none comes near this process, which ends when its input does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from workbench.config import model_config
from workbench.core.runtime import ONNX, imported, runtimes
from workbench.errors import ModelError, UntrustedModel, WorkbenchError
from workbench.repository.inspection import MAX_BYTES, Inspection
from workbench.repository.validate import look_here
from workbench.sandbox.confinement import confine, libraries, memory_limit
from workbench.sandbox.kernel import prctl

TRIED: Final = "tried"
RAISED: Final = "raised"
"""It has an error, and says which when it is loaded."""
NO_MEMORY: Final = "no memory"
INSPECTED: Final = "inspected"
REFUSED: Final = "refused"
UNTRUSTED: Final = "untrusted"
"""Refused, and for reaching out of its folder."""

MAX_ANSWER_BYTES: Final = MAX_BYTES + 64 * 1024

SMALL_MODEL: Final = (
    "08083a590a110a01780a017712017922064d61744d756c1201672a1b08020802100122100000803f00000000000000000000803f4201775a11"
    "0a0178120c0a0a080112060a000a02080262110a0179120c0a0a080112060a000a02080242040a00100d"
)
"""y = x @ w, as ONNX, in hex."""

_PR_SET_PDEATHSIG = 1


class Asked(msgspec.Struct, frozen=True):
    """What is to be done with one file."""

    path: str
    memory_mib: int
    cpu_s: int
    inspection_mib: int = 0
    """More than 0: it is to be inspected, with so much memory, and tried only where it names no other file."""
    config: dict[str, Any] | None = None
    """To try it with; None: it is only to be inspected."""


class Answer(msgspec.Struct, frozen=True):
    """What came of it. Of a process that may have been taken over: see repository.inspection."""

    outcome: str
    in_force: tuple[str, ...]
    """The parts of sandbox.confinement.PARTS."""
    message: str = ""
    inspection: msgspec.Raw = msgspec.Raw(b"null")


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries cannot write into an answer
    if sys.platform == "linux":
        _preload()  # elsewhere what they start does not outlive a fork
    asked = msgspec.json.Decoder(Asked)
    for line in iter(lambda: _line(0), b""):
        status, answer = _forked(asked.decode(line))
        _write(answers, b"%d %d\n" % (status, len(answer)) + answer)


def _preload() -> None:
    """Import what forks need, and have used it once: half of a small model's trial is what libraries do the first time.

    With one thread only: no other would be there after a fork.
    """
    import workbench.runtimes.first_run
    import workbench.runtimes.registry  # noqa: F401

    for runtime in runtimes():
        for reference in filter(None, (runtime.inspector, runtime.opener)):
            with contextlib.suppress(Exception):  # then a fork says so
                imported(reference)
    libraries()
    with TemporaryDirectory() as folder:
        path = Path(folder) / ONNX.model_file
        path.write_bytes(bytes.fromhex(SMALL_MODEL))
        _tried(path, {"intra_op_threads": 1}, ())
        with contextlib.suppress(WorkbenchError):
            look_here(path, "")
    gc.collect()
    gc.freeze()  # what is shared with the forks stays so


def _forked(asked: Asked) -> tuple[int, bytes]:
    """(how the fork ended, what it wrote)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child(asked, write)
        finally:
            os._exit(1)
    os.close(write)
    answer = bytearray()
    poll = select.poll()
    poll.register(read, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if 0 in ready:  # whoever asked has gone, or wants no more
            os.kill(pid, signal.SIGKILL)
            os._exit(1)
        part = os.read(read, 65536)
        answer += part
        if len(answer) > MAX_ANSWER_BYTES:
            os.kill(pid, signal.SIGKILL)
            answer.clear()
            break
        if not part:
            break
    os.close(read)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), bytes(answer)


def _child(asked: Asked, write: int) -> None:
    """Never returns."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    answers = os.dup2(write, 3, inheritable=False)
    os.closerange(4, 65536)
    path = Path(asked.path)
    readable = [asked.path if asked.inspection_mib else str(path.parent)]
    in_force = confine(readable, memory_mib=asked.memory_mib, cpu_s=asked.cpu_s)
    goes_on = True
    if asked.inspection_mib:
        answer, goes_on = _inspected(path, in_force, asked.inspection_mib)
        _write(answers, msgspec.json.encode(answer) + b"\n")
    if goes_on and asked.config is not None:
        _write(answers, msgspec.json.encode(_tried(path, asked.config, in_force)) + b"\n")
    os._exit(0)  # at once: a library's own end may crash too, and that is not what was asked


def _inspected(path: Path, in_force: tuple[str, ...], memory_mib: int) -> tuple[Answer, bool]:
    """(the answer, whether it can be tried at once)."""
    try:
        with memory_limit(memory_mib):
            found: Inspection = look_here(path, "")
            return Answer(INSPECTED, in_force, inspection=msgspec.Raw(msgspec.json.encode(found))), not found.external
    except MemoryError:
        return Answer(NO_MEMORY, in_force), False
    except UntrustedModel as error:
        return Answer(UNTRUSTED, in_force, error.message), False
    except ModelError as error:
        return Answer(REFUSED, in_force, error.message), False


def _tried(path: Path, config: dict[str, Any], in_force: tuple[str, ...]) -> Answer:
    from workbench.runtimes.first_run import first_size_that_runs
    from workbench.runtimes.registry import open_session

    try:
        session = open_session(path, model_config({**config, "device": "cpu"}), instances=1)
        try:
            _, trouble = first_size_that_runs(session)
        finally:
            session.close()
    except MemoryError:
        return Answer(NO_MEMORY, in_force)
    except WorkbenchError as error:
        trouble = error.message
    if any(words in trouble for words in ("not enough memory", "bad_alloc")):
        return Answer(NO_MEMORY, in_force)
    return Answer(RAISED if trouble else TRIED, in_force)


def _line(descriptor: int) -> bytes:
    """The next line, read no further; empty at the end."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part = os.read(descriptor, 65536)
        if not part:
            return b""
        line += part
    return bytes(line)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


if __name__ == "__main__":
    main()
