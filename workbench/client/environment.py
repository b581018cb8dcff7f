"""Chooses the environment that a service is started with, without what a notebook has set for itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.config import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    import psutil

_THREAD_COUNTS = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "VECLIB_", "BLIS_")


def service_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the Jupyter server's environment in a kernel, else the one that this process was started with, without
    variables for its Python and its thread counts."""
    given = _outer_environment() if environment is None else environment
    return {name: value for name, value in given.items() if not name.startswith(("PYTHON", *_THREAD_COUNTS))}


def whose_environment() -> str:
    """Say in words whose environment `service_environment` returns."""
    import psutil

    if (server := _jupyter_server()) is not None:
        return f"Jupyter server {server.pid}"
    try:
        return f"process {os.getpid()} ({psutil.Process().name()})"
    except psutil.Error:
        return f"process {os.getpid()}"


def _outer_environment() -> Mapping[str, str]:
    own = _started_with()
    if (server := _jupyter_server()) is not None:
        import psutil

        # Our own variables name folders and limits of the service, and may be set for this kernel alone.
        ours = {name: value for name, value in own.items() if name.startswith(ENVIRONMENT_PREFIX)}
        try:
            return server.environ() | ours
        except (psutil.Error, OSError):
            pass
    return own


def _jupyter_server() -> psutil.Process | None:
    """Return the Jupyter server that this process is a kernel of."""
    pid = _started_with().get("JPY_PARENT_PID", "")
    if pid.isdigit():
        try:
            import psutil

            parents = {parent.pid: parent for parent in psutil.Process().parents()}
            return parents.get(int(pid))  # None if the variable was inherited and names another process
        except (ImportError, psutil.Error, OSError):
            pass
    return None


def _started_with() -> Mapping[str, str]:
    """Return the environment at the start of this process if the system knows it; `os.environ` has later changes."""
    try:
        import psutil

        return psutil.Process().environ() or os.environ
    except (ImportError, psutil.Error, OSError):
        return os.environ
