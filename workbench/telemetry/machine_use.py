"""What the machine does as a whole: its cores, its memory, its NVIDIA GPUs as NVML tells."""

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
    """One GPU, whoever uses it. Sizes in bytes; what the driver does not tell is None."""

    uuid: str
    name: str
    memory_total: int
    memory_used: int
    utilization: float | None
    """0 to 1: the part of the time in which some kernel ran."""
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
    """Reads on whichever thread asks: NVML may take milliseconds, the first time far more, so no event loop should.

    `latest` asks nobody, and `read_soon` has a thread see to it.
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
        """A reading that is fresh, or fresh enough. From any thread but an event loop's."""
        with self._reading:
            if self.stale:
                memory = psutil.virtual_memory()
                self.latest = MachineUse(
                    self._cpu_utilization(), memory.total, memory.total - memory.available, tuple(self._gpus())
                )
                self._read_at = self._clock()
            return self.latest

    def read_soon(self) -> None:
        """Have `latest` read anew, where it is not fresh; does not wait."""
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
            with suppress(nvml.NVMLError):  # a driver that goes away takes its GPUs with it, no more
                found = [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]
        return found


def _loaded_nvml() -> Any:
    """NVML, ready to be asked; None on a machine without NVIDIA's driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # of whatever kind: there is nothing to be measured here
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
