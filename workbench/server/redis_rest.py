"""Decides when Redis is asked. Pure: it is told the time.

After a few failures in a row it is left alone for a while; then one call finds out whether it is back. Each time that
it is not, the rest is twice as long.
"""

from __future__ import annotations

from typing import Final

FAILURES: Final = 3
FIRST_REST_S: Final = 0.5
LONGEST_REST_S: Final = 30.0


class RedisRest:
    def __init__(self) -> None:
        self._failures = 0
        self._rest_s = FIRST_REST_S
        self._until = 0.0
        self._trying = False

    @property
    def resting(self) -> bool:
        """True from the failures on, until a call has gone well."""
        return self._failures >= FAILURES

    def allows(self, now: float) -> bool:
        return not self.resting or (now >= self._until and not self._trying)

    def asked(self) -> None:
        """A call was made that `allows` had allowed."""
        self._trying = self.resting

    def unknown(self) -> None:
        """A call ended, and it is not known how."""
        self._trying = False

    def went(self, well: bool, now: float) -> None:
        self._trying = False
        if well:
            self._failures, self._rest_s = 0, FIRST_REST_S
            return
        self._failures += 1
        if self.resting and now >= self._until:
            self._until = now + self._rest_s
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
