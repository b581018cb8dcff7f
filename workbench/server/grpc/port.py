"""The gRPC port beside the rest of the service: served while models load, left when the service ends."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.server.gate.auth import Gate
from workbench.server.inference import InferencePath
from workbench.server.network_port import OpenGrpc
from workbench.server.process.startup import GRPC_PORT, grpc_address

if TYPE_CHECKING:
    from workbench.server.grpc.listener import GrpcServer, SharesOnly

log = logging.getLogger("workbench.serve")


class GrpcPort:
    """Begins to serve when it is made. Belongs to the event loop."""

    def __init__(
        self, inference: InferencePath, gate: Gate, loaded: asyncio.Event, hold_s: float, listener: socket.socket
    ) -> None:
        """Calls wait for `loaded`, but `hold_s` at most."""
        service = inference.service
        self._inference = inference
        self._service = service
        self._gate = gate
        self._loaded = loaded
        self._hold_s = hold_s
        self._listener = listener
        self.optional = service.config.grpc_certificate is None
        """Nothing that anybody asked for can stand against serving it."""
        self._making = asyncio.create_task(self._make())
        self._serving = asyncio.create_task(self._serve())

    async def opened(self) -> None:
        """Until the address is known. Raises InvalidInput."""
        await asyncio.shield(self._making)

    async def leave(self, *, last: bool) -> None:
        """Have clients make no further call here, if it is open. Those that are on their way are still served.

        `last`: no other process accepts connections on the socket after this.
        """
        self._last = last
        if self._serving.done() and not self._making.exception():
            await self._making.result().leave(last=last)

    async def close(self, linger_s: float) -> None:
        """Take no further call, and leave `linger_s` to those under way."""
        self._loaded.set()
        await asyncio.gather(self._serving, return_exceptions=True)
        if not self._making.exception():
            await self._making.result().leave(last=self._last)
            await self._making.result().stop(linger_s)

    async def _make(self) -> GrpcServer:
        service = self._service
        # A twentieth of a second of imports, while others wait for models.
        kind, _ = await asyncio.to_thread(_server_classes)
        server = kind(self._inference, self._gate)
        service.grpc = grpc_address(service.config.host, self._listener)
        if service.config.grpc_port is None and not service.grpc.endswith(f":{GRPC_PORT}"):
            log.warning("port %d is in use, so gRPC is served on another", GRPC_PORT)
        return server

    async def _serve(self) -> None:
        try:
            server = await asyncio.shield(self._making)
        except Exception:
            return  # whoever awaits `opened` says why
        if self._hold_s:
            try:
                await asyncio.wait_for(self._loaded.wait(), self._hold_s)
            except TimeoutError:
                pass
        await server.start(self._listener)
        log.info("listening for gRPC", extra={"fields": {"grpc": self._service.grpc}})


def grpc_for_shares(inference: InferencePath, gate: Gate) -> OpenGrpc:
    """What makes the gRPC server of a port for shares, once it is asked for."""

    async def make(certificate: tuple[Path, Path] | None) -> GrpcServer:
        kind, shares_only = await asyncio.to_thread(_server_classes)
        return kind(inference, gate, shares_only(certificate))

    return make


def _server_classes() -> tuple[type[GrpcServer], type[SharesOnly]]:
    from workbench.server.grpc.listener import GrpcServer, SharesOnly

    return GrpcServer, SharesOnly
