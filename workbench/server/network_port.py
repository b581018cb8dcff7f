"""A second port, which the owner opens on a network while the service runs, for callers with shares' tokens alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import msgspec


class PortTerms(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is asked for."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """0: a free one."""
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
    ca_file: str = ""
    """Whom callers are to trust; empty: without TLS."""
    sha256: str = ""
    """Its fingerprint."""
    warning: str = ""


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
