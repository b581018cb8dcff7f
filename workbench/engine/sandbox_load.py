"""Has a model that was never seen before read and tried in another process first, so that it harms nothing here.

A process (`sandbox/trial_main.py`) forks for each file. The fork confines itself, and then either inspects the file
and tells as data what is in it, or opens a session on the CPU and runs one made-up row, under limits of memory and time
of which that of time is kept here. What it tells is checked as what a stranger sent. Of a trial only harm counts: a
model that merely raises is left to the load proper, which knows its real device and says why. What was found of a
content, and a digest that came out well, are remembered: the price is paid once.

That a file is being tried is noted before. Where that note is found at the next start, the machine or the service
ended over it, and the file is refused once: a model that takes the machine with it does not do so in a loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import msgspec

from workbench.config import MIB, ModelConfig
from workbench.core.runtime import ONNX, imported, runtime_of_file
from workbench.engine.sources import ModelSource
from workbench.errors import ModelError, StorageError, Unavailable, UntrustedModel
from workbench.repository import inspection
from workbench.repository.inspection import Inspection
from workbench.repository.validate import look_here
from workbench.sandbox.confinement import PARTS, scrubbed, supported
from workbench.sandbox.trial_main import (
    MAX_ANSWER_BYTES,
    NO_MEMORY,
    REFUSED,
    UNTRUSTED,
    Answer,
    Asked,
)

IDLE_S = 3.0
"""For so long a process waits for the next model."""

MAX_MESSAGE = 1000

INSPECTION_MIB, INSPECTION_FACTOR = 1024, 24
"""The most memory of an inspection: so much, and so many times the file's size, where that is less than the trial's."""

MOST_HARMFUL = 100
"""Models whose harm is kept until somebody asks."""

_READING = "its file was read in a process of its own first, "
_TRYING = "it was tried out in a process of its own first, "
_NO_SENSE = "what was read in the model's file makes no sense; the file is taken for hostile"

_COMMAND = (sys.executable, "-P", "-m", "workbench.sandbox.trial_main")

log = logging.getLogger("workbench.engine")


class TrialCache(Protocol):
    """Remembers what came of trials. May block, and raise StorageError."""

    def is_proved(self, digest: str) -> bool:
        """Whether this model came out of a trial well."""
        ...

    def inspected(self, key: str) -> bytes | None:
        """What was found in a file. Its key says its content, and who read it."""
        ...

    def trying(self, digest: str) -> None:
        """A file is about to be read or tried. ModelError, once, where the last process did not live to say `tried`."""
        ...

    def tried(self, digest: str, *, well: bool | None = None, key: str = "", found: bytes = b"") -> None:
        """That is over. `well`: it came out of a trial well, or not; None: nothing is said of that. With a `key`, this
        was found in the file."""
        ...


class ProcessTrial:
    """Implements engine.deployment.Trial, and by `look` repository.validate.Look. Any number of threads may call it;
    `close` ends what is under way."""

    def __init__(
        self,
        cache: TrialCache,
        *,
        timeout_s: float,
        memory_mib: int = 0,
        private: Path | None = None,
        tried: Callable[[str, float], None] = lambda digest, seconds: None,
    ) -> None:
        """`memory_mib` 0: as much as this machine has. Nobody else can write to what lies in `private`. `tried` is told
        of each trial that came out well, and what it took."""
        self._cache = cache
        self._timeout_s = timeout_s
        self._memory_mib = memory_mib
        self._private = private
        self._tried = tried
        self._running: set[_TrialProcess] = set()
        self._idle: list[_TrialProcess] = []
        self._lock = threading.Lock()
        self._closed = False
        self._in_force: tuple[str, ...] | None = None
        self._harm: dict[str, ModelError] = {}
        """By digest, what a file did that was read and tried at once, until somebody asks for the trial."""

    def look(self, path: Path, content: str) -> Inspection:
        """What is in the file at `path`, whose content has this SHA-256. Raises ModelError.

        A file that is all of its model is tried as well, in the same fork, since most that are read are loaded next;
        what came of that is told when it is asked for. Not one that somebody may replace between reading and trying.
        """
        runtime = runtime_of_file(path) or ONNX
        if not runtime.sandboxed:
            return look_here(path, content)
        key = f"{content} {runtime.name} {_written_by()}"
        with contextlib.suppress(StorageError, ModelError):
            if (known := self._cache.inspected(key)) is not None:
                return inspection.decode(known)
        began = time.monotonic()
        private = self._private is not None and path.is_relative_to(self._private)
        config = ModelConfig() if private and not self._is_proved(content) else None
        found, well = b"", None
        self._begin(content)
        try:
            answers, harm = self._answers(self._asked(path, config, inspect=True), path)
            if not answers:
                raise harm or ModelError(_NO_SENSE)
            read = _read(answers[0])
            if read.content != content:  # whoever asked finds that out too
                return read
            found = bytes(answers[0].inspection)
            if harm is None and len(answers) == 1:
                return read
            well = harm is None
        finally:
            self._end(content, well=well, key=key if found else "", found=found)
        if harm is None:
            self._tried(content, time.monotonic() - began)
        else:
            self._harm[content] = harm
            for digest in list(self._harm)[:-MOST_HARMFUL]:
                self._harm.pop(digest, None)
        return read

    def __call__(self, source: ModelSource, config: ModelConfig, *, again: bool = False) -> None:
        """Raises ModelError for a model that crashed its process, or did not come to an end, or took all memory."""
        if not source.runtime.sandboxed or (not again and self._is_proved(source.digest)):
            return
        if known := self._harm.pop(source.digest, None):
            raise known
        began = time.monotonic()
        well = False
        self._begin(source.digest)
        try:
            answers, harm = self._answers(self._asked(source.path, config), source.path)
            if harm is not None or not answers:
                raise harm or ModelError(_NO_SENSE)
            well = True
        finally:
            self._end(source.digest, well=well)
        self._tried(source.digest, time.monotonic() - began)

    def close(self) -> None:
        """End the trials under way, whose callers get Unavailable; later ones too."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for process in self._running:
                process.kill()
        for process in idle:
            process.end()

    def _asked(self, path: Path, config: ModelConfig | None, *, inspect: bool = False) -> Asked:
        memory_mib = self._memory_mib or _machine_mib()
        cpu_s = int(self._timeout_s * (os.cpu_count() or 1)) + 1
        its_mib = path.stat().st_size // MIB
        inspection_mib = min(memory_mib, INSPECTION_MIB + INSPECTION_FACTOR * its_mib) if inspect else 0
        return Asked(
            str(path), memory_mib, cpu_s, inspection_mib, None if config is None else dataclasses.asdict(config)
        )

    def _is_proved(self, digest: str) -> bool:
        with contextlib.suppress(StorageError):
            return self._cache.is_proved(digest)
        return False

    def _begin(self, digest: str) -> None:
        """Have it on the disk that this is under way."""
        with contextlib.suppress(StorageError):
            self._cache.trying(digest)

    def _end(self, digest: str, *, well: bool | None, key: str = "", found: bytes = b"") -> None:
        with contextlib.suppress(StorageError):  # then it is tried again the next time
            self._cache.tried(digest, well=well, key=key, found=found)

    def _answers(self, asked: Asked, path: Path) -> tuple[list[Answer], ModelError | None]:
        """What the steps came to, and where one did harm, what it did."""
        where = _READING if asked.inspection_mib else _TRYING
        try:
            # No file comes near the process that forks: where that ended, it was somebody else's doing.
            found = self._told(asked, path) or self._told(asked, path)
        except TimeoutError:
            harm = (
                f"and did not come to an end within {self._timeout_s:g} s; if it may take longer, raise trial_timeout_s"
            )
            if asked.inspection_mib and asked.config is not None:  # whichever of both it was
                answers, other = self._answers(msgspec.structs.replace(asked, config=None), path)
                return answers, other or ModelError(_TRYING + harm)
            return [], ModelError(where + harm)
        if found is None:
            raise Unavailable("the process that models are tried in ended by itself; load the model again")
        status, data = found
        answers = []
        try:
            for line in data.splitlines()[: 1 + (asked.config is not None)]:
                answers.append(msgspec.json.decode(line, type=Answer))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [], ModelError(_NO_SENSE)
        if answers:
            self._log_once(answers[0].in_force)
            where = _TRYING
        if status:
            return answers, ModelError(f"{where}and crashed it ({_ending(status)}); nothing else was harmed")
        if any(answer.outcome == NO_MEMORY for answer in answers):
            mib = asked.memory_mib if answers[0].outcome != NO_MEMORY else asked.inspection_mib or asked.memory_mib
            more = "if the service should give it more, raise trial_memory_mib"
            return [answer for answer in answers if answer.outcome != NO_MEMORY], ModelError(
                f"{where}and {mib} MiB of memory were not enough; {more}"
            )
        return answers, None

    def _told(self, asked: Asked, path: Path) -> tuple[int, bytes] | None:
        """(how the fork ended, what it said), or None where the process itself ended. Raises TimeoutError."""
        process = self._taken()
        found: tuple[int, bytes] | None = None
        try:
            process.ask(asked)
            if asked.config is not None:
                # The import that the load proper needs anyway, while the other process tries.
                imported((runtime_of_file(path) or ONNX).opener)
            found = process.answer(self._timeout_s)
        except TimeoutError:
            if not self._closed:
                raise
        finally:
            self._given_back(process, found is not None)
        if self._closed:
            raise Unavailable("the service is shutting down")
        return found

    def _log_once(self, in_force: tuple[str, ...]) -> None:
        known = tuple(part for part in PARTS if part in in_force)
        if known == self._in_force:
            return
        self._in_force = known
        missing = [part for part in PARTS if part not in known]
        if missing:
            theirs = "which this system lacks" if not set(missing) & set(supported()) else "which failed"
            log.warning("new models are tried out without %s, %s", ", ".join(missing), theirs)
        else:
            log.info("new models are tried out with all that confines a process: %s", ", ".join(known))

    # Processes

    def _taken(self) -> _TrialProcess:
        """One that waits for another model, or a new one."""
        with self._lock:
            if self._closed:
                raise Unavailable("the service is shutting down")
            try:
                process = self._idle.pop() if self._idle else _TrialProcess()
            except OSError as error:
                raise Unavailable(f"no process could be started to try the model in ({error.strerror})") from None
            self._running.add(process)
            return process

    def _given_back(self, process: _TrialProcess, healthy: bool) -> None:
        with self._lock:
            self._running.discard(process)
            if healthy and not self._closed:
                self._idle.append(process)
                process.models += 1
                timer = threading.Timer(IDLE_S, self._end_if_idle, [process, process.models])
                timer.daemon = True
                timer.start()
                return
        process.end()

    def _end_if_idle(self, process: _TrialProcess, models: int) -> None:
        with self._lock:
            if process not in self._idle or process.models != models:
                return
            self._idle.remove(process)
        process.end()


class _TrialProcess:
    """One process, and what is said to it and by it. One thread at a time uses it; `kill` may come from any."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.models = 0
        """Those that were tried in it."""
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=scrubbed(os.environ),
            start_new_session=True,  # with its forks it is ended as one group
        )

    @property
    def status(self) -> int:
        """How it ended."""
        return self._process.wait()

    def ask(self, asked: Asked) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already, and there is no answer
            # Left open: its end tells the child that its parent is gone.
            self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
            self._process.stdin.flush()

    def answer(self, timeout_s: float) -> tuple[int, bytes] | None:
        """(how the fork ended, what it said); None where the process ended without an answer. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        data = bytearray()
        while b"\n" not in data[:64]:
            if not (part := self._part(until)) or len(data) > MAX_ANSWER_BYTES:
                return None
            data += part
        head, _, rest = bytes(data).partition(b"\n")
        status, size = map(int, head.split())
        answer = bytearray(rest)
        while len(answer) < size:
            if not (part := self._part(until)):
                return None
            answer += part
        return status, bytes(answer)

    def _part(self, until: float) -> bytes:
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError
        return os.read(self._process.stdout.fileno(), 1 << 20)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _read(answer: Answer) -> Inspection:
    """Raises ModelError."""
    message = "".join(each if each.isprintable() else " " for each in answer.message[:MAX_MESSAGE])
    if answer.outcome == UNTRUSTED:
        raise UntrustedModel(message)
    if answer.outcome == REFUSED:
        raise ModelError(message)
    return inspection.decode(bytes(answer.inspection))


@cache
def _written_by() -> str:
    """What an inspection depends on beside the file."""
    versions = [version(package) for package in ("infer-workbench", "onnx")]
    return " ".join([str(inspection.FORMAT), *versions])


def _machine_mib() -> int:
    import psutil

    return int(psutil.virtual_memory().total // MIB)


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
