"""What a run says of where it ran, so that a comparison can tell what differed."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from typing import Any

from workbench.core.cores import usable_cores
from workbench.rendezvous.folder import host_name


@cache
def this_machine() -> dict[str, Any]:
    """The machine that the generator runs on."""
    import psutil

    return {
        "host": host_name(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
    }


@cache
def versions() -> dict[str, str]:
    """Of this installation."""
    return {"workbench": version("infer-workbench"), "python": platform.python_version(), "numpy": version("numpy")}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, "") or platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
