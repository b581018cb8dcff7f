"""Reads the use of the whole machine: cores, memory, and NVIDIA GPUs through NVML."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

FRESH_S = 0.9
"""A reading younger than this is not taken again."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """The use of one GPU by all processes. Sizes in bytes; None where the driver does not report it."""

    uuid: str
    name: str
    memory_total: int
    memory_used: int
    utilization: float | None
    """0 to 1: the share of the time in which some kernel ran."""
    power_w: float | None
    power_limit_w: float | None
    energy_j: float | None
    """Since the driver was loaded."""


@dataclass(frozen=True, slots=True)
class MachineUse:
    """The whole machine at one moment; in a container, the machine around it."""

    cpu_utilization: float = 0.0
    """0 to 1, over all cores, since the reading before."""
    memory_total: int = 0
    memory_used: int = 0
    gpus: tuple[GpuUse, ...] = ()


class Machine:
    """Reads the machine's use. `read` blocks for milliseconds, the first time for longer, so no event loop should call
    it.

    `latest` is the last reading, and `read_soon` renews it on a thread.
    """

    def __init__(self, nvml: Callable[[], Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml_of = nvml or _loaded_nvml
        self._nvml: Any = None
        self._looked = False
        self._clock = clock
        self._reading = threading.Lock()
        self._read_at = float("-inf")
        self._cpu = (0.0, 0.0)
        self.latest = MachineUse()
        """The last reading."""

    @property
    def stale(self) -> bool:
        return self._clock() - self._read_at > FRESH_S

    def read(self) -> MachineUse:
        """Return a reading that is at most FRESH_S old. Not for an event loop's thread."""
        with self._reading:
            if self.stale:
                memory = psutil.virtual_memory()
                self.latest = MachineUse(
                    self._cpu_utilization(), memory.total, memory.total - memory.available, tuple(self._gpus())
                )
                self._read_at = self._clock()
            return self.latest

    def read_soon(self) -> None:
        """Renew `latest` on a thread if it is stale; does not wait."""
        if self.stale and not self._reading.locked():
            threading.Thread(target=self.read, name="machine-use", daemon=True).start()

    def _cpu_utilization(self) -> float:
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # counted in user too
        idle = times.idle + getattr(times, "iowait", 0.0)
        total_before, idle_before = self._cpu
        self._cpu = total, idle
        passed = total - total_before
        return min(max(1.0 - (idle - idle_before) / passed, 0.0), 1.0) if passed > 0 else 0.0

    def _gpus(self) -> Sequence[GpuUse]:
        if not self._looked:
            self._looked = True
            self._nvml = self._nvml_of()
        nvml, found = self._nvml, []
        if nvml is not None:
            with suppress(nvml.NVMLError):  # without its driver, the machine has no GPUs
                found = [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]
        return found


def _loaded_nvml() -> Any:
    """Return NVML, initialised; None on a machine without NVIDIA's driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # whatever the reason, there is no GPU to measure
        return None
    return pynvml


def _gpu(nvml: Any, handle: Any) -> GpuUse:
    def asked(read: Callable[[], float]) -> float | None:
        try:
            return read()
        except nvml.NVMLError:
            return None

    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return GpuUse(
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_total=memory.total,
        memory_used=memory.used,
        utilization=asked(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        power_w=asked(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3),
        power_limit_w=asked(lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1e3),
        energy_j=asked(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3),
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
