"""Opens the port that a share is to be called on, and closes it again where there comes no share of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from workbench.client.summary import Card
from workbench.errors import InvalidInput


class Ports(Protocol):
    """What a Workbench offers for that."""

    def port(self) -> Card: ...
    def open_port(
        self,
        host: str,
        port: int = 0,
        *,
        grpc_port: int,
        tls: str,
        tls_cert: str | None,
        tls_key: str | None,
        insecure: bool,
    ) -> Card: ...
    def close_port(self) -> None: ...


@contextmanager
def port_for_share(
    service: Ports,
    host: str | None,
    *,
    port: int | None,
    grpc_port: int | None,
    tls: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    insecure: bool,
) -> Iterator[Card | None]:
    """The port at `host`, which stays open if what is done within the context succeeds; None: none was asked for.

    Raises InvalidInput for flags of a port without a host."""
    if host is None:
        if insecure or not all(each is None for each in (port, grpc_port, tls, tls_cert, tls_key)):
            raise InvalidInput(
                "--port, --grpc-port, --tls, --tls-cert, --tls-key and --insecure say how a port is opened: add --host"
            )
        yield None
        return
    was_open = bool(service.port().facts)
    opened = service.open_port(
        host,
        port or 0,
        grpc_port=grpc_port or 0,
        tls=tls or "off",
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure=insecure,
    )
    try:
        yield opened
    except BaseException:
        if not was_open:
            service.close_port()
        raise
