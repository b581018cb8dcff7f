"""Keeps the live figures of the last quarter of an hour, a line a second, for those that begin to look only now.

A line is what `snapshots` tells of one second, of the versions alone that were not idle. It is kept encoded, in
about a kilobyte for each of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from workbench.telemetry.counters import Counters
from workbench.telemetry.version_figures import version_figures

STEP_S: Final = 1.0
"""Of one line, or a little more."""

KEPT_S: Final = 900.0
"""How far back the lines reach."""

MOST_BYTES: Final = 16 << 20
"""Of all lines together; of more, the oldest go."""

AT_ONCE: Final = 8
"""Busy versions that one `note` looks at, 0.1 to 0.2 ms each: of many, others have their turn on the loop between."""

ModelVersion = tuple[str, str]


class PastSnapshots:
    """Belongs to the event loop's thread. `note` is called several times a second."""

    def __init__(self, now: float) -> None:
        """`now` is Unix time, as in all methods."""
        self._began = now
        self._kept: dict[ModelVersion, Counters] = {}
        """The counters of each version at the end of the last line."""
        self._lines: deque[tuple[float, float, bytes]] = deque()
        """(end, seconds, the models as JSON; empty where all were idle)"""
        self._bytes = 0
        self._ended = now
        """When the second ended whose line is being made."""
        self._left: list[ModelVersion] = []
        """What is still to be looked at for it."""
        self._models: list[dict[str, Any]] = []

    def note(self, figures: Mapping[ModelVersion, Counters], now: float) -> None:
        """End the current second where it is over, and make its line, or the next part of it."""
        if not self._left:
            interval_s = now - self._began
            if interval_s < 0:  # the clock was set back: what is kept would come twice
                self._lines.clear()
                self._bytes, self._began = 0, now
            if interval_s < STEP_S:
                return
            self._ended, self._left = now, list(figures)
        interval_s, looked = self._ended - self._began, 0
        while self._left and looked < AT_ONCE:
            key = self._left.pop()
            total = figures.get(key)
            if total is not None and (since := self._since(key, total)) is not None:
                told = version_figures(*key, since, None, interval_s)
                self._models.append(told | {"queued": None, "cache": None})
                looked += 1
        if not self._left:
            self._add(interval_s)

    def _add(self, interval_s: float) -> None:
        models, self._models = self._models, []
        body = msgspec.json.encode(models) if models else b""
        self._began = self._ended
        self._lines.append((self._ended, interval_s, body))
        self._bytes += len(body)
        while self._lines and (self._bytes > MOST_BYTES or self._lines[0][0] < self._ended - KEPT_S):
            self._bytes -= len(self._lines.popleft()[2])

    def lines(self, since: float, epoch: str) -> Iterator[bytes]:
        """Yield a line of JSON for each second that ended after `since`, the oldest first."""
        for end, interval_s, body in list(self._lines):
            if end > since:
                head = {"epoch": epoch, "past": True, "time": end, "interval_s": interval_s}
                yield msgspec.json.encode(head)[:-1] + b',"models":' + (body or b"[]") + b"}\n"

    def forget(self, key: ModelVersion) -> None:
        """Forget a version: its counters start again from 0."""
        self._kept.pop(key, None)

    def _since(self, key: ModelVersion, total: Counters) -> Counters | None:
        """Return what happened to a version in the current second; None if nothing did."""
        before = self._kept.get(key)
        if before is None:
            happened = total.requests > 0 or total.batches > 0
            self._kept[key] = total.copy()
            return total.copy() if happened else None
        if (total.requests, total.batches, total.encode_failures) == (
            before.requests,
            before.batches,
            before.encode_failures,
        ):
            return None
        since = total.since(before)
        self._kept[key] = total.copy()
        return since
