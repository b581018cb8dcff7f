"""What the handlers serve: the engine and its surroundings, and the state that the service as a whole is in."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from workbench.config import ServerConfig
from workbench.core.model import ModelState, ModelStatus
from workbench.engine import Engine
from workbench.repository.store import ModelStore
from workbench.server.audit.audit_log import AuditLog
from workbench.server.gate.connection_caps import ConnectionCaps
from workbench.server.gate.in_flight import GuestBytes, InFlightBytes
from workbench.server.gate.unread_answers import UnreadAnswers
from workbench.server.network_port import NetworkPort
from workbench.server.persistence import ModelPersistence
from workbench.server.rollouts import Rollouts
from workbench.server.shared_memory import SharedMemory
from workbench.server.token_rotation import TokenRotation
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
    elsewhere_url: str = ""
    """`url` as callers on other machines take it; empty: they cannot, since it listens on loopback."""
    started_at: float = field(default_factory=time.time)
    """Unix time."""
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this run, so that readers of the stream see when figures begin anew."""
    pid: int = field(default_factory=os.getpid)
    used_at: float = field(default_factory=time.monotonic)
    """When it was last asked for more than to be looked at (time.monotonic)."""
    starting: bool = True
    """Models that were asked for at the start are still being loaded."""
    failed_at_start: set[str] = field(default_factory=set)
    """Models that were to be served at the start, and of which no version was then."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: InFlightBytes = field(init=False)
    guest_bodies: GuestBytes = field(init=False)
    """Of them, those of shares."""
    connections: ConnectionCaps = field(init=False)
    """Of HTTP and gRPC together."""
    unread: UnreadAnswers = field(init=False)
    audit: AuditLog = field(init=False)
    rollouts: Rollouts = field(init=False)
    rotation: TokenRotation | None = None
    """None: its token is in no file."""
    share_port: NetworkPort | None = None
    """None: it opens no further port."""
    on_loaded: list[Callable[[str], Awaitable[None]]] = field(default_factory=list)
    """Called with the name of a model that a caller has loaded."""
    shared: SharedMemory | None = None
    """What clients registered; None: that is not allowed."""

    def known_url(self, scheme: str) -> str:
        """The URL that callers by this scheme may have called."""
        return self.elsewhere_url if self.elsewhere_url.startswith(f"{scheme}://") else self.url

    def __post_init__(self) -> None:
        limits = self.config.limits
        self.bodies = InFlightBytes(limits.max_body_bytes_in_flight)
        self.guest_bodies = GuestBytes(self.bodies)
        self.unread = UnreadAnswers(self.bodies)
        self.connections = ConnectionCaps(limits.max_connections, limits.max_connections_per_address)
        self.audit = AuditLog(self.persistence.audit, self.metrics.audit_failed, self._without_secrets)
        self.rollouts = Rollouts(self.engine, self.persistence, self.metrics, self.audit)
        self.metrics.watch_rollouts(self.rollouts.figures)
        if self.config.allow_shared_memory:
            self.shared = SharedMemory(limits.max_body_bytes_in_flight)

    async def loaded(self, name: str) -> None:
        """Tell those who asked for it that a caller has loaded this model."""
        for told in self.on_loaded:
            await told(name)

    def _without_secrets(self, text: str) -> str:
        return text if self.logs is None else self.logs.without_secrets(text)

    @property
    def state(self) -> str:
        if self.draining.is_set():
            return "draining"
        return "starting" if self.starting or not self.engine.ready else "ready"

    @property
    def serving(self) -> bool:
        """What was to be done at the start is done, with or without success, and requests are taken."""
        return self.state == "ready"

    @property
    def ready(self) -> bool:
        """As clients and probes are told: with `strict_readiness` only where nothing is `missing`."""
        return self.serving and not (self.config.strict_readiness and self.missing)

    @property
    def missing(self) -> list[str]:
        """Models that failed at the start, and have been neither loaded nor unloaded since."""
        for name in list(self.failed_at_start):
            statuses = self.engine.statuses(name)
            # Once is enough: a load of it that fails later is no failure of the start.
            if not statuses or any(each.state is ModelState.READY for each in statuses):
                self.failed_at_start.discard(name)
        return sorted(self.failed_at_start)

    @property
    def notes(self) -> list[str]:
        """What the user should know of the start."""
        if not (missing := self.missing):
            return self.persistence.notes
        so = ", so the service is not ready" if self.config.strict_readiness else ""
        return [*self.persistence.notes, f"failed at the start{so}; load again, or unload: {', '.join(missing)}"]


def not_served(statuses: Sequence[ModelStatus]) -> bool:
    """Whether a model failed, and no version of it serves."""
    states = {each.state for each in statuses}
    return ModelState.FAILED in states and ModelState.READY not in states
