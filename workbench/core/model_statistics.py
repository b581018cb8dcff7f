"""Counts the work of one version of one model since it was loaded, as clients ask for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spent:
    """A count, and the seconds of all together."""

    count: int = 0
    total_s: float = 0.0

    @property
    def nanoseconds(self) -> int:
        return round(self.total_s * 1e9)


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The batches of one size."""

    rows: int
    compute: Spent
    """Inside the runtime."""


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Totals of one version."""

    name: str
    version: str
    last_inference_at: float = 0.0
    """Unix time, to a tenth of a second; 0: none yet."""
    rows: int = 0
    """Rows that were run."""
    batches: int = 0
    success: Spent = Spent()
    """Requests that were answered, from acceptance until the answer was there; the time includes that of requests which
    were run and whose callers had left by then."""
    failed: Spent = Spent()
    """Requests that ended otherwise, from their arrival until the error had left."""
    queue: Spent = Spent()
    """The time of each request that was run, until its batch was formed."""
    join: Spent = Spent()
    """... joining the inputs of its batch."""
    compute: Spent = Spent()
    """... inside the runtime, for the whole batch."""
    split: Spent = Spent()
    """... splitting the outputs, and getting back to the event loop."""
    cache_hits: int = 0
    """Requests that its result cache answered without a run of their own."""
    cache_misses: int = 0
    """Requests that were looked for in its result cache, and had to be run."""
    by_size: tuple[BatchStatistics, ...] = ()
    """In the order of their sizes."""
