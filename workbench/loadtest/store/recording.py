"""`Recording`: everything measured in one run of the generator; reports and kept runs are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.core.model import Signature
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.records import Records


@dataclass(frozen=True, slots=True)
class Mark:
    """An event of the run, shown on the timeline."""

    at_s: float
    """On the clock of the rows: since the run began."""
    kind: str
    """"restart" (the service began anew), "lost" (its figures stopped coming), "model" (a model changed)."""
    text: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class ServerSecond:
    """The service's own figures of the model over about one second. Means are per request."""

    at_s: float
    """The end of the interval, on the clock of the rows."""
    interval_s: float
    requests: Mapping[str, int]
    """Requests that ended, by outcome."""
    stages_s: Mapping[str, float]
    """Mean seconds a request by stage (receive, decode, queue, batch, compute, split, encode, send)."""
    batches: int
    batch_sizes: Mapping[int, int]
    """Batches by their rows."""
    release_reasons: Mapping[str, int]
    queued: int
    busy: float
    """Runners at work, on average."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """cpu (0 to 1), memory, GPUs: as in a snapshot."""


@dataclass(frozen=True, slots=True)
class Generator:
    """The generator's figures of itself, which show whether its measurements can be trusted."""

    lag_p50_s: float = 0.0
    """How late requests were sent although a connection was free."""
    lag_p99_s: float = 0.0
    lag_max_s: float = 0.0
    cpu_share: float = 0.0
    """Of one core, over the run."""
    connections: int = 0
    """The most that were open at once."""
    connect_errors: int = 0
    reconnects: int = 0
    """Connections that broke or were closed by the server."""
    held_back: int = 0
    """Requests that waited because every connection was busy."""
    held_back_max_s: float = 0.0
    longest_turn_s: float = 0.0
    """The longest turn of its event loop, in which nothing was sent or read."""
    due: int = 0
    """Requests that were due until the end; fewer were sent if it was stopped or fell behind."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    plan: Plan
    rows: Records
    """Warm-up included: `rows.measured` is without."""
    started_at: float
    """Unix time of time 0 of the rows."""
    elapsed_s: float
    """How long it ran, warm-up included, until the last request ended."""
    measured_s: float
    """The length of what is measured: the plan's duration, or less where it was stopped."""
    ended: str = "finished"
    """"finished", "cancelled" (by the user), "broken" (a step broke what was asked for) or "cut short" (it died)."""
    reason: str = ""
    """One sentence where it did not finish."""
    generator: Generator = field(default_factory=Generator)
    limit: str = ""
    """One sentence where the generator was the limit, so that figures say more of it than of the server; else empty.
    A report says it in its first line."""
    notes: tuple[str, ...] = ()
    """Other things that a reader should know, each one sentence."""
    marks: tuple[Mark, ...] = ()
    server: tuple[ServerSecond, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)
    """Outcome -> the message of its first request."""
    target: Mapping[str, Any] = field(default_factory=dict)
    """The target as found: "platform", "version", "digest", "device", "config", "server" (name and version)."""
    signature: Signature | None = None

    @property
    def measured_rows(self) -> Records:
        """The rows of requests that were due in the measured part."""
        return self.rows.measured

    @property
    def window_s(self) -> tuple[float, float]:
        """The beginning and end of the measured part, on the clock of the rows."""
        begin = self.plan.warm_up_s
        return begin, begin + self.measured_s
