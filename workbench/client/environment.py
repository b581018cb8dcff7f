"""The environment that a service is started with: what a notebook has set for itself is not the service's business."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.config import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    import psutil

_THREAD_COUNTS = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "VECLIB_", "BLIS_")


def service_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The Jupyter server's environment where this is a kernel of one, else what this process was started with; less
    what concerns its Python and its thread counts."""
    given = _outer_environment() if environment is None else environment
    return {name: value for name, value in given.items() if not name.startswith(("PYTHON", *_THREAD_COUNTS))}


def whose_environment() -> str:
    """Whose `service_environment` is, in words."""
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

        # What names folders and limits for the service was perhaps set for this kernel alone.
        ours = {name: value for name, value in own.items() if name.startswith(ENVIRONMENT_PREFIX)}
        try:
            return server.environ() | ours
        except (psutil.Error, OSError):
            pass
    return own


def _jupyter_server() -> psutil.Process | None:
    """The one that this process is a kernel of."""
    pid = _started_with().get("JPY_PARENT_PID", "")
    if pid.isdigit():
        try:
            import psutil

            parents = {parent.pid: parent for parent in psutil.Process().parents()}
            return parents.get(int(pid))  # none: the number came from elsewhere, and names somebody else
        except (ImportError, psutil.Error, OSError):
            pass
    return None


def _started_with() -> Mapping[str, str]:
    """The environment at the start where the system tells; `os.environ` would hold the notebook's own changes."""
    try:
        import psutil

        return psutil.Process().environ() or os.environ
    except (ImportError, psutil.Error, OSError):
        return os.environ
