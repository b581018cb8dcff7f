"""Limits what one peer may have done that leads to nothing: pings, settings, resets, empty DATA, malformed requests,
and the decoding of header blocks.

Each of them is lawful, but a flood of them is a known attack (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316).
The limit is a token bucket. Answering requests refills it, so a connection under full load may send as many control
frames as it needs. Connections on which no token was seen also use up a bucket of their address, so that it gains them
little to connect anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from workbench.http2.frames import ErrorCode, H2ConnectionError

CAPACITY: Final = 4000.0
REFILL_PER_S: Final = 500.0
ANSWER_CREDIT: Final = 3.0
"""What each answer, and each DATA frame of one, puts back."""

REFUSAL_COST: Final = 1 + int(ANSWER_CREDIT)
"""What a refused request costs: more than its answer puts back."""

COST_PER_CPU_S: Final = 10_000.0
"""What it costs to have this side compute for a second. A frame costs 1, as much as a tenth of a millisecond."""

ADDRESS_CAPACITY: Final = 4 * CAPACITY
ADDRESS_REFILL_PER_S: Final = 2 * REFILL_PER_S

FREE: Final = 16.0
"""What each connection may use up before its address does, so that whoever shares an address with an attacker can still
connect and show a token."""

MAX_ADDRESSES: Final = 4096
"""That are remembered, the last ones to use something up."""


class Bucket:
    """A token bucket."""

    def __init__(self, capacity: float, refill_per_s: float, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self.left = self._capacity = capacity
        self._refill_per_s = refill_per_s
        self._clock = clock
        self._refilled_s = clock()

    def take(self, cost: float) -> bool:
        """False once it is empty."""
        self.left -= cost
        if self.left >= 0:
            return True
        now_s = self._clock()
        self.left = min(self._capacity, self.left + (now_s - self._refilled_s) * self._refill_per_s)
        self._refilled_s = now_s
        return self.left >= 0


class AddressBudgets:
    """The buckets of addresses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str, cost: float) -> bool:
        """Charges the address. False once its bucket is empty."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(ADDRESS_CAPACITY, ADDRESS_REFILL_PER_S, self._clock)
            if len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket.take(cost)


class AbuseBudget(Bucket):
    """What one connection may use up."""

    def __init__(self, clock: Callable[[], float], charge_address: Callable[[float], bool] | None = None) -> None:
        """`clock`: seconds, monotonic. `charge_address`: charges the peer's address, until `trust`; returns False where
        that has used up too much."""
        super().__init__(CAPACITY, REFILL_PER_S, clock)
        self._charge_address = charge_address

    def trust(self) -> None:
        """From here on only the connection itself is charged."""
        self._charge_address = None

    def spend(self, cost: float = 1) -> None:
        """Charges for what leads to no answer. Raises H2ConnectionError where it was too much."""
        if not self.take(cost):
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry no request")
        if self._charge_address is not None and self.left < CAPACITY - FREE and not self._charge_address(cost):
            raise H2ConnectionError(
                ErrorCode.ENHANCE_YOUR_CALM, "too many frames from this address that carry no request"
            )

    def earn(self) -> None:
        """Credits the peer for an answer, or for a frame of one."""
        if self.left < CAPACITY:
            self.left += ANSWER_CREDIT
