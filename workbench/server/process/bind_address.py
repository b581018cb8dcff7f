"""Answers questions about the address that a service is bound to. Light, for the supervisor."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from workbench.config import OWNER_ADDRESSES, ServerConfig


def is_loopback(host: str) -> bool:
    """True when only this machine reaches a service that is bound to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_remote(address: str, caller: str, owner_networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether a connection of `caller` to this address of ours came from elsewhere, as far as the owner says so.

    One from the very address that it called is this machine's own: a system takes no such packet from a network. One to
    an address that cannot be read came from elsewhere.
    """
    called = _address(address)
    if called is None:
        return True
    return called != _address(caller) and not any(called in network for network in owner_networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def remote_test(config: ServerConfig) -> Callable[[str, str], bool] | None:
    """`is_remote` for the service's connections; None where it listens on loopback, and so nobody is remote."""
    if is_loopback(config.host) and config.owner_addresses == OWNER_ADDRESSES:
        return None
    return partial(is_remote, owner_networks=config.owner_networks)


def local_host(host: str) -> str:
    """The host under which this machine reaches a service that is bound to `host`: loopback for every interface."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host.strip("[]"), host)


def host_bytes(host: str) -> bytes:
    """`host` as a URL and the Host header write it: an IPv6 address in brackets."""
    bare = host.strip("[]").lower()
    return (f"[{bare}]" if ":" in bare else bare).encode()
