"""Caps on the bytes of bodies, and of answers not read yet, that are in memory at once, over HTTP and gRPC together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from workbench.errors import TooManyRequests

ANONYMOUS_BYTES: Final = 1024 * 1024
"""Of all messages of callers without a token. Their budget is their own, so that they cannot use up the others'."""

ANONYMOUS_WHOLE_S: Final = 5.0
"""Seconds in which such a call must be whole and answered."""


class InFlightBytes:
    """Counts the bytes of bodies that are in memory at once, and holds them to a cap."""

    def __init__(self, most: int, cap: str = "max_body_bytes_in_flight allows") -> None:
        self.most = most
        self.held = 0
        self.cap = cap
        self.make_room: Callable[[int], None] = _no_room
        """Called where so many bytes more do not fit, before they are refused."""

    def take(self, size: int) -> None:
        """Count `size` more bytes. TooManyRequests over the cap. Call `give_back` for each `take` that returned."""
        if self.held + size > self.most:
            self.make_room(size)
        if self.held + size > self.most:
            raise TooManyRequests(
                f"the bodies and unread answers under way have {self.held} bytes, and {self.cap} {self.most}; "
                "try again later"
            )
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size

    @contextmanager
    def also(self, size: int) -> Iterator[None]:
        """Count `size` more bytes while the block runs. Raises TooManyRequests."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)


class GuestBytes(InFlightBytes):
    """The half of `bodies` that all shares together may take, so that slow uploads leave the rest to the owner."""

    def __init__(self, bodies: InFlightBytes) -> None:
        InFlightBytes.__init__(self, bodies.most // 2, "shares may have")
        self._bodies = bodies

    def take(self, size: int) -> None:
        bodies = self._bodies
        held = self.held + size
        if held > self.most or bodies.held + size > bodies.most:
            InFlightBytes.take(bodies, size)
            try:
                InFlightBytes.take(self, size)
            except TooManyRequests:
                bodies.give_back(size)
                raise
        else:  # as each request of a share asks: without another call
            self.held = held
            bodies.held += size

    def give_back(self, size: int) -> None:
        self.held -= size
        self._bodies.held -= size


def _no_room(size: int) -> None:
    pass


def anonymous_bytes() -> InFlightBytes:
    """The pot of callers without a token."""
    return InFlightBytes(ANONYMOUS_BYTES, "callers without a token may have")
