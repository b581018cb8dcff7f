"""Loads a model that was never seen before in another process first, so that a crash there harms nothing here.

The process (`runtimes/sandbox_process.py`) opens a session on the CPU and runs one made-up row, under a limit of
memory that it sets itself and a limit of time that is kept here. Only harm counts: a model that merely raises is left
to the load proper, which knows its real device and says why. A digest that came out well is remembered: the price is
paid once.

A process that came out well is given the next model, since its start takes most of a trial's time. So that no model
answers for what one before it did to the process, a model is found harmful only in a process of its own: one that
seems so in a process that was used before is tried once more in a new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

from workbench.config import MIB, ModelConfig
from workbench.core.runtime import imported
from workbench.engine.sources import ModelSource
from workbench.errors import ModelError, StorageError, Unavailable
from workbench.runtimes.sandbox_process import NO_MEMORY

IDLE_S = 3.0
"""For so long a process waits for the next model."""

_COMMAND = (sys.executable, "-P", "-m", "workbench.runtimes.sandbox_process")


class TrialCache(Protocol):
    """Remembers the digests of models that came out of a trial well. May block, and raise StorageError."""

    def is_proved(self, digest: str) -> bool: ...

    def prove(self, digest: str) -> None: ...

    def disprove(self, digest: str) -> None: ...


class ProcessTrial:
    """Implements engine.deployment.Trial. Any number of threads may call it; `close` ends what is under way."""

    def __init__(
        self,
        proofs: TrialCache,
        *,
        timeout_s: float,
        memory_mib: int = 0,
        tried: Callable[[str, float], None] = lambda digest, seconds: None,
    ) -> None:
        """`memory_mib` 0: as much as this machine has. `tried` is told of each trial that came out well, and what it
        took."""
        self._proofs = proofs
        self._timeout_s = timeout_s
        self._memory_mib = memory_mib
        self._tried = tried
        self._running: set[_TrialProcess] = set()
        self._idle: list[_TrialProcess] = []
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, source: ModelSource, config: ModelConfig, *, again: bool = False) -> None:
        """Raises ModelError for a model that crashed its process, or did not come to an end, or took all memory."""
        if not source.runtime.sandboxed or (not again and self._proofs.is_proved(source.digest)):
            return
        began = time.monotonic()
        try:
            self._try(source, config)
        except ModelError:
            with contextlib.suppress(StorageError):
                self._proofs.disprove(source.digest)
            raise
        with contextlib.suppress(StorageError):  # then it is tried again the next time
            self._proofs.prove(source.digest)
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

    def _try(self, source: ModelSource, config: ModelConfig) -> None:
        memory_mib = self._memory_mib or _machine_mib()
        told = {"path": str(source.path), "config": dataclasses.asdict(config), "memory_mib": memory_mib}
        process = self._taken() or self._started()
        was_used = process.models > 0
        harm = self._harm_of(process, source, told)
        if harm and was_used:
            harm = self._harm_of(self._started(), source, told)
        if harm:
            raise ModelError(f"it was tried out in a process of its own first, {harm}")

    def _harm_of(self, process: _TrialProcess, source: ModelSource, told: dict[str, object]) -> str:
        """What the model did to the process, in words; empty: nothing."""
        answer: dict[str, object] | None = None
        try:
            process.ask(told)
            # The import that the load proper needs anyway, while the other process makes its own.
            imported(source.runtime.opener)
            answer = process.answer(self._timeout_s)
        except TimeoutError:
            if not self._closed:
                return (
                    f"and did not come to an end within {self._timeout_s:g} s; if it may take longer, raise "
                    "trial_timeout_s"
                )
        finally:
            self._given_back(process, answer is not None and not answer["last"])
        if self._closed:
            raise Unavailable("the service is shutting down")
        if answer is None:
            return f"and crashed it ({_ending(process.status)}); nothing else was harmed"
        if answer["outcome"] == NO_MEMORY:
            return (
                f"and {told['memory_mib']} MiB of memory were not enough; if the service should give it more, raise "
                "trial_memory_mib"
            )
        return ""

    # Processes

    def _taken(self) -> _TrialProcess | None:
        """One that waits for another model."""
        with self._lock:
            if not self._idle or self._closed:
                return None
            process = self._idle.pop()
            self._running.add(process)
            return process

    def _started(self) -> _TrialProcess:
        with self._lock:
            if self._closed:
                raise Unavailable("the service is shutting down")
            try:
                process = _TrialProcess()
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
        """Those that it came out of well."""
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A thread's own heap reserves 64 MiB of addresses, and the limit is one of addresses.
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        )

    @property
    def status(self) -> int:
        """How it ended."""
        return self._process.wait()

    def ask(self, told: dict[str, object]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already, and its status says how
            # Left open: its end tells the child that its parent is gone.
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, timeout_s: float) -> dict[str, object] | None:
        """None where it ended without one. Raises TimeoutError."""
        assert self._process.stdout is not None
        until = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            poll = select.poll()
            poll.register(self._process.stdout, select.POLLIN)
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError
            if not (part := os.read(self._process.stdout.fileno(), 4096)):
                return None
            line += part
        answer: dict[str, object] = json.loads(line)
        return answer

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


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
