"""How many connections may be open at once, over HTTP and gRPC together, and who goes when there are too many.

A connection is a stranger until the head of a request with a token came on it. Strangers make room: for a connection
too many the oldest stranger of the address that has most of them is closed, so that neither silent connections nor
those of one address keep the owner out. One whose caller has shown a token is never closed for another. Callers with a
share's token are guests: they have that for half of all connections, and beyond it theirs stay strangers.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Final

from workbench.telemetry.rate_limiter import RateLimiter

UNNAMED: Final = "local"
"""The address of all peers that have none: those of a Unix socket."""

log = logging.getLogger("workbench.server")


class Place:
    """One open connection's place, from its acceptance to its end."""

    __slots__ = ("_caps", "_peer", "_taken", "address", "evict", "guest", "remote")

    def __init__(self, caps: ConnectionCaps, peer: str) -> None:
        self._caps = caps
        self._peer = peer
        self._taken = True
        self.address = peer
        """Of its caller, in full."""
        self.guest = False
        """It is one of the guests that are not closed for others."""
        self.remote = False
        """Its caller is on another machine."""
        self.evict: Callable[[], object] = _nothing
        """Closes the connection at once, because another needs its place. Whoever holds the connection sets it."""

    def trust(self, guest: bool = False) -> None:
        """A request's head that needs a token came on it, with a token where one is asked for; `guest`: a share's. To
        say so again does nothing."""
        self._caps.trust(self, self._peer, guest)

    def distrust(self) -> None:
        """The token that came on it was replaced: it is a stranger's again, until another one comes."""
        if self._taken:
            self._caps.distrust(self, self._peer)

    def release(self) -> None:
        """The connection has ended. To say so again does nothing."""
        if self._taken:
            self._taken = False
            self._caps.release(self, self._peer)


class ConnectionCaps:
    """Counts the open connections. Belongs to the event loop."""

    def __init__(self, most: int, most_of_address: int) -> None:
        """`most_of_address`: strangers of one address."""
        self.most = most
        self.most_of_address = most_of_address
        self.open = 0
        self.guests = 0
        """Of them, those with a share's token that are not closed for others: half of `most` at most."""
        self._strangers: dict[str, dict[Place, None]] = {}
        """Address -> its strangers, the oldest first."""
        self._lines = RateLimiter(0.1, 1)
        self._closed = self._refused = 0
        """Since the last line in the log."""

    def take(self, peer: str) -> Place | None:
        """The place of a new connection from `peer` (see `address_of`); None: it is refused, since all that are open
        have shown a token."""
        mine = self._strangers.get(peer)
        if mine is not None and len(mine) >= self.most_of_address:
            self._make_room(mine, f"{len(mine)} of them from {peer}, as many as max_connections_per_address allows")
        elif self.open >= self.most:
            why = f"as many as max_connections allows ({self.most})"
            if not self._strangers:
                self._refused += 1
                self._say(why)
                return None
            self._make_room(max(self._strangers.values(), key=len), why)
        place = Place(self, peer)
        self.open += 1
        self._strangers.setdefault(peer, {})[place] = None
        return place

    def close_a_stranger(self, why: str) -> bool:
        """Close the one that would be the next to make room. False: there is none."""
        if not self._strangers:
            return False
        self._make_room(max(self._strangers.values(), key=len), why)
        return True

    def trust(self, place: Place, peer: str, guest: bool = False) -> None:
        if guest and not place.guest:
            if self.guests >= self.most // 2:
                return
            self.guests += 1
            place.guest = True
        elif not guest:
            self._no_guest(place)
        self._no_stranger(place, peer)

    def _no_guest(self, place: Place) -> None:
        if place.guest:
            place.guest = False
            self.guests -= 1

    def _no_stranger(self, place: Place, peer: str) -> None:
        mine = self._strangers.get(peer)
        if mine is not None and mine.pop(place, self) is None and not mine:
            del self._strangers[peer]

    def distrust(self, place: Place, peer: str) -> None:
        self._no_guest(place)
        self._strangers.setdefault(peer, {})[place] = None

    def release(self, place: Place, peer: str) -> None:
        self.open -= 1
        self._no_guest(place)
        self._no_stranger(place, peer)

    def _make_room(self, strangers: dict[Place, None], why: str) -> None:
        place = next(iter(strangers))
        self._closed += 1
        self._say(why)
        place.release()
        place.evict()

    def _say(self, why: str) -> None:
        if self._lines.take(time.monotonic()):
            log.warning(
                "%d connections are open, %s; since the last such line %d without a token were closed for others, "
                "and %d were refused",
                self.open,
                why,
                self._closed,
                self._refused,
            )
            self._closed = self._refused = 0


def address_of(address: object) -> str:
    """What connections count under, of an address as `socket.accept` gives it: of IPv6 the first 64 bits, which are
    one subscriber's."""
    if not isinstance(address, tuple):
        return UNNAMED
    host = str(address[0]).partition("%")[0]
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + b"\0" * 8) + "/64"


def _nothing() -> None:
    pass
