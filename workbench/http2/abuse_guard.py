"""Limits how many useless frames one peer may send: pings, settings, resets, empty DATA, malformed requests.

Each of them is lawful, but a flood of them is a known attack (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316).
The limit is a token bucket. Answering requests refills it, so a connection under full load may send as many control
frames as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from workbench.http2.frames import ErrorCode, H2ConnectionError

CAPACITY: Final = 4000.0
REFILL_PER_S: Final = 500.0
ANSWER_CREDIT: Final = 3.0
"""What each answer, and each DATA frame of one, puts back."""

REFUSAL_COST: Final = 1 + int(ANSWER_CREDIT)
"""What a refused request costs: more than its answer puts back."""


class AbuseBudget:
    """The token bucket of one connection."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._left = CAPACITY
        self._refilled_s = clock()

    def spend(self, cost: int = 1) -> None:
        """Charges for a frame that carries no request. Raises H2ConnectionError once the bucket is empty."""
        self._left -= cost
        if self._left >= 0:
            return
        now_s = self._clock()
        self._left = min(CAPACITY, self._left + (now_s - self._refilled_s) * REFILL_PER_S)
        self._refilled_s = now_s
        if self._left < 0:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry no request")

    def earn(self) -> None:
        """Credits the peer for an answer, or for a frame of one."""
        if self._left < CAPACITY:
            self._left += ANSWER_CREDIT
