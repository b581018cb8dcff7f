"""What a model's status tells of its result cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """The result cache of one load of a version at one moment; the counts are since the load."""

    RESULTS: ClassVar = ("hit", "remote", "joined", "miss")
    """What `asked` counts."""

    hits: int = 0
    """Requests that were answered from what is kept."""
    joined: int = 0
    """Requests that were answered by the run of an equal one that was under way."""
    misses: int = 0
    """Requests that were looked for, and had to be run."""
    evicted: int = 0
    """Answers that went to make room for others."""
    expired: int = 0
    """Answers that were dropped for their age."""
    entries: int = 0
    """Answers that are kept."""
    size_bytes: int = 0
    """Memory of these."""
    limit_bytes: int = 0
    saved_s: float = 0.0
    """Seconds inside the runtime that `hits` and `joined` did not need."""
    remote: int = 0
    """Requests that were answered from what several services keep together; none of `hits`."""
    remote_note: str = ""
    """Why that is not asked at the moment, in one phrase; empty: it is, or there is none."""
    note: str = ""
    """Why it does not look at the moment, as one sentence; empty: it does."""

    @property
    def asked(self) -> tuple[int, int, int, int]:
        """Requests by what came, in the order of RESULTS."""
        return self.hits, self.remote, self.joined, self.misses

    @property
    def looked(self) -> int:
        return sum(self.asked)

    @property
    def hit_rate(self) -> float:
        """The part of the requests that were looked for which was not run; 0 where there were none."""
        return 1 - self.misses / self.looked if self.looked else 0.0
