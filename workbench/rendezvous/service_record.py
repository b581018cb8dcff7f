"""Defines `service.json`, which the supervisor publishes and clients read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from workbench.errors import Unsupported
from workbench.rendezvous.process_identity import ProcessKey

SCHEMA = 1
"""Version of the file's schema. A newer one is refused."""


class ServiceState(StrEnum):
    """The state of the service, as its supervisor sees it."""

    STOPPED = "Stopped"
    """Nothing runs, or only the last moments of a keeper that is about to end."""
    STARTING = "Starting"
    READY = "Ready"
    RESTARTING = "Restarting"
    FAILED = "Failed"
    """The worker could not be started; the keeper answers in its place until a restart is asked for."""
    STOPPING = "Stopping"


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service."""

    url: str
    token: str
    token_file: str
    keeper: ProcessKey
    worker: ProcessKey | None = None
    """The process that answers; None between two of them."""
    state: ServiceState = ServiceState.STARTING
    reason: str = ""
    """Why it is in this state, in words."""
    since: float = 0.0
    """Unix time of the change to this state, to be shown; nothing is decided by it."""
    version: str = ""
    """Version of the worker; empty until the first worker has reported."""
    api: int = 0
    """API version of the worker; 0 until the first worker has reported."""
    data_dir: str = ""
    log_file: str = ""
    grpc: str | None = None
    lost_at: int = 0
    """When a worker last ended without having finished what was under way, in the ticks of a ProcessKey; 0: never."""
    ca_file: str = ""
    """PEM by which its clients on this machine know its certificate; empty where it has none."""
    progress: str = ""
    """Progress of loading the models of the last run, in words; empty where none are being loaded."""

    def encode(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"


def decode_record(text: str) -> ServiceRecord | None:
    """The record in a file's text; None for one that nobody has finished writing. Unsupported for a newer schema."""
    try:
        found: dict[str, Any] = json.loads(text)
        schema = found.pop("schema")
        if schema != SCHEMA:
            raise Unsupported(
                f"the service that runs was started by another version (its file has schema {schema}, this one reads "
                f"{SCHEMA}): end it with the version that started it, or end process {found['keeper']['pid']}"
            )
        worker = found["worker"]
        found |= {
            "keeper": _key(found["keeper"]),
            "worker": None if worker is None else _key(worker),
            "state": ServiceState(found["state"]),
        }
        # A later release of the same schema may say more.
        return ServiceRecord(
            **{field.name: found[field.name] for field in fields(ServiceRecord) if field.name in found}
        )
    except (ValueError, KeyError, TypeError):
        return None


def _key(found: Mapping[str, int]) -> ProcessKey:
    return ProcessKey(int(found["pid"]), int(found["began"]))
