"""The gRPC port: served on the worker's own event loop, and drained."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from workbench.config import Limits
from workbench.http2.protocol import Connections, Http2Protocol
from workbench.http2.time_limits import TimeLimits
from workbench.protocols.oip_grpc import MAX_MESSAGE_BYTES
from workbench.server.accept_last import accept_last
from workbench.server.acceptor import Acceptor
from workbench.server.audit.audit_log import Source
from workbench.server.gate.auth import Gate
from workbench.server.gate.connection_caps import Place, address_of
from workbench.server.gate.remote_gate import RemoteGate
from workbench.server.grpc import health, oip_service
from workbench.server.grpc.call import GrpcCalls
from workbench.server.grpc.methods import Methods, Refused
from workbench.server.inference import InferencePath
from workbench.server.process.bind_address import remote_test
from workbench.server.tls_context import GRPC_FLAGS, HTTP_FLAGS, CertificateFiles, ServerTls
from workbench.telemetry.rate_limiter import RateLimiter

STRANGER_STREAMS = 16
"""Calls at once on a connection on which no token was seen."""

UNREAD_SHARE = 2
"""What several answers on one connection may take that wait to be read: this part of `max_body_bytes_in_flight`."""

log = logging.getLogger("workbench.server")


@dataclass(frozen=True, slots=True)
class SharesOnly:
    """A port of its own for shares' tokens, in place of the service's own port."""

    certificate: tuple[Path, Path] | None
    """And its key; None: without TLS."""


class GrpcServer:
    """One listening socket and its connections, from `start` to `stop`. Belongs to the event loop."""

    def __init__(self, inference: InferencePath, gate: Gate, shares_only: SharesOnly | None = None) -> None:
        """Raises InvalidInput for TLS files that cannot be used."""
        service = inference.service
        config = service.config
        table = {**oip_service.methods(service, inference), **health.methods(service)}
        most = min(config.limits.max_body_bytes, MAX_MESSAGE_BYTES)
        self.methods = Methods(gate, table, most)
        self._remote_methods = Methods(RemoteGate(gate, shares_only is None and config.owner_remote), table, most)
        self._service = service
        self._gate = gate
        self.tls: ServerTls | None = None
        if shares_only is not None:
            self._is_remote: Callable[[str, str], bool] | None = lambda called, caller: True
            if shares_only.certificate is not None:
                self.tls = ServerTls(CertificateFiles(*shares_only.certificate), ["h2"])
        else:
            self._is_remote = remote_test(config)
            if (given := config.grpc_certificate) is not None:
                flags = GRPC_FLAGS if config.grpc_tls_cert is not None else HTTP_FLAGS
                self.tls = ServerTls(CertificateFiles(*given, config.grpc_tls_client_ca, flags), ["h2"])
        self._following: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._acceptor: Acceptor | None = None
        self._calls: GrpcCalls | None = None
        self._remote_calls: GrpcCalls | None = None
        self._connections = Connections(_Notes().note, address_of, service.unread, service.bodies.most // UNREAD_SHARE)
        self._limits = _time_limits(config.limits)

    async def start(self, listener: socket.socket) -> None:
        self._listener = listener
        self._gate.on_replaced.append(self._connections.reconsider)
        self._gate.on_revoked.append(self._connections.reconsider)
        self._calls = GrpcCalls(self.methods, self._service.bodies, self._refused, self._service.guest_bodies)
        self._remote_calls = copy(self._calls)  # what they hold and have under way is one
        self._remote_calls.methods = self._remote_methods
        tls = None
        if self.tls is not None:
            tls = self.tls.context
            self._following = asyncio.create_task(self.tls.follow())
        self._acceptor = Acceptor(
            listener, self._protocol, self._service.connections, tls=tls, is_remote=self._is_remote
        )

    def _refused(self, refused: Refused, address: str) -> None:
        source = Source(refused.who, "grpc", address, refused.agent)
        self._service.audit.refused(refused.action, refused.code, source)

    def _protocol(self, place: Place) -> Http2Protocol:
        calls = self._remote_calls if place.remote else self._calls
        assert calls is not None
        return Http2Protocol(calls.call, self._connections, self._limits, place, STRANGER_STREAMS)

    async def leave(self, *, last: bool) -> None:
        """Have clients make no further call here. Those that are on their way are still served.

        `last`: no other process accepts connections on the socket after this.
        """
        if self._acceptor is not None and self._listener is not None:
            if last:
                await accept_last(self._listener)
            self._acceptor.close()
            self._listener = None
            if self._following is not None:
                self._following.cancel()
            await self._connections.leave()

    async def stop(self, linger_s: float) -> None:
        """After `leave`, leave `linger_s` to the calls under way."""
        await self._connections.close(linger_s)
        if self._calls is None:
            return  # it has never been started
        self._gate.on_replaced.remove(self._connections.reconsider)
        self._gate.on_revoked.remove(self._connections.reconsider)
        left = list(self._calls.under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Notes:
    """The log of what was ended because of its client."""

    def __init__(self) -> None:
        self._lines = RateLimiter(0.1, 1)
        self._count = 0
        """Since the last line."""

    def note(self, why: str) -> None:
        self._count += 1
        if self._lines.take(time.monotonic()):
            log.warning(
                "gRPC: %d calls or connections were ended because of their clients since the last such line; the last "
                "one: %s",
                self._count,
                why,
            )
            self._count = 0


def _time_limits(limits: Limits) -> TimeLimits:
    return TimeLimits(
        frame_s=limits.head_timeout_s,
        message_s=limits.body_timeout_s,
        unread_s=limits.idle_timeout_s,
        idle_s=limits.idle_timeout_s,
        stall_s=limits.idle_timeout_s,
    )
