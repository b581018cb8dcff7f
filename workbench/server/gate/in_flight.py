"""The cap on the bytes of request bodies that are in memory at once, over HTTP and gRPC together."""

from __future__ import annotations

from workbench.errors import TooManyRequests


class InFlightBytes:
    """Counts the bytes of bodies that are in memory at once, and holds them to a cap."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, size: int) -> None:
        """Count `size` more bytes. TooManyRequests over the cap. Call `give_back` for each `take` that returned."""
        if self.held + size > self.most:
            raise TooManyRequests(
                f"the bodies under way have {self.held} bytes, and max_body_bytes_in_flight allows {self.most}; "
                "try again later"
            )
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size
