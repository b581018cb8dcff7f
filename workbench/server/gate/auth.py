"""The one gate in front of every route, alias, method and scope type: token, Host and Origin.

Nothing is routed, read or looked up before `Gate.admit` has let a call in, so a route cannot be forgotten.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import lru_cache

from workbench.errors import Forbidden, QueueFull, Unauthenticated
from workbench.server.http.asgi import SAFE_METHODS, Headers, Scope
from workbench.server.process.bind_address import host_bytes, is_loopback

PUBLIC = frozenset({"/v2/health/live", "/v2/health/ready"})
"""What may be read without a token, by GET or HEAD; nothing else is public."""

_LOOPBACK_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


@dataclass(slots=True, eq=False)
class Caller:
    """Who a token belongs to, and how many of its inferences are under way."""

    name: str
    max_in_flight: int
    in_flight: int = 0

    def enter(self) -> None:
        """Count one more; QueueFull over the cap. `leave` for each `enter` that returned."""
        if self.in_flight >= self.max_in_flight:
            raise QueueFull(
                f"{self.in_flight} requests with this token are under way, as many as max_in_flight allows; "
                "try again later, or send fewer at once"
            )
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1


class Gate:
    """`token` None: whoever reaches the service may use it, which `serve` allows on loopback only."""

    def __init__(self, token: str | None, host: str, max_in_flight: int) -> None:
        self._header = None if token is None else f"Bearer {token}".encode()
        self._owner = Caller("owner", max_in_flight)
        self._anyone = Caller("anyone", max_in_flight)
        # Bound to loopback, the service is reached under these names only; a page that had its own name resolved to
        # 127.0.0.1 (DNS rebinding) still sends that name as the Host.
        self._hosts = _LOOPBACK_NAMES | {host_bytes(host)} if is_loopback(host) else None

    def admit(self, scope: Scope, headers: Headers) -> Caller:
        """Who calls. Raises Unauthenticated, or Forbidden for a foreign Host or Origin."""
        method = scope.get("method", "")  # a websocket's handshake has none, and counts as changing something
        if scope["path"] in PUBLIC and method in ("GET", "HEAD"):
            return self._anyone
        if self._header is not None and not self._is_owner(headers):
            raise Unauthenticated("this needs the service's token: send the header Authorization: Bearer TOKEN")
        host = headers.get(b"host", b"")
        if self._hosts is not None and _hostname(host) not in self._hosts:
            raise Forbidden("the Host header names another machine; call the service as 127.0.0.1 or localhost")
        if (
            method not in SAFE_METHODS
            and (origin := headers.get(b"origin")) is not None
            and origin not in (b"http://" + host, b"https://" + host)
        ):
            raise Forbidden("the Origin header names another site; only pages of the service itself may call it")
        return self._owner

    def admit_token(self, authorization: str | bytes | None, *, public: bool) -> Caller:
        """Who calls over gRPC, by the metadata `authorization`; None: there are none. Raises Unauthenticated.

        No Host or Origin is looked at there: a page in a browser cannot speak gRPC, which is HTTP/2 without TLS's
        negotiation or with a certificate that the page's name does not have.
        """
        if self._header is None:
            return self._owner
        if authorization is not None:
            sent = authorization.encode() if isinstance(authorization, str) else authorization
            if self._is_token(sent):
                return self._owner
        if public:
            return self._anyone
        raise Unauthenticated("this needs the service's token: send the metadata authorization: Bearer TOKEN")

    def knows(self, caller: Caller) -> bool:
        """False for whoever came without a token where one is needed."""
        return caller is self._owner

    def _is_owner(self, headers: Headers) -> bool:
        return self._is_token(headers.get(b"authorization", b""))

    def _is_token(self, sent: bytes) -> bool:
        assert self._header is not None
        if sent[:7] != b"Bearer ":  # the scheme's case is free
            scheme, _, credentials = sent.partition(b" ")
            sent = scheme.capitalize() + b" " + credentials.strip()
        return hmac.compare_digest(sent, self._header)


@lru_cache(maxsize=256)
def _hostname(host: bytes) -> bytes:
    """The Host header without its port."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()
