"""From a notebook cell to a served model.

import workbench
wb = workbench.connect()
wb.load("digits", clf)
wb["digits"](X)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from workbench.api import Model, Workbench, connect
    from workbench.client.client import AsyncClient
    from workbench.client.results import LoadReport, Prediction
    from workbench.errors import WorkbenchError

__all__ = [
    "AsyncClient",
    "LoadReport",
    "Model",
    "Prediction",
    "Workbench",
    "WorkbenchError",
    "connect",
    "errors",
    "load_ipython_extension",
]

_HOMES = {
    "AsyncClient": "workbench.client.client",
    "LoadReport": "workbench.client.results",
    "Model": "workbench.api",
    "Prediction": "workbench.client.results",
    "Workbench": "workbench.api",
    "WorkbenchError": "workbench.errors",
    "connect": "workbench.api",
}
"""Public name -> its module, imported when the name is first used, so that `import workbench` stays light."""


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext workbench`."""
    from workbench.api import current, running
    from workbench.notebook.magics import register

    register(shell, current, running, lambda: current(start=False))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("infer-workbench")
    if name == "errors":
        return importlib.import_module("workbench.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
