"""The slowest requests of the last minutes, with all that is known of them; what `Model.slowest()` shows.

Kept by model in slices of a minute, each a heap of its slowest: a request that is not among them costs whoever offers
it one comparison with the slice's least.
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

_Heap = list[tuple[float, int, Exchange]]


class Slowest:
    """Of every model. Times are readings of the clock that stamped the exchanges."""

    def __init__(self) -> None:
        self._slices: dict[str, deque[tuple[int, _Heap]]] = {}
        """By model: (number of the slice, (duration, order, exchange)), the newest last."""
        self._order = itertools.count()  # so that two of equal duration are never compared themselves

    def offer(self, exchange: Exchange) -> float:
        """Keep it if it is among the slowest of its minute; what another has to take to be, in that minute."""
        heap = self._heap(exchange.model, exchange.sent_at)
        entry = exchange.duration_s, next(self._order), exchange
        if len(heap) < KEPT:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
        return heap[0][0] if len(heap) == KEPT else 0.0

    def least(self, model: str, now: float) -> float:
        """What an exchange that ends now has to take to be kept."""
        heap = self._heap(model, now)
        return heap[0][0] if len(heap) == KEPT else 0.0

    def _heap(self, model: str, now: float) -> _Heap:
        slices = self._slices.get(model)
        if slices is None:
            slices = self._slices[model] = deque(maxlen=int(WINDOW_S / SLICE_S) + 1)
        number = int(now / SLICE_S)
        if not slices or slices[-1][0] < number:
            slices.append((number, []))
        return slices[-1][1]

    def of(self, model: str, now: float) -> list[Exchange]:
        """The slowest KEPT of the last WINDOW_S seconds, the slowest first."""
        since = now - WINDOW_S
        entries = (entry for _, heap in self._slices.get(model, ()) for entry in heap if entry[2].sent_at >= since)
        return [exchange for _, _, exchange in heapq.nlargest(KEPT, entries)]

    def forget_all_but(self, models: Iterable[str]) -> None:
        for gone in self._slices.keys() - set(models):
            del self._slices[gone]


def encode(exchange: Exchange, wall_offset_s: float) -> dict[str, Any]:
    """As JSON has it. `wall_offset_s` is what the clock of the exchanges lacks to Unix time."""
    timings = exchange.timings
    return {
        "time": exchange.sent_at + wall_offset_s,
        "model": exchange.model,
        "version": exchange.version,
        "outcome": exchange.error or "ok",
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
