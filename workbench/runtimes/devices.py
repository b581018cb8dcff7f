"""What there is to run on, found by trying.

ONNX Runtime falls back to the CPU without a word and names CUDA among its providers on machines that have no GPU, so
nothing here believes it: `cuda_problem` runs a model there, in another process, once.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import re
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass

import psutil

from workbench.core.cores import usable_cores
from workbench.runtimes.ort import ort

PROBE_TIMEOUT_S = 120.0
"""The first CUDA context on a machine can take tens of seconds."""

_MISSING_LIBRARY = re.compile(r"with error: ([\w.\-]+): cannot open")
"""ONNX Runtime's message where NVIDIA's libraries are not installed, which it prints but does not raise."""

_DRIVER = "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Device:
    """Something that models run on; memory in bytes, 0 where it cannot be read."""

    id: str
    """"cpu" or "cuda:0", as in ModelStatus.device."""
    name: str
    memory_total: int
    memory_free: int


def cuda_index(device: str) -> int:
    """The GPU that "cuda", "cuda:1" or "auto" asks for."""
    return int(device.partition(":")[2] or 0)


def has_nvidia_driver() -> bool:
    """True where NVIDIA's driver is installed, whether or not CUDA then works."""
    return _driver() is not None


def cuda_problem(index: int = 0) -> str | None:
    """Why that GPU cannot be used, as the end of a sentence; None when a model was seen to run on it.

    Asked once per process and GPU: takes seconds where there is a GPU, nothing where there is no driver.
    """
    with _asking:
        if index not in _answers:
            _answers[index] = wheel_conflict() or _driver_problem(index) or _probe(index)
        return _answers[index]


def wheel_conflict() -> str | None:
    """Advice where both ONNX Runtime wheels are installed; None when only one is."""
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(installed) < 2:
        return None
    return (
        "both onnxruntime and onnxruntime-gpu are installed, and the one unpacked last has overwritten the other: run "
        "`pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install onnxruntime-gpu`"
    )


def describe() -> tuple[Device, ...]:
    """The CPU, and every GPU on which `cuda_problem` has already seen a model run."""
    memory = psutil.virtual_memory()
    cores = usable_cores()
    cpu = Device("cpu", f"{_cpu_name()}, {cores} core{'s' * (cores != 1)}", memory.total, memory.available)
    with _asking:
        proved = sorted(index for index, problem in _answers.items() if problem is None)
    return (cpu, *(_gpu(index) for index in proved))


def free_gpu_memory(index: int) -> int:
    """Bytes free on that GPU now, whoever uses the rest; half of its total, or 0, where NVML cannot say."""
    gpu = _gpu(index)
    return gpu.memory_free or gpu.memory_total // 2


_asking = threading.Lock()
_answers: dict[int, str | None] = {}


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(_DRIVER)
    except OSError:
        return None


def _driver_problem(index: int) -> str | None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "the installed ONNX Runtime is its CPU build; install `infer-workbench[cuda]` where NVIDIA is supported"
    driver = _driver()
    if driver is None:
        return "this machine has no NVIDIA driver"
    if status := driver.cuInit(0):
        return f"NVIDIA's driver does not start (cuInit gave {status}); see what `nvidia-smi` says"
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if index >= count.value:
        return f"there is no GPU {index}: {count.value} can be seen (CUDA_VISIBLE_DEVICES may hide others)"
    return None


def _probe(index: int) -> str | None:
    command = [sys.executable, "-P", "-m", "workbench.runtimes.cuda_probe", str(index)]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the GPU did not answer within {PROBE_TIMEOUT_S:.0f} s"
    if ended.returncode == 0:
        return None
    said = ended.stdout.strip().splitlines()
    if ended.returncode != 1 or not said:
        return f"a first small run on the GPU crashed (exit {ended.returncode})"
    missing = _MISSING_LIBRARY.search(ended.stderr)
    reason = f"{missing[1]} is missing" if missing else said[-1]
    return (
        f"a first small run on the GPU failed: {reason}; install `infer-workbench[cuda]` for NVIDIA's libraries, "
        "and check that the driver supports CUDA 13"
    )


def _cpu_name() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu(index: int) -> Device:
    """CUDA's numbers follow CUDA_VISIBLE_DEVICES and NVML's do not, so the device is found by its UUID."""
    unknown = Device(f"cuda:{index}", "NVIDIA GPU", 0, 0)
    driver = _driver()
    if driver is None or driver.cuInit(0):
        return unknown
    handle, uuid, total = ctypes.c_int(), (ctypes.c_ubyte * 16)(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(128)
    if driver.cuDeviceGet(ctypes.byref(handle), index):
        return unknown
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(total), handle)
    driver.cuDeviceGetUuid_v2(ctypes.byref(uuid), handle)
    free = _nvml_free(bytes(uuid).hex())
    return Device(f"cuda:{index}", name.value.decode(errors="replace"), total.value, free)


def _nvml_free(uuid: str) -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, no library, no permission: whatever it is, NVML cannot say
        return 0
    try:
        dashed = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
        for kind in ("GPU", "MIG"):
            with suppress(pynvml.NVMLError):
                return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{dashed}")).free)
        return 0
    finally:
        pynvml.nvmlShutdown()
