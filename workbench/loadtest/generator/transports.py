"""Opens connections: TCP for HTTP, calls on shared channels for gRPC."""

from __future__ import annotations

import asyncio
import errno
import math
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from workbench.client.trusted_certificates import client_context
from workbench.loadtest.generator.http_connection import FULL_QUEUE, Connection, ConnectionOwner, HttpConnection
from workbench.loadtest.generator.ipc import Spec
from workbench.loadtest.generator.load_runner import ConnectionOpener
from workbench.loadtest.store.records import OUTCOMES
from workbench.rendezvous.socket_owner import is_own, owner_of_peer

if TYPE_CHECKING:
    import grpc

CONNECT_TIMEOUT_S = 5.0

CHANNELS = 8
"""gRPC carries many calls on one connection, so all calls share this many."""

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_OK: Final = OUTCOMES.index("ok")
_FAILED: Final = OUTCOMES.index("failed")
_CONNECTION: Final = OUTCOMES.index("connection")
_REJECTED: Final = OUTCOMES.index("rejected")
_OF_CODE: Final = {
    3: OUTCOMES.index("invalid"),
    4: OUTCOMES.index("expired"),
    5: OUTCOMES.index("invalid"),
    7: OUTCOMES.index("invalid"),
    8: _REJECTED,
    9: OUTCOMES.index("invalid"),
    14: OUTCOMES.index("unavailable"),
    16: OUTCOMES.index("invalid"),
}
"""gRPC status number -> outcome; others are failed."""


def opener_of(spec: Spec) -> ConnectionOpener:
    if spec.plan.target.grpc:
        return GrpcTransport(f"{spec.host}:{spec.port}")
    tls = client_context(spec.ca_file, spec.own) if spec.plan.target.tls else None
    return HttpTransport(spec.host, spec.port, own=spec.own, tls=tls)


class HttpTransport:
    def __init__(self, host: str, port: int, *, own: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """`own`: connections to a process of another user are left before anything is sent."""
        self._host = host
        self._port = port
        self._own = own
        self._tls = tls

    async def open(self, owner: ConnectionOwner) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            to, connection = await loop.create_connection(
                lambda: HttpConnection(owner), self._host, self._port, ssl=self._tls
            )
        if self._own:
            peer, own = to.get_extra_info("peername"), to.get_extra_info("sockname")
            if not (peer and own and is_own(owner_of_peer(peer[:2], own[:2]), None)):
                connection.abort()
                raise PermissionError(errno.EPERM, "the service has ended, and another user listens there")
        return connection

    async def close(self) -> None:
        pass


class GrpcTransport:
    def __init__(self, target: str) -> None:
        self._target = target
        self._channels: list[grpc.aio.Channel] = []
        self._opened = 0

    async def open(self, owner: ConnectionOwner) -> Connection:
        import grpc

        at = self._opened % CHANNELS
        self._opened += 1
        if at == len(self._channels):
            options = [
                ("grpc.use_local_subchannel_pool", 1),  # or all channels would share one connection
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ]
            self._channels.append(grpc.aio.insecure_channel(self._target, options))
        return GrpcConnection(owner, self._channels[at].unary_unary(_METHOD))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


class GrpcConnection:
    """Makes one call at a time on a shared channel. gRPC's library does not show when the first byte came."""

    __slots__ = (
        "_call",
        "_owner",
        "_task",
        "busy",
        "due_s",
        "first_byte_s",
        "received",
        "sent_s",
        "usable",
        "variant",
    )

    def __init__(self, owner: ConnectionOwner, call: Any) -> None:
        self._owner = owner
        self._call = call
        self._task: asyncio.Task[None] | None = None
        self.usable = True
        self.busy = False
        self.due_s = self.sent_s = self.first_byte_s = math.nan
        self.variant = self.received = 0

    def send(self, request: bytes, token: str | None = None) -> None:
        self.busy = True
        self.received = 0
        self._task = asyncio.get_running_loop().create_task(self._ask(request, token))

    def abort(self) -> None:
        self.usable = False
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, request: bytes, token: str | None) -> None:
        import grpc

        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        outcome, said = _OK, ""
        try:
            answer: bytes = await self._call(request, metadata=metadata)
            self.received = len(answer)
        except grpc.aio.AioRpcError as error:
            code = int(error.code().value[0])
            if code == 16 and self._owner.refused(self, token):
                return
            outcome = _OF_CODE.get(code, _FAILED)
            said = f"gRPC {error.code().name}: {(error.details() or '')[:2000]}"
            if code == 14 and FULL_QUEUE in said:
                outcome = _REJECTED
            elif code == 14 and not error.trailing_metadata() and not error.initial_metadata():
                outcome = _CONNECTION  # no server answered: the library made this status
        self.busy = False
        self._owner.ended(self, time.monotonic() - self._owner.began, outcome, said)
