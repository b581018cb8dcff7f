"""The gRPC port beside the rest of the service: opened while models load, kept open, closed when the service ends."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from workbench.config import ServerConfig
from workbench.errors import InvalidInput, Unavailable
from workbench.server.auth import Gate
from workbench.server.link import KeeperLink
from workbench.server.service import Service

if TYPE_CHECKING:
    from workbench.server.grpc_server import GrpcServer

DEFAULT_PORT = 8081

AGAIN_S = 0.05
"""After which a port that is not free yet is tried again."""

log = logging.getLogger("workbench.serve")


class GrpcPort:
    """Begins to open when it is made. Belongs to the event loop.

    Subtleness ahead: a server of grpc.aio breaks when anybody, without a token too, calls a method whose name is not
    UTF-8: it takes no further call. So another one follows at the same address, while the first finishes its calls.
    """

    def __init__(
        self, service: Service, gate: Gate, loaded: asyncio.Event, hold_s: float, link: KeeperLink | None
    ) -> None:
        """Calls wait for `loaded`, but `hold_s` at most."""
        self._service = service
        self._gate = gate
        self._loaded = loaded
        self._hold_s = hold_s
        self._ports = _ports(service.config, link.place.grpc_port if link is not None else 0)
        self.optional = 0 in self._ports and service.config.grpc_tls_cert is None
        """Nothing that anybody asked for can stand against opening it."""
        self._server: GrpcServer | None = None
        self._changing = asyncio.Lock()
        """Held while a server is started, or stopped for good."""
        self._closing = False
        self._leaving: set[asyncio.Task[None]] = set()
        """Servers that broke, until their calls have ended."""
        self._binding = asyncio.create_task(self._bind())
        self._serving = asyncio.create_task(self._serve())

    async def opened(self) -> None:
        """Until the address is known. Raises Unavailable, InvalidInput."""
        await asyncio.shield(self._binding)

    async def close(self, linger_s: float) -> None:
        """Take no further call, and leave `linger_s` to those under way."""
        self._loaded.set()
        await asyncio.gather(self._binding, return_exceptions=True)
        async with self._changing:
            self._closing = True
            if self._server is not None:
                await self._server.stop(linger_s)
            for task in self._leaving:
                task.cancel()
        await asyncio.gather(self._serving, *self._leaving, return_exceptions=True)

    async def _bind(self) -> None:
        service = self._service
        # A tenth of a second of imports, while others wait for models.
        kind = await asyncio.to_thread(_server_class)
        self._server = kind(service, self._gate)
        service.grpc = self._server.bind(service.config.host, self._ports)
        if service.config.grpc_port is None and not service.grpc.endswith(f":{DEFAULT_PORT}"):
            log.warning("port %d is in use, so gRPC is served on another", DEFAULT_PORT)

    async def _serve(self) -> None:
        try:
            await asyncio.shield(self._binding)
        except Exception:
            return  # whoever awaits `opened` says why
        if self._hold_s:
            try:
                await asyncio.wait_for(self._loaded.wait(), self._hold_s)
            except TimeoutError:
                pass
        while server := await self._started():
            log.info("listening for gRPC", extra={"fields": {"grpc": self._service.grpc}})
            try:
                await server.ended()
            except Exception as error:
                log.error("gRPC begins anew: something that was sent broke it (%s)", type(error).__name__)
                leaving = asyncio.create_task(server.stop(self._service.config.drain_timeout_s))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
                await self._bind_again()

    async def _started(self) -> GrpcServer | None:
        """None once it is to end."""
        async with self._changing:
            if self._closing or self._server is None:
                return None
            await self._server.start()
            return self._server

    async def _bind_again(self) -> None:
        """Another server at the address of the one before. Whoever took the port meanwhile is waited for, and files of
        TLS that are being replaced."""
        port = int(self._service.grpc.rpartition(":")[2])
        server: GrpcServer | None = None
        said = ""
        while not self._closing:
            try:
                server = server or _server_class()(self._service, self._gate)
                server.bind(self._service.config.host, [port])
            except Unavailable:
                await asyncio.sleep(AGAIN_S)
            except InvalidInput as error:
                if error.message != said:
                    said = error.message
                    log.error("gRPC cannot begin anew yet: %s", said)
                await asyncio.sleep(AGAIN_S)
            else:
                self._server = server
                return


def _ports(config: ServerConfig, before: int) -> list[int]:
    """Those to try. `before`: where the worker before this one served; 0: nowhere."""
    if config.grpc_port:
        return [config.grpc_port]
    wished = [before] if before else []
    return [*wished, *([DEFAULT_PORT] if config.grpc_port is None and not before else []), 0]


def _server_class() -> type[GrpcServer]:
    # What gRPC's core has to say goes to stderr past every log format; what matters of it comes back as an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Its handlers of fork() would stop its threads; what is started from here replaces itself at once.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # It tells of every header that is not UTF-8, with what stood there, which may be most of a token.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_header)
    from workbench.server.grpc_server import GrpcServer

    return GrpcServer


def _is_no_header(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Invalid encoding on ")
