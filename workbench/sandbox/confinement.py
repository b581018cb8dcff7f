"""Takes from a process what reading and trying a model does not need, as far as its kernel can."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Final

from workbench.config import MIB
from workbench.sandbox.kernel import called, libc, prctl
from workbench.sandbox.landlock import landlock_abi, restrict
from workbench.sandbox.seccomp import has_seccomp, refuse_calls

OVERHEAD_MIB: Final = 4096
"""Address space beside the model's: libraries, the stacks and the heaps of threads, mostly never touched."""
MAX_DESCRIPTORS: Final = 256

NO_NEW_PRIVILEGES, LIMITS, CAPABILITIES = "no new privileges", "limits", "no capabilities"
LANDLOCK, SECCOMP, DUMP = "Landlock", "seccomp", "no dump"
PARTS: Final = (NO_NEW_PRIVILEGES, LIMITS, CAPABILITIES, LANDLOCK, SECCOMP, DUMP)

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPABILITIES_VERSION = 0x20080522

_SYSTEM: Final = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)
"""What libraries read. Not the whole of /proc, where the environment of other processes lies."""

_KEPT: Final = frozenset(
    """
    HOME LANG LANGUAGE LD_LIBRARY_PATH LD_PRELOAD PATH SYSTEMROOT TMPDIR TZ VIRTUAL_ENV
    """.split()  # noqa: SIM905
)
_KEPT_PREFIXES: Final = ("LC_", "PYTHON")


def supported() -> tuple[str, ...]:
    """The parts that this kernel has, of PARTS."""
    if sys.platform != "linux":
        return (LIMITS,) if os.name == "posix" else ()
    unsupported = {name for name, there in ((LANDLOCK, landlock_abi() > 0), (SECCOMP, has_seccomp())) if not there}
    return tuple(name for name in PARTS if name not in unsupported)


def confine(readable: Iterable[str], *, memory_mib: int, cpu_s: int) -> tuple[str, ...]:
    """Have this process read `readable` (files, or folders with all in them) and its own libraries only, write nothing,
    reach no network, start and signal no process, and take no more memory and processor time than that.

    For a process of one thread that has its libraries. Returns the parts of PARTS that are in force by now; one that
    the kernel has not, or refuses, is left out.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # the first to go where the machine's memory is used up

    def landlock() -> None:
        if not landlock_abi():
            raise OSError
        restrict((*_SYSTEM, *libraries(), *readable))

    steps: dict[str, Callable[[], object]] = {
        LIMITS: lambda: _limit(memory_mib, cpu_s),
        NO_NEW_PRIVILEGES: lambda: prctl(_PR_SET_NO_NEW_PRIVS, 1),
        LANDLOCK: landlock,
        CAPABILITIES: _drop_capabilities,
        DUMP: lambda: prctl(_PR_SET_DUMPABLE, 0),
        SECCOMP: refuse_calls,  # the last, for it refuses some of what the others do
    }
    in_force = set()
    for name, step in steps.items():
        with contextlib.suppress(OSError, ValueError, KeyError, ImportError):
            step()
            in_force.add(name)
    return tuple(name for name in PARTS if name in in_force)


def lessen_worker() -> tuple[str, ...]:
    """The parts of it that a process with the network, a GPU and other processes can do without, in force from now on.

    Not where an NVIDIA driver is: its library may start a program with more privileges that makes the device's files.
    """
    in_force = []
    with contextlib.suppress(OSError):
        if not os.path.exists("/proc/driver/nvidia"):  # noqa: PTH110 - no Path in a list of the kernel's
            prctl(_PR_SET_NO_NEW_PRIVS, 1)
            in_force.append(NO_NEW_PRIVILEGES)
    return tuple(in_force)


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What such a process needs of an environment: where libraries and modules are. No tokens, proxies, credentials."""
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    # A thread's own heap reserves 64 MiB of addresses, and the limit is one of addresses; and a process that has
    # threads cannot well be forked.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1"}


@cache
def libraries() -> frozenset[str]:
    """Folders of Python and of what is installed for it."""
    known = sysconfig.get_paths()
    folders = {known[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix))  # noqa: PTH118
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    return frozenset(folder for folder in (*folders, *sys.path) if folder and os.path.isabs(folder))  # noqa: PTH117


@contextlib.contextmanager
def memory_limit(mib: int) -> Iterator[None]:
    """Less memory for a while, where the limit is higher by now."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    least = (mib + OVERHEAD_MIB) * MIB
    if soft == resource.RLIM_INFINITY or least < soft:
        resource.setrlimit(resource.RLIMIT_AS, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _limit(memory_mib: int, cpu_s: int) -> None:
    import resource

    memory = (memory_mib + OVERHEAD_MIB) * MIB
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),  # a crash is expected here
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _drop_capabilities() -> None:
    """Root without them reads only what it owns or anybody may."""
    if platform.system() != "Linux":
        raise OSError
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    called(libc().capset(ctypes.byref(header), ctypes.byref(none)))
