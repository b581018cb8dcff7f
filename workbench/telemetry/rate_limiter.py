"""A token bucket for log lines that others can cause. Imports nothing, because the supervisor logs too."""

from __future__ import annotations

LINES_PER_S = 5.0
BURST = 20


class RateLimiter:
    """Allows `per_s` a second, and up to `burst` at once. The caller passes the time, in seconds."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Use one token; False where none is left."""
        self._left = min(self._left + max(now - self._at, 0.0) * self._per_s, self._burst)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
