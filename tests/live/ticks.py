"""Snapshots as the service sends them, and ticks made of them."""

from __future__ import annotations

from typing import Any

import msgspec

from workbench.core.cache_figures import CacheFigures
from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Outcome
from workbench.live.tick import Tick, TickReader
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.request_record import RequestRecord
from workbench.telemetry.snapshots import Snapshots

EPOCH = "epoch-1"


class FakeService:
    """The service's own metrics, on a clock that the test moves."""

    def __init__(self, *versions: tuple[str, str], epoch: str = EPOCH) -> None:
        self.now = 1000.0
        self.queued = 0
        self.caches: dict[str, CacheFigures] = {}
        """By version."""
        self.loaded_at = 1.0
        self.versions = list(versions) or [("digits", "1")]
        self._metrics = Metrics(lambda: self.now, lambda: self.now)
        self._metrics.watch(self._statuses)
        self._epoch = epoch
        self._snapshots = Snapshots(self._metrics.state, epoch)

    def serve(self, *latencies_s: float, model: str = "digits", version: str = "1") -> None:
        for latency_s in latencies_s:
            self._metrics.request_done(model, version, Outcome.OK, Timings(ran_s=latency_s, batch_size=1))
            self._metrics.batch_done(model, version, 1, 1, ReleaseReason.IDLE, latency_s)

    def fail(self, outcome: Outcome, model: str = "digits", version: str = "1", message: str = "") -> None:
        self._metrics.request_done(model, version, outcome, None)
        error = RequestRecord(model, version, b"r", self.now, sent_at=self.now, error=outcome.value, message=message)
        self._metrics.exchange_done(error)

    def batch(self, rows: int, reason: ReleaseReason, *each: Timings, send_s: float = 0.0) -> None:
        """A batch of the digits, whose requests took so long."""
        for timings in each:
            self._metrics.request_done("digits", "1", Outcome.OK, timings)
            at = self.now
            self._metrics.exchange_done(RequestRecord("digits", "1", b"r", at, at, at, at, at, at + send_s))
        self._metrics.batch_done("digits", "1", rows, len(each), reason, 0.001)

    def snapshot(self, interval_s: float = 0.25) -> dict[str, Any]:
        self.now += interval_s
        return self._snapshots.take()

    def past(self, since: float = 0.0) -> list[dict[str, Any]]:
        """What was told of each second, since the first."""
        return [msgspec.json.decode(line) for line in self._metrics.past.lines(since, self._epoch)]

    def second(self, *latencies_s: float) -> None:
        """A second that nobody watches."""
        self.serve(*latencies_s)
        self.now += 1.0
        self._metrics._ticked(0.0)

    def _statuses(self) -> list[ModelStatus]:
        return [
            ModelStatus(
                name,
                version,
                ModelState.READY,
                device="cpu",
                routed=True,
                queued=self.queued,
                cache=self.caches.get(version),
                loaded_at=self.loaded_at,
            )
            for name, version in self.versions
        ]


def ticks(service: FakeService, count: int, *latencies_s: float, interval_s: float = 0.25) -> list[Tick]:
    """So many ticks, in each of which the requests of `latencies_s` were served."""
    made = TickReader()
    taken = []
    for _ in range(count):
        service.serve(*latencies_s)
        taken.append(made.take(service.snapshot(interval_s)))
    return taken
