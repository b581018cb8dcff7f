"""What a Jupyter server runs: it starts and watches the user's service, and tells every open page about it."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from workbench.jupyter.extension import InferWorkbench

    return [{"module": "workbench.jupyter", "app": InferWorkbench}]
