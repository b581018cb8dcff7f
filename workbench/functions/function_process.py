"""One process that runs a function, and the calls to it: arrays by a shared file, all else by a tiny message.

Nothing of it has a name on the machine: the shared files are anonymous, so nothing is left behind however either side
ends. A keeper, which is the process that is started, ends the function's process and all that it started when the pipe
to its standard input ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench.config import MIB
from workbench.core.tensor import Array, dtype_of
from workbench.errors import DeadlineExceeded, ExecutionError, InvalidInput, ModelError, WorkbenchError
from workbench.functions.function_bundle import FunctionSpec, ValueSpec
from workbench.functions.function_bytes import packed_bytes, unpacked_array
from workbench.functions.process_surroundings import anonymous_file, bare_environment, half_of_memory
from workbench.functions.worker import worker_program
from workbench.functions.worker.array_messages import (
    ALIGNED,
    BUFFER_BYTES,
    INLINE_BYTES,
    SIZES,
    arrays_of,
    message,
    padded,
    write_at,
)

START_S: Final = 120.0
"""Seconds that a process may take to import what the function needs."""

KEPT_BYTES: Final = 64 * MIB
"""What a shared file keeps for the next call; one that became larger is given back at once."""

_ENDING_S = 1.0
"""Seconds in which the keeper says how the function's process ended."""

_MORE_MEMORY = "worker_memory_mib sets how much memory it may take"

_TROUBLE_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What one process may take."""

    time_s: float = 30.0
    memory_bytes: int = 0
    """0: half of the machine's."""
    output_bytes: int = 256 * MIB
    threads: int = 1
    """Of numerical libraries, inside one call."""


class WorkerEnded(ExecutionError):
    """The process ended by itself, while it was running a request or before."""


class WorkerSpoilt(ExecutionError):
    """The function failed, and so that its process had better not go on."""


class FunctionProcess:
    """Starts the process; `ready` waits for it. One thread at a time calls it; `kill` may come from any."""

    def __init__(self, bundle: Path, spec: FunctionSpec, limits: CallLimits) -> None:
        """Raises ModelError where no process can be started."""
        self._spec, self._limits = spec, limits
        self._inputs = {each.name: each for each in spec.inputs}
        self._outputs = {each.name: each for each in spec.outputs}
        self._trouble = anonymous_file()
        self._given, self._taken = anonymous_file(), anonymous_file()
        self._files = [self._trouble, self._given, self._taken]
        self._shared_bytes = 0
        """The most that either shared file may have."""
        ours, theirs = socket.socketpair()
        self._control = ours
        self._quiet = select.poll()
        self._quiet.register(ours, select.POLLIN)
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._timeout_s = 0.0
        self._lock = threading.Lock()
        self.printed: str = ""
        """What it printed since this was last read."""
        python = spec.interpreter.executable
        self.substitute = "" if os.access(python, os.X_OK) else sys.executable
        """The interpreter that runs it where its own is not there."""
        command = [self.substitute or python, "-I", "-u", worker_program.__file__]
        shared = [theirs.fileno(), self._given, self._taken]
        try:
            self._process = subprocess.Popen(
                [*command, *map(str, shared)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._trouble,
                env=bare_environment(limits.threads),
                cwd="/",
                pass_fds=shared,
                start_new_session=True,
            )
        except OSError as error:
            self._close_files()
            raise ModelError(f"no process could be started for the function: {error.strerror}") from None
        finally:
            theirs.close()
        self._send(
            {
                "bundle": str(bundle.absolute()),
                "memory_bytes": limits.memory_bytes or half_of_memory(),
                "output_bytes": limits.output_bytes,
            },
            [],
        )

    def ready(self) -> None:
        """Wait until it can be called. ModelError where the function cannot be made from its bundle."""
        try:
            answer, _ = self._received(START_S)
        except TimeoutError:
            self.kill()
            raise ModelError(f"the function's process was not ready within {START_S:g} s") from None
        except WorkerEnded as error:
            said = os.pread(self._trouble, _TROUBLE_BYTES, 0).decode(errors="replace").strip().splitlines()
            raise ModelError(f"{error.message}{f' ({said[-1]})' if said else ''}, before it was ready") from None
        if "error" in answer:
            self.kill()
            raise ModelError(f"the function cannot be made in a process of its own: {_words(answer)}")

    def call(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None) -> dict[str, Array]:
        """The outputs by name; with `outputs` None, all that the function gives, whose `specs` then tell of them.

        Blocks without the GIL. Raises InvalidInput for a ValueError of the function's, WorkerSpoilt and WorkerEnded
        where the process must not or cannot be called again, DeadlineExceeded where it was ended for taking too long.
        """
        try:
            self._send(
                {
                    "shapes": [list(inputs[name].shape) for name in self._inputs],
                    "outputs": None if outputs is None else list(outputs),
                },
                [packed_bytes(inputs[name]) for name in self._inputs],
            )
            answer, parts = self._received(self._limits.time_s)
            if self._shared_bytes > KEPT_BYTES:
                self.trim()
        except TimeoutError:
            self.kill()
            raise DeadlineExceeded(
                f"the function did not answer within {self._limits.time_s:g} s, and its process was ended; "
                "call_timeout_s sets how long it may take"
            ) from None
        if "error" in answer:
            raised = InvalidInput if answer.get("invalid") and answer["error"] else ExecutionError
            if answer.get("spoilt"):
                raised = WorkerSpoilt
            if answer["error"] == "MemoryError":
                answer["line"] = "; ".join(filter(None, [answer.get("line"), _MORE_MEMORY]))
            raise raised(f"the function raised {_words(answer)}" if answer["error"] else _words(answer))
        try:
            found: dict[str, Array] = {}
            if outputs is None:
                self.specs = tuple(_spec_of(*each) for each in answer["outputs"])
            for (name, datatype, _, shape), part in zip(answer["outputs"], parts, strict=True):
                found[name] = unpacked_array(datatype, shape, part)
        except (KeyError, ValueError, TypeError, WorkbenchError):
            self.kill()
            raise WorkerEnded("the function's process gave an answer that makes no sense, and was ended") from None
        return found

    @property
    def idle_and_well(self) -> bool:
        """Between calls: it has not ended, and says nothing."""
        return not self._quiet.poll(0)

    def trim(self) -> None:
        """Give back the memory of the shared files. Not while a call is under way."""
        for file in (self._given, self._taken):
            os.ftruncate(file, 0)
        self._shared_bytes = 0

    def kill(self) -> None:
        """End it, and all that it started. Its call, if one is under way, ends with WorkerEnded."""
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(OSError, ValueError):  # the keeper has ended; it was told before
            os.write(self._process.stdin.fileno(), b"x")
            self._process.stdin.close()

    def close(self) -> None:
        """End it and give everything back, once or more often. Not while a call is under way."""
        self.kill()
        self._waited_for()
        self._close_files()

    def _close_files(self) -> None:
        self._control.close()
        if (process := getattr(self, "_process", None)) is not None:
            process.stdin.close()
        while self._files:
            os.close(self._files.pop())

    def _send(self, asked: dict[str, Any], parts: Sequence[memoryview | bytes]) -> None:
        sizes = [len(part) for part in parts]
        asked["sizes"] = sizes
        inline = sum(map(padded, sizes))
        if inline > INLINE_BYTES:
            inline = offset = 0
            for part in parts:
                write_at(self._given, part, offset)
                offset += padded(len(part))
            self._shared_bytes = max(self._shared_bytes, offset)
        head = json.dumps(asked).encode()
        pieces: list[memoryview | bytes] = [SIZES.pack(len(head), inline), head]
        for part in parts if inline else ():
            pieces.append(part)
            if len(part) % ALIGNED:
                pieces.append(bytes(padded(len(part)) - len(part)))
        try:
            self._control.sendall(b"".join(pieces))
        except BlockingIOError:
            raise TimeoutError from None
        except ConnectionError:
            pass  # it has ended, and there will be no answer

    def _received(self, timeout_s: float) -> tuple[dict[str, Any], list[Any]]:
        """An answer, and the bytes of its arrays. Raises TimeoutError, WorkerEnded."""
        until = time.monotonic() + timeout_s
        self._wait_at_most(timeout_s)

        def before_more() -> None:  # or one that comes in drops would never be late
            self._wait_at_most(max(until - time.monotonic(), 1e-6))

        try:
            body, head = message(self._control, self._buffer, before_more)
        except BlockingIOError:
            raise TimeoutError from None
        except ConnectionError:
            body = None
        if body is None:
            raise WorkerEnded(self._ending())
        try:
            answer = json.loads(bytes(body[:head]))
            sizes = [int(size) for size in answer["sizes"]]
            if min(sizes, default=0) < 0 or sum(sizes) > self._limits.output_bytes:
                raise ValueError
            inline = bytearray(body[head:])
            if not inline:
                self._shared_bytes = max(self._shared_bytes, sum(map(padded, sizes)))
            parts = arrays_of(inline, self._taken, sizes)
            self.printed += answer.get("log", "")
        except (ValueError, KeyError, TypeError):
            self.kill()
            raise WorkerEnded("the function's process gave an answer that makes no sense, and was ended") from None
        return answer, parts

    def _wait_at_most(self, seconds: float) -> None:
        """For either way of the socket. By the system itself: with a time-out of Python's, each read is two calls."""
        if self._timeout_s != seconds:
            self._timeout_s = seconds
            for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._control.setsockopt(socket.SOL_SOCKET, way, _timeval(seconds))

    def _ending(self) -> str:
        """How it ended, for its caller."""
        _wait_for_end(self._process.pid)
        self.kill()  # where it only closed its side
        status = self._waited_for()
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended itself with status {status}"
        return f"the function's process {how}"

    def _waited_for(self) -> int:
        """The exit status of the keeper, which is the function's, once it was told to end."""
        if self._process.returncode is None:
            _wait_for_end(self._process.pid)
        with self._lock:
            if self._process.returncode is None:  # not waited for, so the number is still its own
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()


def _wait_for_end(pid: int) -> None:
    """Wait a little until a child of this process has ended, without taking notice of it."""
    with contextlib.suppress(OSError, AttributeError):  # where the system has no such handles it is killed at once
        handle = os.pidfd_open(pid)
        try:
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            waiting.poll(_ENDING_S * 1000)
        finally:
            os.close(handle)


def _spec_of(name: object, datatype: object, text: object, shape: Sequence[int]) -> ValueSpec:
    dtype_of(str(datatype))
    return ValueSpec(str(name), str(datatype), tuple(int(size) for size in shape), text=bool(text))


def _words(answer: Mapping[str, Any]) -> str:
    """An exception of the function's, in one line."""
    said = " ".join(str(answer.get("message", "")).split())
    what = ": ".join(filter(None, [str(answer["error"]), said]))
    return f"{what} ({answer['line']})" if answer.get("line") else what


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, max(1, int((seconds - whole) * 1e6)))
