"""A second port, which the owner opens on a network while the service runs, for callers with shares' tokens alone."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeAlias

import msgspec


class PortTerms(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is asked for."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """0: a free one."""
    grpc_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """Of gRPC; 0: a free one."""
    tls: Literal["off", "self-signed"] = "off"
    """"self-signed": with a certificate that the service makes itself."""
    tls_cert: str = ""
    """Path of a PEM file, as that of its key."""
    tls_key: str = ""
    insecure: bool = False
    """Off loopback, without TLS."""


@dataclass(frozen=True, slots=True)
class OpenPort:
    """What came of it."""

    url: str
    """For callers on other machines."""
    host: str
    port: int
    grpc: str = ""
    """HOST:PORT of gRPC, for the same callers."""
    ca_file: str = ""
    """Whom callers are to trust; empty: without TLS."""
    sha256: str = ""
    """Its fingerprint."""
    warning: str = ""


class GrpcForShares(Protocol):
    """gRPC there, for shares' tokens alone. Belongs to the event loop."""

    async def start(self, listener: socket.socket) -> None: ...

    async def leave(self, *, last: bool) -> None:
        """Have clients make no further call here. `last`: nobody else accepts on the socket after this."""
        ...

    async def stop(self, linger_s: float) -> None:
        """After `leave`, leave `linger_s` to the calls under way."""
        ...


OpenGrpc: TypeAlias = Callable[[tuple[Path, Path] | None], Awaitable[GrpcForShares]]
"""Makes it, of the files of a certificate and its key; None: without TLS."""


class NetworkPort(Protocol):
    """Belongs to the event loop."""

    opened: OpenPort | None

    async def open(self, terms: PortTerms) -> OpenPort:
        """Raises InvalidInput, Conflict where one is open, Unavailable where the port is taken, StorageError,
        Unsupported; then nothing is open."""
        ...

    async def close(self) -> None:
        """Close it for good; what is under way is finished. Raises StorageError, and then it comes back."""
        ...
