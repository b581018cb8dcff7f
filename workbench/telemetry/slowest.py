"""The slowest requests of the last minutes, with all that is known of them; what `Model.slowest()` shows.

Kept by model in slices of a minute, each a heap of its slowest. A request that is not among them costs one comparison
with the slice's least, and that is made for hundreds at a time when they are folded.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    def offer(self, model: str, exchanges: Sequence[Exchange], durations_s: NDArray[np.float64]) -> None:
        """Keep those that are among the slowest of their minute. All ended within about a tick."""
        slices = self._slices.setdefault(model, deque(maxlen=int(WINDOW_S / SLICE_S) + 1))
        number = int(exchanges[-1].sent_at / SLICE_S)
        if not slices or slices[-1][0] < number:
            slices.append((number, []))
        heap = slices[-1][1]
        least = heap[0][0] if len(heap) == KEPT else -1.0
        for index in np.flatnonzero(durations_s > least).tolist():
            entry = float(durations_s[index]), next(self._order), exchanges[index]
            if len(heap) < KEPT:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)

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
