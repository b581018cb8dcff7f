"""How much of what leads to nothing is borne of one peer: pings, settings, resets, empty frames, broken requests.

Each of them is lawful, and a flood of them is a known attack (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316).
What is answered makes up for some, so that a connection under full load may send as many as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from workbench.http2.frames import ErrorCode, H2ConnectionError

MOST: Final = 4000.0
PER_S: Final = 500.0
WORTH: Final = 3.0
"""How many are forgiven for each answer, and each frame of one."""

REFUSED: Final = 1 + int(WORTH)
"""What an answer costs that only says no to somebody: more than the answer makes up for."""


class AbuseBudget:
    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._left = MOST
        self._seen_s = clock()

    def tried(self, cost: int = 1) -> None:
        """One more, or something that costs as much as so many. Broken when there were too many."""
        self._left -= cost
        if self._left >= 0:
            return
        now_s = self._clock()
        self._left = min(MOST, self._left + (now_s - self._seen_s) * PER_S)
        self._seen_s = now_s
        if self._left < 0:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that lead to nothing")

    def worked(self) -> None:
        """Something came of it."""
        if self._left < MOST:
            self._left += WORTH
