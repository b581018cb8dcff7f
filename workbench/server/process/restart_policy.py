"""Decides when a worker that ended is started again, and when to give up."""

from __future__ import annotations

from dataclasses import dataclass

GIVE_UP_AFTER = 3
"""Starts in a row that never became Ready."""

FAILED_WAIT_S = (0.2, 1.0)
"""Before the second and the third try."""

SETTLED_S = 30.0
"""A worker that was Ready for this long has nothing to do with what ended the one before it."""

QUICK_WAIT_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Before a worker that was Ready is followed by the next: at once, then slower the more quickly they end."""


@dataclass(slots=True)
class RestartPolicy:
    """Counts ends. Pure: what it is told is all that it knows."""

    failed: int = 0
    quick: int = 0

    def after(self, ready_s: float | None) -> float | None:
        """Seconds until the next start, None for never, after a worker that was Ready for `ready_s` (None: never)."""
        if ready_s is None:
            self.failed += 1
            return None if self.failed >= GIVE_UP_AFTER else FAILED_WAIT_S[self.failed - 1]
        self.failed = 0
        self.quick = 0 if ready_s >= SETTLED_S else self.quick
        wait_s = QUICK_WAIT_S[min(self.quick, len(QUICK_WAIT_S) - 1)]
        self.quick += 1
        return wait_s

    def forget(self) -> None:
        """Somebody asked for a restart: begin anew."""
        self.failed = self.quick = 0
