"""Loads a model that was never seen before in a process of its own first, so that a crash there harms nothing here.

The process (`runtimes/sandbox_process.py`) opens a session on the CPU and runs one made-up row, under a limit of
memory that it sets itself and a limit of time that is kept here. Only harm counts: a model that merely raises is left
to the load proper, which knows its real device and says why. A digest that came out well is remembered: the price is
paid once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
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
from workbench.runtimes.sandbox_process import NO_MEMORY, RAISED, TRIED

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
        self._running: set[subprocess.Popen[bytes]] = set()
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
            for process in self._running:
                process.kill()

    def _try(self, source: ModelSource, config: ModelConfig) -> None:
        memory_mib = self._memory_mib or _machine_mib()
        told = {"path": str(source.path), "config": dataclasses.asdict(config), "memory_mib": memory_mib}
        process = self._start()
        try:
            assert process.stdin is not None
            with contextlib.suppress(OSError):  # it has ended already, and its status says how
                # Left open: its end tells the child that its parent is gone.
                process.stdin.write(json.dumps(told).encode() + b"\n")
                process.stdin.flush()
            # The import that the load proper needs anyway, while the other process makes its own.
            imported(source.runtime.opener)

            status = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            raise ModelError(
                f"it was tried out in a process of its own first, and did not come to an end within "
                f"{self._timeout_s:g} s; if it may take longer, raise trial_timeout_s"
            ) from None
        finally:
            self._end(process)
        if self._closed:
            raise Unavailable("the service is shutting down")
        if status == NO_MEMORY:
            raise ModelError(
                f"it was tried out in a process of its own first, and {memory_mib} MiB of memory were not enough; if "
                "the service should give it more, raise trial_memory_mib"
            )
        if status not in (TRIED, RAISED):
            raise ModelError(
                f"it was tried out in a process of its own first, and crashed it ({_ending(status)}); nothing else was "
                "harmed"
            )

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise Unavailable("the service is shutting down")
            try:
                process = subprocess.Popen(
                    _COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # A thread's own heap reserves 64 MiB of addresses, and the limit is one of addresses.
                    env={**os.environ, "MALLOC_ARENA_MAX": "2"},
                )
            except OSError as error:
                raise Unavailable(f"no process could be started to try the model in ({error.strerror})") from None
            self._running.add(process)
            return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
            process.wait()
        with self._lock:
            self._running.discard(process)
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()


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
