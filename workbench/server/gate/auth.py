"""The one gate in front of every route and every method: token, scope, Host and Origin.

The table of routes is asked for the scope first, and then the gate whether the caller has it. A path that is not in the
table needs a token too, so that nobody without one learns what there is.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from workbench.core.messages import InferRequest
from workbench.errors import Forbidden, TooManyRequests, Unauthenticated
from workbench.server.gate.scopes import ALL_SCOPES, Scope
from workbench.server.process.bind_address import host_bytes, is_loopback
from workbench.share.share_token import PREFIX
from workbench.telemetry.share_usage import ShareUsage

Headers: TypeAlias = Mapping[bytes, bytes]
"""Names in lower case; of a repeated one the last."""

MAX_WATCHES: Final = 256
"""Streams of one token that tell what changes (health, snapshots, lent settings) at once."""

MAX_ANONYMOUS_WATCHES: Final = 64
"""The same of all callers without a token together."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing."""

_OF_SHARE: Final = f"Bearer {PREFIX}".encode()

_LOOPBACK_NAMES: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


@dataclass(slots=True, eq=False)
class Caller:
    """The owner of a token, what it may do, and how many of its inferences are under way."""

    name: str
    max_in_flight: int
    scopes: frozenset[Scope] = ALL_SCOPES
    anonymous: bool = False
    """No token came: nothing is held for it that could be wanted by those with one."""
    max_watches: int = MAX_WATCHES
    in_flight: int = 0
    watches: int = 0
    revoked: bool = False
    """Its token is valid no longer. What it asked for in whole before that is still answered, and nothing else."""
    models: frozenset[str] | None = None
    """The models that it may call and see; None: all."""
    usage: ShareUsage | None = None
    """Where its inferences are counted apart; None: nowhere."""
    version: str | None = None
    """The only version of these; None: any."""
    max_body: int | None = None
    """Bytes that a body of its inferences may have; None: as many as the service takes."""

    def enter(self, now: float) -> None:
        """Count one more; TooManyRequests over the cap. Call `leave` for each `enter` that returned.

        `now` is on time.monotonic.
        """
        if self.in_flight >= self.max_in_flight:
            raise TooManyRequests(
                f"{self.in_flight} requests with this token are under way, as many as max_in_flight allows; "
                "try again later, or send fewer at once"
            )
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1

    def check_time(self) -> None:
        """Raises Unauthenticated where its token is valid no longer; for what stays open."""

    def pay(self) -> None:
        """Count a call that is no inference. Raises what `enter` raises."""

    def sees(self, model: str, version: str) -> bool:
        return self.models is None or (model in self.models and self.version in (None, version))

    def check_model(self, model: str, version: str | None = None) -> None:
        """Raises Forbidden where the caller may not know of the model or version, whether there is one or not."""
        if self.models is not None and model not in self.models:
            raise Forbidden(f"this token is not for model {model[:200]!r}; it is for {_listed(self.models)}")
        if self.version is not None and version not in (None, self.version):
            raise Forbidden(f"this token is for version {self.version} of model {model!r}, not for {version[:40]!r}")

    def confine(self, request: InferRequest, rows_of: Callable[[InferRequest], int]) -> None:
        """Hold a decoded request to what the caller may do. `rows_of` counts its rows. Raises Forbidden,
        LimitExceeded."""

    def told(self, error: Exception) -> Exception:
        """`error` as this caller may know it."""
        return error

    def ended(self) -> Unauthenticated:
        """The error of what the caller had begun when it was revoked."""
        return token_replaced()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a stream that stays open. TooManyRequests where there are max_watches already."""
        if self.watches >= self.max_watches:
            whose = "without a token" if self.anonymous else "of this token"
            raise TooManyRequests(f"{self.watches} streams {whose} are open, as many as there may be; end some first")
        self.watches += 1
        try:
            yield
        finally:
            self.watches -= 1


class Gate:
    """Decides who calls, and whether the caller may. `token` None: no token is asked for, on loopback only."""

    def __init__(self, token: str | None, host: str, max_in_flight: int) -> None:
        self._header = None if token is None else _header_of(token)
        self._max_in_flight = max_in_flight
        self._owner = Caller("owner", max_in_flight)
        self._anyone = Caller(
            "anyone", max_in_flight, frozenset({Scope.PUBLIC}), anonymous=True, max_watches=MAX_ANONYMOUS_WATCHES
        )
        self._next: tuple[bytes, Caller] | None = None
        """The token that is about to replace the owner's, and is valid beside it until it does."""
        self.share_of: Callable[[bytes], Caller | None] = _no_share
        """The caller of a share's token; None: no share that holds has it."""
        self.on_revoked: list[Callable[[], None]] = []
        """Called when a share ended: what its caller began and is not whole is to be ended, and nothing of others."""
        self.on_replaced: list[Callable[[], None]] = []
        """Called when the token was replaced: whatever was derived from heads before is to be forgotten, and what
        callers began whose token was revoked is to be ended."""
        # Bound to loopback, the service is reached under these names only; a page that had its own name resolved to
        # 127.0.0.1 (DNS rebinding) still sends that name as the Host.
        self._hosts = _LOOPBACK_NAMES | {host_bytes(host)} if is_loopback(host) else None

    @property
    def asks_for_token(self) -> bool:
        return self._header is not None

    def prepare_token(self, token: str) -> None:
        """Take this token too from now on, until `replace_token` or `keep_token`."""
        self._next = _header_of(token), Caller("owner", self._max_in_flight)

    def replace_token(self) -> None:
        """Take the prepared token alone."""
        assert self._next is not None
        self._owner.revoked = True
        self._header, self._owner = self._next
        self._next = None
        for told in self.on_replaced:
            told()

    def keep_token(self) -> None:
        """Take the token of before alone."""
        if self._next is not None:
            self._next[1].revoked = True
            self._next = None
            for told in self.on_replaced:
                told()

    def admit(self, scope: Scope | None, method: str, headers: Headers, *, any_host: bool = False) -> Caller:
        """The caller of an HTTP request to a route with `scope`; None: the path is unknown, and any token will do.
        `any_host`: it came on a port that is reached under other names than the service's own.

        Raises Unauthenticated, or Forbidden for a foreign Host or Origin or a missing scope. The answer depends on
        the arguments alone, so it holds for each request with the same head.
        """
        if scope is Scope.PUBLIC:
            if method not in SAFE_METHODS:
                self._check_site(method, headers, any_host)
            return self._anyone
        sent = headers.get(b"authorization", b"")
        caller = self._owner if self._header is None else self._caller_of(sent)
        if caller is None:
            raise _refused(sent, "header Authorization")
        self._check_site(method, headers, any_host)
        return _with_scope(caller, scope)

    def _check_site(self, method: str, headers: Headers, any_host: bool) -> None:
        """Raises Forbidden for a foreign Host, and of what changes something for a foreign Origin."""
        host = headers.get(b"host", b"")
        if not any_host and self._hosts is not None and _hostname(host) not in self._hosts:
            raise Forbidden("the Host header names another machine; call the service as 127.0.0.1 or localhost")
        if (
            method not in SAFE_METHODS
            and (origin := headers.get(b"origin")) is not None
            and origin not in (b"http://" + host, b"https://" + host)
        ):
            raise Forbidden("the Origin header names another site; only pages of the service itself may call it")

    def admit_token(self, scope: Scope | None, authorization: bytes | None) -> Caller:
        """The caller of a gRPC method with `scope`, by the metadata `authorization`; None: it was not sent.

        No Host or Origin is looked at there: a page in a browser cannot speak gRPC, which is HTTP/2 without TLS's
        negotiation or with a certificate that the page's name does not have. Raises Unauthenticated, Forbidden.
        """
        caller = self._owner if self._header is None else self._caller_of(authorization or b"")
        if caller is not None:
            return _with_scope(caller, scope)
        if scope is Scope.PUBLIC:
            return self._anyone
        raise _refused(authorization, "metadata authorization")

    def known(self, authorization: bytes | None) -> Caller | None:
        """Whose token it is, whatever that may do; None: nobody's."""
        return self._owner if self._header is None else self._caller_of(authorization or b"")

    def _caller_of(self, sent: bytes) -> Caller | None:
        assert self._header is not None
        if sent[:7] != b"Bearer ":  # the scheme's case is free
            scheme, _, credentials = sent.partition(b" ")
            sent = scheme.capitalize() + b" " + credentials.strip()
        if hmac.compare_digest(sent, self._header):
            return self._owner
        if self._next is not None and hmac.compare_digest(sent, self._next[0]):
            return self._next[1]
        if sent.startswith(_OF_SHARE):
            return self.share_of(sent[len(b"Bearer ") :])
        return None


def token_replaced() -> Unauthenticated:
    """The error of a request that was not whole when its token was replaced, and of a stream that it opened."""
    return Unauthenticated("the token of this call was replaced meanwhile: send it again with the new one")


def _refused(sent: bytes | None, where: str) -> Unauthenticated:
    """The error of a call without the token, or with another one."""
    if sent and sent[7:].lstrip().startswith(PREFIX.encode()):
        return Unauthenticated(
            "the token that was sent is of no share that holds: it was revoked, has expired, or is wrong; ask whoever "
            "shared the model for another"
        )
    if sent:
        found = "the token that was sent is not this service's, or no longer: read the token file again, and send"
    else:
        found = "this needs the service's token: send"
    return Unauthenticated(f"{found} the {where}: Bearer TOKEN")


def _no_share(token: bytes) -> Caller | None:
    return None


def _header_of(token: str) -> bytes:
    return f"Bearer {token}".encode()


def _with_scope(caller: Caller, scope: Scope | None) -> Caller:
    if scope is not None and scope not in caller.scopes:
        whose = "this token does not have" if caller.models is None else f"a share of {_listed(caller.models)} has not"
        raise Forbidden(f"this needs the scope {scope.value!r}, which {whose}")
    return caller


def _listed(models: frozenset[str]) -> str:
    return ", ".join(sorted(models))


@lru_cache(maxsize=256)
def _hostname(host: bytes) -> bytes:
    """The Host header without its port."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()
