"""The gRPC port beside the rest of the service: opened while models load, closed when the service ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from workbench.config import ServerConfig
from workbench.server.gate.auth import Gate
from workbench.server.inference import InferencePath
from workbench.server.process.worker_channel import SupervisorChannel

if TYPE_CHECKING:
    from workbench.server.grpc.listener import GrpcServer

DEFAULT_PORT = 8081

log = logging.getLogger("workbench.serve")


class GrpcPort:
    """Begins to open when it is made. Belongs to the event loop."""

    def __init__(
        self, inference: InferencePath, gate: Gate, loaded: asyncio.Event, hold_s: float, link: SupervisorChannel | None
    ) -> None:
        """Calls wait for `loaded`, but `hold_s` at most."""
        service = inference.service
        self._inference = inference
        self._service = service
        self._gate = gate
        self._loaded = loaded
        self._hold_s = hold_s
        self._ports = _ports(service.config, link.place.grpc_port if link is not None else 0)
        self.optional = 0 in self._ports and service.config.grpc_tls_cert is None
        """Nothing that anybody asked for can stand against opening it."""
        self._binding = asyncio.create_task(self._bind())
        self._serving = asyncio.create_task(self._serve())

    async def opened(self) -> None:
        """Until the address is known. Raises Unavailable, InvalidInput."""
        await asyncio.shield(self._binding)

    async def leave(self) -> None:
        """Have clients make no further call here, if it is open. Those that are on their way are still served."""
        if self._serving.done() and not self._binding.exception():
            await self._binding.result().leave()

    async def close(self, linger_s: float) -> None:
        """Take no further call, and leave `linger_s` to those under way."""
        self._loaded.set()
        await asyncio.gather(self._serving, return_exceptions=True)
        if not self._binding.exception():
            await self._binding.result().stop(linger_s)

    async def _bind(self) -> GrpcServer:
        service = self._service
        # A twentieth of a second of imports, while others wait for models.
        kind = await asyncio.to_thread(_server_class)
        server = kind(self._inference, self._gate)
        service.grpc = server.bind(service.config.host, self._ports)
        if service.config.grpc_port is None and not service.grpc.endswith(f":{DEFAULT_PORT}"):
            log.warning("port %d is in use, so gRPC is served on another", DEFAULT_PORT)
        return server

    async def _serve(self) -> None:
        try:
            server = await asyncio.shield(self._binding)
        except Exception:
            return  # whoever awaits `opened` says why
        if self._hold_s:
            try:
                await asyncio.wait_for(self._loaded.wait(), self._hold_s)
            except TimeoutError:
                pass
        await server.start()
        log.info("listening for gRPC", extra={"fields": {"grpc": self._service.grpc}})


def _ports(config: ServerConfig, before: int) -> list[int]:
    """Those to try. `before`: where the worker before this one served; 0: nowhere."""
    if config.grpc_port:
        return [config.grpc_port]
    wished = [before] if before else []
    return [*wished, *([DEFAULT_PORT] if config.grpc_port is None and not before else []), 0]


def _server_class() -> type[GrpcServer]:
    from workbench.server.grpc.listener import GrpcServer

    return GrpcServer
