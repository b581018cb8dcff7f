"""Describes the environment of the service, which may see less of the machine than a notebook does."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from workbench.core.cores import usable_cores
from workbench.rendezvous.folder import STARTED_AS_VARIABLE


def runs_under(environment: Mapping[str, str] = os.environ) -> dict[str, object]:
    """As /control/status has it; nothing of the environment but what is named here is shown."""
    found: dict[str, object] = {"python": platform.python_version(), "cores": usable_cores()}
    if started_as := environment.get(STARTED_AS_VARIABLE):
        found["environment"] = started_as
    if (devices := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        found["cuda_visible_devices"] = devices
    return found
