"""Keeps the slowest requests of the last 15 minutes; `Model.slowest()` shows them.

Each model has slices of time, each a heap of its slowest requests: many of each minute, and a few of every few seconds.
So the slowest of a short moment are kept, even in a minute that had slower ones. A request that is not among the
slowest costs one comparison.

A finished slice is packed, because its requests take ten times the memory as objects.
"""

from __future__ import annotations

import heapq
import itertools
import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from workbench.core.messages import StageTimings
from workbench.telemetry.request_record import RequestRecord, stages_of

KEPT = 100
WINDOW_S = 900.0
SLICE_S = 60.0
MOMENT_KEPT = 10
MOMENT_S = 5.0

_Entry = tuple[float, int, RequestRecord]
"""(duration, order, record)"""


class SlowRequestLog:
    """The slowest requests of every model. Times are readings of the clock that stamped the records."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[_Slices, _Slices]] = {}
        self._order = itertools.count()  # so that records of equal duration are never compared

    def offer(self, exchange: RequestRecord) -> float:
        """Keep the record if it is among the slowest; return the duration that the next one has to exceed."""
        entry = exchange.duration_s, next(self._order), exchange
        minutes, moments = self._slices(exchange.model)
        return min(minutes.offer(entry), moments.offer(entry))

    def least(self, model: str, now: float) -> float:
        """Return the duration in seconds that a request ending now has to exceed to be kept."""
        minutes, moments = self._slices(model)
        return min(minutes.least(now), moments.least(now))

    def of(
        self, model: str, now: float, since: float | None = None, until: float | None = None, limit: int = KEPT
    ) -> list[RequestRecord]:
        """Return the slowest `limit` that ended in the last WINDOW_S seconds, or from `since` until `until`, the
        slowest first."""
        earliest = now - WINDOW_S if since is None else max(since, now - WINDOW_S)
        latest = now if until is None else until
        found: dict[int, tuple[float, RequestRecord]] = {}
        if (slices := self._models.get(model)) is not None:
            minutes, moments = slices
            # Where a whole minute is asked for, its moments hold nothing slower than the minute's own heap.
            whole = minutes.within(earliest, latest) if limit <= KEPT else range(0)
            within = moments.entries(earliest, latest, without=(whole.start * SLICE_S, whole.stop * SLICE_S))
            for duration_s, order, exchange in itertools.chain(minutes.entries(earliest, latest), within):
                if earliest <= exchange.sent_at <= latest:
                    found[order] = duration_s, exchange
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
    """Keeps the slowest `kept` of each slice of `length_s` seconds, for the last WINDOW_S."""

    __slots__ = ("_heap", "_kept", "_length_s", "_number", "_packed")

    def __init__(self, length_s: float, kept: int) -> None:
        self._length_s = length_s
        self._kept = kept
        self._packed: deque[tuple[int, bytes]] = deque(maxlen=int(WINDOW_S / length_s))
        """(number of the slice, its slowest requests), the newest last."""
        self._number = 0
        self._heap: list[_Entry] = []
        """The slowest of the current slice."""

    def offer(self, entry: _Entry) -> float:
        self._begin(entry[2].sent_at)
        heap = self._heap
        if len(heap) < self._kept:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
        return heap[0][0] if len(heap) == self._kept else 0.0

    def least(self, now: float) -> float:
        self._begin(now)
        return self._heap[0][0] if len(self._heap) == self._kept else 0.0

    def within(self, earliest: float, latest: float) -> range:
        """Return the numbers of the slices that lie wholly between two times."""
        return range(math.ceil(earliest / self._length_s), max(0, int(latest / self._length_s)))

    def entries(self, earliest: float, latest: float, without: tuple[float, float] = (0.0, 0.0)) -> Iterator[_Entry]:
        """Yield the entries of all slices between two times, except slices wholly within `without`."""
        first, last = int(earliest / self._length_s), int(latest / self._length_s)
        begin, end = without
        for number, packed in self._packed:
            starts = number * self._length_s
            if first <= number <= last and not begin <= starts <= starts + self._length_s <= end:
                yield from _unpacked(packed)
        if first <= self._number <= last:
            yield from self._heap

    def _begin(self, now: float) -> None:
        """Start the slice of this time, unless it has started."""
        number = int(now / self._length_s)
        if number > self._number:
            if self._heap:
                self._packed.append((self._number, _packed(self._heap)))
            self._number, self._heap = number, []


class _Kept(RequestRecord, array_like=True, gc=False):
    """A RequestRecord that is packed without its fields' names."""


_FIELDS = RequestRecord.__struct_fields__
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[float, int, _Kept]]).decode


def _packed(entries: Iterable[_Entry]) -> bytes:
    plain = [(took, order, _Kept(*(getattr(each, name) for name in _FIELDS))) for took, order, each in entries]
    return zlib.compress(_encode(plain), 1)


def _unpacked(packed: bytes) -> Iterable[_Entry]:
    return _decode(zlib.decompress(packed))


def encode(exchange: RequestRecord, wall_offset_s: float) -> dict[str, Any]:
    """Return the record for JSON. `wall_offset_s` turns the record's times into Unix time."""
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
        "pipeline": _stages(timings.stages) if timings else [],
    }


def _stages(stages: Sequence[StageTimings]) -> list[dict[str, Any]]:
    """Of a pipeline's stages, and of the pipelines among them, the latter's own after each."""
    told: list[dict[str, Any]] = []
    for each in stages:
        timings = each.timings
        parts = {"queue": timings.queued_s, "batch": timings.batched_s, "compute": timings.ran_s}
        told.append(
            {
                "stage": each.stage,
                "version": each.version,
                "began_s": each.began_s,
                "stages_s": {**parts, "split": timings.split_s},
                "batch_size": timings.batch_size,
                "pipeline": _stages(timings.stages),
            }
        )
    return told
