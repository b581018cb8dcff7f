"""What the handlers serve: the engine and its surroundings, and the state that the service as a whole is in."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import secrets
import time
from dataclasses import dataclass, field

from workbench.config import ServerConfig
from workbench.engine import Engine
from workbench.repository.store import ModelStore
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.persistence import ModelPersistence
from workbench.server.shared_memory import SharedMemory
from workbench.telemetry.logs import Logs
from workbench.telemetry.metrics import Metrics

VERSION = importlib.metadata.version("infer-workbench")


@dataclass(slots=True, eq=False)
class Service:
    """One running service. Belongs to the event loop's thread."""

    engine: Engine
    store: ModelStore
    metrics: Metrics
    config: ServerConfig
    persistence: ModelPersistence
    logs: Logs | None = None
    url: str = ""
    grpc: str = ""
    """HOST:PORT; empty until it is bound."""
    started_at: float = field(default_factory=time.time)
    """Unix time."""
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this run, so that readers of the stream see when figures begin anew."""
    pid: int = field(default_factory=os.getpid)
    used_at: float = field(default_factory=time.monotonic)
    """When it was last asked for more than to be looked at (time.monotonic)."""
    starting: bool = True
    """Models that were asked for at the start are still being loaded."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: InFlightBytes = field(init=False)
    shared: SharedMemory | None = None
    """What clients registered; None: that is not allowed."""

    def __post_init__(self) -> None:
        self.bodies = InFlightBytes(self.config.limits.max_body_bytes_in_flight)
        if self.config.allow_shared_memory:
            self.shared = SharedMemory(self.config.limits.max_body_bytes_in_flight)

    @property
    def state(self) -> str:
        if self.draining.is_set():
            return "draining"
        return "starting" if self.starting or not self.engine.ready else "ready"

    @property
    def ready(self) -> bool:
        return self.state == "ready"
