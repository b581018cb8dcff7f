"""Serves a function: a `core.ports.Session` over processes that each run one call at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from workbench.config import MIB, ModelConfig
from workbench.core.cores import usable_cores
from workbench.core.runtime import PYTHON
from workbench.core.tensor import Array
from workbench.errors import DeadlineExceeded, ModelError, Unavailable
from workbench.functions.function_bundle import FunctionSpec, read_spec
from workbench.functions.function_process import CallLimits, FunctionProcess, WorkerEnded, WorkerSpoilt

log = logging.getLogger("workbench.functions")

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0

LINES_PER_S: Final = 5
"""The most log lines a second with what a function printed."""


class FunctionSession:
    """As many processes as there are calls under way; the first `instances` are started at once."""

    platform = PYTHON.platform
    device = "cpu"
    runner_threads = 0

    def __init__(self, path: Path, spec: FunctionSpec, limits: CallLimits, instances: int) -> None:
        """Raises ModelError where the function cannot be made from its bundle."""
        self.signature = spec.signature
        self._path, self._spec, self._limits = path, spec, limits
        self._lock = threading.Lock()
        self._idle: list[FunctionProcess] = []
        self._inside: dict[int, FunctionProcess] = {}
        """By thread, the process that it waits for."""
        self._restarts = RestartPause()
        self._lines = 0.0, 0
        try:
            for _ in range(instances):
                self._idle.append(FunctionProcess(path, spec, limits))
            for process in self._idle:
                process.ready()
                self._log(process)
        except BaseException:
            self.close()
            raise
        self.notes = _notes(spec, self._idle[0].substitute)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """See core.ports.Session. Raises Unavailable while a process that keeps ending is not started again yet."""
        process = self._taken()
        thread = threading.get_ident()
        self._inside[thread] = process
        well = False
        try:
            found = process.call(inputs, outputs)
            well = True
            self._restarts.worked()
            return [found[name] for name in outputs]
        except (WorkerEnded, DeadlineExceeded) as error:
            self._restarts.ended(time.monotonic())
            log.warning("%s; the next call starts another one", error.message)
            raise
        except WorkerSpoilt:
            raise
        except Exception:
            well = True
            raise
        finally:
            with self._lock:
                del self._inside[thread]
            self._log(process)
            if well:
                with self._lock:
                    self._idle.append(process)
            else:
                process.close()

    def interrupt(self, thread: int) -> None:
        """See core.ports.Interruptible: the process is ended, and the next call starts another."""
        with self._lock:  # a process whose call ends meanwhile may be another thread's when it is killed
            if (process := self._inside.get(thread)) is not None:
                process.kill()

    def trim(self) -> None:
        """End the processes beyond the first that nobody uses, and give back the first one's shared memory."""
        with self._lock:
            spare, self._idle[1:] = self._idle[1:], []
            for process in self._idle:
                process.trim()
        for process in spare:
            process.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()

    def _taken(self) -> FunctionProcess:
        """An idle process, or a new one."""
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                break
            if process.idle_and_well:
                return process
            process.close()
        if (pause_s := self._restarts.left(time.monotonic())) > 0:
            raise Unavailable(
                f"the function's process ended {self._restarts.count} times one after another; it is started again "
                f"after a pause of {pause_s:.1f} s"
            )
        process = FunctionProcess(self._path, self._spec, self._limits)
        try:
            process.ready()
        except BaseException:
            process.close()
            self._restarts.ended(time.monotonic())
            raise
        return process

    def _log(self, process: FunctionProcess) -> None:
        """What it printed, in the service's log."""
        printed, process.printed = process.printed, ""
        if not printed:
            return
        began, count = self._lines
        if (now := time.monotonic()) - began >= 1:
            began, count = now, 0
        self._lines = began, count + 1
        if count < LINES_PER_S:
            log.info("the function printed: %s", printed.rstrip())


class RestartPause:
    """Decides how long a process that keeps ending is not started again: not at all after the first two times."""

    def __init__(self) -> None:
        self.count = 0
        """Ends without a call that worked between them."""
        self._until = 0.0

    def worked(self) -> None:
        self.count = 0
        self._until = 0.0

    def ended(self, now: float) -> None:
        self.count += 1
        if self.count > 2:
            self._until = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self.count - 3))

    def left(self, now: float) -> float:
        """Seconds of the pause that are left; 0 where it may be started."""
        return max(0.0, self._until - now)


def open_function(path: Path, config: ModelConfig, *, instances: int) -> FunctionSession:
    """See runtimes.registry.Opener."""
    if config.device.startswith("cuda"):
        raise ModelError("a Python function runs on the CPU, and uses a GPU where its own code does: leave device out")
    threads = config.intra_op_threads or max(1, usable_cores() // instances)
    limits = CallLimits(config.call_timeout_s, config.worker_memory_mib * MIB, config.worker_output_mib * MIB, threads)
    with path.open("rb") as file:
        spec = read_spec(file)
    return FunctionSession(path, spec, limits, instances)


def _notes(spec: FunctionSpec, substitute: str) -> tuple[str, ...]:
    if not substitute:
        return ()
    own = f"its own interpreter, Python {spec.interpreter.version}"
    return (f"{own}, is not on this machine, so the service's own runs it",)
