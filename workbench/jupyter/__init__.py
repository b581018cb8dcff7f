"""The Jupyter server extension: starts and watches the user's service, and feeds every open page."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from workbench.jupyter.extension import InferWorkbench

    return [{"module": "workbench.jupyter", "app": InferWorkbench}]
