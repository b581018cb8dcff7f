from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from tests.helpers.clock import Clock
from workbench.telemetry import exposition, prometheus_text
from workbench.telemetry.machine_use import FRESH_S, GpuUse, Machine
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.snapshots import Snapshots


class Nvml:
    """NVML of a machine with one GPU that does not tell its power limit."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.asked = 0
        self.lost = False

    def nvmlDeviceGetCount(self) -> int:
        self.asked += 1
        if self.lost:
            raise self.NVMLError("GPU is lost")
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=80 << 30, used=3 << 30)

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:
        return b"GPU-7"

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "a GPU"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=42)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 250_000

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:
        raise self.NVMLError("not supported")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return 12_000


def test_a_gpu_is_told_of_as_far_as_the_driver_tells() -> None:
    use = Machine(Nvml).read()
    assert use.gpus == (GpuUse("GPU-7", "a GPU", 80 << 30, 3 << 30, 0.42, 250.0, None, 12.0),)
    assert 0 < use.memory_used < use.memory_total
    assert 0.0 <= use.cpu_utilization <= 1.0


def test_a_reading_is_not_taken_again_while_it_is_fresh() -> None:
    nvml, clock = Nvml(), Clock()
    machine = Machine(lambda: nvml, clock)
    for _ in range(3):
        machine.read()
    assert nvml.asked == 1
    clock.now += FRESH_S + 0.1
    machine.read()
    assert nvml.asked == 2


def test_a_gpu_that_is_lost_is_not_there_and_nothing_else_is_harmed() -> None:
    nvml = Nvml()
    nvml.lost = True
    assert Machine(lambda: nvml).read().gpus == ()


def test_a_machine_without_a_driver_has_no_gpu() -> None:
    use = Machine(lambda: None).read()
    assert use.gpus == ()
    assert use.memory_total > 0


def test_looking_at_the_figures_has_the_machine_read_without_waiting_for_it() -> None:
    gate, read = threading.Event(), threading.Event()

    def slow() -> Nvml:
        gate.wait(20)
        read.set()
        return Nvml()

    metrics = Metrics(machine=Machine(slow))
    assert metrics.state().machine.gpus == ()
    gate.set()
    assert read.wait(20)
    metrics.machine.read()  # waits for the reading under way
    state = metrics.state()
    written = prometheus_text.write(exposition.families(state)).decode()
    assert 'infer_device_utilization_ratio{gpu_uuid="GPU-7",name="a GPU"} 0.42' in written
    assert 'nv_gpu_utilization{gpu_uuid="GPU-7"} 0.42' in written
    assert 'nv_energy_consumption{gpu_uuid="GPU-7"} 12.0' in written
    assert "nv_gpu_power_limit{" not in written
    (gpu,) = Snapshots(metrics.state, "e").take()["machine"]["gpus"]
    assert (gpu["uuid"], gpu["memory_used_bytes"], gpu["power_w"]) == ("GPU-7", 3 << 30, 250.0)
