"""The gRPC port: bound, served on the worker's own event loop, and drained."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import grpc

from workbench.config import Limits, ServerConfig
from workbench.errors import InvalidInput, Unavailable
from workbench.protocols.oip_grpc import MAX_MESSAGE_BYTES
from workbench.server import grpc_health, grpc_oip
from workbench.server.auth import Gate
from workbench.server.grpc_methods import Methods
from workbench.server.hosts import host_bytes
from workbench.server.service import Service

KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 60, 20
"""When nothing came from a client for so long it is asked for a sign of life, and how long it may take to give one."""

MIN_PING_S = 10
"""Clients that ask us for one more often are told to calm down."""

LOOK_S = 0.25
"""How soon it is seen that a server has broken."""


class GrpcServer:
    """Not listening until `bind`. Belongs to the event loop."""

    def __init__(self, service: Service, gate: Gate) -> None:
        """Raises InvalidInput for TLS files that cannot be used."""
        config = service.config
        self.methods = Methods(gate, {**grpc_oip.methods(service), **grpc_health.methods(service, gate)})
        self._credentials = _credentials(config) if config.grpc_tls_cert is not None else None
        self._server = grpc.aio.server(options=_options(config.limits))
        self._server.add_generic_rpc_handlers((self.methods,))

    def bind(self, host: str, ports: Sequence[int]) -> str:
        """Take the first of `ports` that can be had, 0 a free one, and say where: HOST:PORT, as gRPC clients take it.

        Connections wait until `start`. Unavailable.
        """
        name = host_bytes(host or "127.0.0.1").decode()
        for port in ports:
            try:
                if self._credentials is None:
                    bound = self._server.add_insecure_port(f"{name}:{port}")
                else:
                    bound = self._server.add_secure_port(f"{name}:{port}", self._credentials)
            except RuntimeError:
                continue
            return f"{_REACHED_AS.get(name, name)}:{bound}"
        raise Unavailable(
            f"cannot listen for gRPC on {host}, port {ports[-1]}: it is in use, or not this machine's; "
            "give another --grpc-port (0 picks a free one) or --host"
        )

    async def start(self) -> None:
        await self._server.start()

    async def ended(self) -> None:
        """Until it has stopped. Raises what broke it where that was not `stop`; `stop` is due then, too."""
        # What broke it is told only when a wait for the end times out; the end itself waits for all calls.
        while await self._server.wait_for_termination(LOOK_S):
            pass

    async def stop(self, linger_s: float) -> None:
        """Take no further call, and leave `linger_s` to those under way."""
        await self._server.stop(linger_s)


_REACHED_AS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""What is bound to every interface is called on loopback from this machine."""


def _credentials(config: ServerConfig) -> Any:
    """For TLS. Tried out first, since gRPC does not say what is wrong with a file. InvalidInput."""
    cert, key, ca = config.grpc_tls_cert, config.grpc_tls_key, config.grpc_tls_client_ca
    assert cert is not None and key is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"--grpc-tls-cert {str(cert)!r} and --grpc-tls-key {str(key)!r} cannot be used: {_why(error)}; "
            "they take a certificate and its private key without a password, as PEM"
        ) from None
    authorities = None
    if ca is not None:
        try:
            context.load_verify_locations(ca)
            authorities = ca.read_bytes()
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"--grpc-tls-client-ca {str(ca)!r} cannot be used: {_why(error)}; it takes certificates as PEM"
            ) from None
    return grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())], authorities, ca is not None)


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # else a second service would share the port, silently
        ("grpc.max_receive_message_length", min(limits.max_body_bytes, MAX_MESSAGE_BYTES)),
        ("grpc.max_send_message_length", -1),  # answers have a cap of their own
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_S * 1000),
    ]
