"""Gives memory back to the system when a service that was busy has become calm.

After a burst of large bodies the C library keeps what was freed, in pieces between what is still used, and ONNX Runtime
keeps the regions of its arenas; both give it back only when they are asked. That takes up to 0.1 s, in which other
threads may have to wait for memory, so it is not done while there is anything to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from workbench.config import MIB

EVERY_S = 1.0
"""How often it is looked whether the service is calm."""

BUSY_CORES = 0.2
"""Using more of the CPU than this part of a core, a service is busy ..."""

BUSY_BYTES = MIB
"""... and so is one that holds bodies of this size."""

LEAST_BYTES = 64 * MIB
"""Memory that the process must have grown by since the last time, or there is too little to gain."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt."""

log = logging.getLogger("workbench.memory")


@dataclass(frozen=True, slots=True)
class Load:
    """What the process does, at one moment."""

    resident_bytes: int
    cpu_s: float
    """Used since it began."""
    held_bytes: int
    """Of bodies that are in memory."""
    changing: bool
    """A model is being loaded, changed or unloaded, or received."""


class CalmPolicy:
    """Decides when it is time: `calm_s` seconds after the last moment at which the service was busy."""

    def __init__(self, calm_s: float) -> None:
        """`calm_s` 0: never."""
        self._calm_s = calm_s
        self._calm_since: float | None = None
        self._seen: tuple[float, float] | None = None
        self._low_bytes = 0

    def due(self, now: float, load: Load) -> bool:
        """Whether memory is to be given back now. Ask every second or so."""
        before, self._seen = self._seen, (now, load.cpu_s)
        busy = load.held_bytes >= BUSY_BYTES or load.changing
        if before is None or busy or load.cpu_s - before[1] > BUSY_CORES * (now - before[0]):
            self._calm_since = None
            return False
        if self._calm_since is None:
            self._calm_since = before[0]
        self._low_bytes = min(self._low_bytes, load.resident_bytes)
        grown = load.resident_bytes - self._low_bytes
        return 0 < self._calm_s <= now - self._calm_since and grown >= LEAST_BYTES

    def given_back(self, resident_bytes: int) -> None:
        """So much is left after it; only growth from here counts."""
        self._low_bytes = resident_bytes


class MemoryRelease:
    """Watches a service. `run` until it is cancelled."""

    def __init__(self, calm_s: float, work: Callable[[], tuple[int, bool]], trim_models: Callable[[], None]) -> None:
        """`work`: held_bytes and changing of Load. `trim_models`, which is called on a thread, has the models' runtimes
        give back what they keep."""
        self._policy = CalmPolicy(calm_s)
        self._work = work
        self._trim_models = trim_models
        self._process = psutil.Process()

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(EVERY_S)
            cpu = self._process.cpu_times()
            resident = self._process.memory_info().rss
            if self._policy.due(clock(), Load(resident, cpu.user + cpu.system, *self._work())):
                await asyncio.to_thread(self._give_back)
                left = self._process.memory_info().rss
                self._policy.given_back(left)
                if resident - left >= LEAST_BYTES:
                    log.info("gave memory back", extra={"fields": {"mb": (resident - left) // 1_000_000}})

    def _give_back(self) -> None:
        self._trim_models()
        trim_heap()


def tune_heap(environment: Mapping[str, str] = os.environ) -> bool:
    """Have the C library keep its memory where `trim_heap` reaches it. Before any thread is started.

    By default each thread has a heap of its own, of which the part above the last block in use is never trimmed. With
    two heaps, and blocks of up to 32 MiB in them instead of mapped one by one, it all can be. Two heaps alone cost
    large requests up to a sixth more CPU time; with such blocks they cost no more than by default. False where the
    environment decides, or there is no such call.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in environment):
        return False
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([tune(_ARENA_MAX, 2), tune(_MMAP_THRESHOLD, 32 * MIB), tune(_TRIM_THRESHOLD, 256 * MIB)])


def trim_heap() -> bool:
    """Give back the C library's free memory; blocks, without the GIL. False where it has no such call, as on macOS and
    with musl, which keep less."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(ctypes.c_size_t(0))
    return True
