"""Answers questions about the address that a service is bound to. Light, for the supervisor."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """True when only this machine reaches a service that is bound to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def local_host(host: str) -> str:
    """The host under which this machine reaches a service that is bound to `host`: loopback for every interface."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host.strip("[]"), host)


def host_bytes(host: str) -> bytes:
    """`host` as a URL and the Host header write it: an IPv6 address in brackets."""
    bare = host.strip("[]").lower()
    return (f"[{bare}]" if ":" in bare else bare).encode()
