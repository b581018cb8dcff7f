"""What a function's process is given: an environment without the service's, files without a name, a share of memory."""

from __future__ import annotations

import os
import tempfile
from typing import Final

_KEPT: Final = frozenset("HOME LANG LANGUAGE LD_LIBRARY_PATH LOGNAME PATH TMPDIR TZ USER VIRTUAL_ENV".split())  # noqa: SIM905
_KEPT_PREFIXES: Final = ("LC_", "CUDA_", "CONDA_")
"""Of the service's environment. Its tokens and settings are nothing for the user's function."""


def bare_environment(threads: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**kept, **counts, "PYTHONDONTWRITEBYTECODE": "1"}


def anonymous_file() -> int:
    """A file in memory without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("infer-function", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
