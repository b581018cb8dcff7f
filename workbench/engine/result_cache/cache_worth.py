"""Decides whether looking for kept answers is worth its time. Pure.

Where fewer than one call in a hundred finds an answer, looking stops for a while, then is tried again. Each time that
it did not pay the rest is twice as long.
"""

from __future__ import annotations

from typing import Final

CALLS_JUDGED: Final = 5000
"""Enough that a model with 250,000 different rows, all as likely, is not mistaken for one without repeated rows."""

LEAST_HITS: Final = CALLS_JUDGED // 100

FIRST_REST: Final = 20_000
LONGEST_REST: Final = 320_000


class CacheWorth:
    def __init__(self) -> None:
        self.resting = 0
        """Calls that still go past the cache."""
        self.last_hits = 0
        """Of the last CALLS_JUDGED calls that were judged."""
        self._rest = FIRST_REST
        self._looked = self._hits = 0

    def looks(self) -> bool:
        """Whether to look for the next call's answer; it counts as a call."""
        if self.resting:
            self.resting -= 1
            return False
        return True

    def found(self, hit: bool) -> bool:
        """Note what a look came to. True: it was found to be not worth it, just now."""
        self._looked += 1
        self._hits += hit
        if self._looked < CALLS_JUDGED:
            return False
        self.last_hits, self._looked, self._hits = self._hits, 0, 0
        if self.last_hits >= LEAST_HITS:
            self._rest = FIRST_REST
            return False
        self.resting = self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)
        return True
