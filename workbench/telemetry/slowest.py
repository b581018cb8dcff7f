"""The slowest requests of the last minutes, with all that is known of them; what `Model.slowest()` shows.

Kept by model in slices of time, each a heap of its slowest: many of each minute, and a few of every few seconds, so
that whoever asks about one moment finds its slowest, also in a minute that had worse. A request that is not among them
costs whoever offers it one comparison.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Any

from workbench.telemetry.exchanges import Exchange, stages_of

KEPT = 100
WINDOW_S = 900.0
SLICE_S = 60.0
MOMENT_KEPT = 10
MOMENT_S = 5.0

_Heap = list[tuple[float, int, Exchange]]
"""(duration, order, exchange)"""


class Slowest:
    """Of every model. Times are readings of the clock that stamped the exchanges."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[_Slices, _Slices]] = {}
        self._order = itertools.count()  # so that two of equal duration are never compared themselves

    def offer(self, exchange: Exchange) -> float:
        """Keep it if it is among the slowest of its minute or moment; what another has to take to be, at that time."""
        entry = exchange.duration_s, next(self._order), exchange
        minutes, moments = self._slices(exchange.model)
        return min(minutes.offer(entry), moments.offer(entry))

    def least(self, model: str, now: float) -> float:
        """What an exchange that ends now has to take to be kept."""
        minutes, moments = self._slices(model)
        return min(minutes.least(now), moments.least(now))

    def of(
        self, model: str, now: float, since: float | None = None, until: float | None = None, limit: int = KEPT
    ) -> list[Exchange]:
        """The slowest `limit` that ended in the last WINDOW_S seconds, from `since` until `until` where that is asked
        for; the slowest first."""
        earliest = now - WINDOW_S if since is None else max(since, now - WINDOW_S)
        latest = now if until is None else until
        found = {
            order: (duration_s, exchange)
            for slices in self._models.get(model, ())
            for duration_s, order, exchange in slices.entries()
            if earliest <= exchange.sent_at <= latest
        }
        slowest = heapq.nlargest(limit, ((duration_s, order) for order, (duration_s, _) in found.items()))
        return [found[order][1] for _, order in slowest]

    def forget_all_but(self, models: Iterable[str]) -> None:
        for gone in self._models.keys() - set(models):
            del self._models[gone]

    def _slices(self, model: str) -> tuple[_Slices, _Slices]:
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = _Slices(SLICE_S, KEPT), _Slices(MOMENT_S, MOMENT_KEPT)
        return found


class _Slices:
    """The slowest `kept` of each `length_s` seconds of the last WINDOW_S."""

    __slots__ = ("_heaps", "_kept", "_length_s")

    def __init__(self, length_s: float, kept: int) -> None:
        self._length_s = length_s
        self._kept = kept
        self._heaps: deque[tuple[int, _Heap]] = deque(maxlen=int(WINDOW_S / length_s) + 1)
        """(number of the slice, its slowest), the newest last."""

    def offer(self, entry: tuple[float, int, Exchange]) -> float:
        heap = self._heap(entry[2].sent_at)
        if len(heap) < self._kept:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
        return heap[0][0] if len(heap) == self._kept else 0.0

    def least(self, now: float) -> float:
        heap = self._heap(now)
        return heap[0][0] if len(heap) == self._kept else 0.0

    def entries(self) -> Iterable[tuple[float, int, Exchange]]:
        return itertools.chain.from_iterable(heap for _, heap in self._heaps)

    def _heap(self, now: float) -> _Heap:
        number = int(now / self._length_s)
        if not self._heaps or self._heaps[-1][0] < number:
            self._heaps.append((number, []))
        return self._heaps[-1][1]


def encode(exchange: Exchange, wall_offset_s: float) -> dict[str, Any]:
    """As JSON has it. `wall_offset_s` is what the clock of the exchanges lacks to Unix time."""
    timings = exchange.timings
    return {
        "time": exchange.sent_at + wall_offset_s,
        "model": exchange.model,
        "version": exchange.version,
        "outcome": exchange.error or "ok",
        "message": exchange.message,
        "duration_s": exchange.duration_s,
        "stages_s": {stage.name.lower(): seconds for stage, seconds in stages_of(exchange).items()},
        "rows": timings.rows if timings else None,
        "batch_size": timings.batch_size if timings else None,
        "batch_rows": list(timings.batch_rows) if timings else None,
        "release_reason": timings.release_reason.value if timings else None,
        "request_bytes": exchange.request_bytes,
        "response_bytes": exchange.response_bytes,
        "request_id": exchange.request_id.decode("ascii"),
        "trace_id": exchange.trace_id,
        "id": exchange.id,
    }
