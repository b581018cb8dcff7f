"""Follows the service's own figures during a test, second by second; marks its restarts, and another model's coming."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from workbench.client.client import AsyncClient
from workbench.errors import WorkbenchError
from workbench.loadtest.store.recording import Mark, ServerSecond

INTERVAL_S = 1.0
RETRY_S = 0.5

_SHORTEST_S = 0.1
"""The stream's first snapshot covers no time, so shorter intervals are left out."""


def second_of(snapshot: Mapping[str, Any], model: str, version: str | None, began_at: float) -> ServerSecond | None:
    """One model's figures in a snapshot, summed over its versions unless `version` names one.

    `began_at` is the Unix time at which the run began.
    """
    entries = [
        each
        for each in snapshot["models"]
        if each["name"] == model and (each["version"] == version if version is not None else True)
    ]
    if not entries or snapshot["interval_s"] < _SHORTEST_S:
        return None
    requests: dict[str, int] = {}
    sizes: dict[int, int] = {}
    reasons: dict[str, int] = {}
    stages: dict[str, float] = {}
    ran = answered = 0
    for each in entries:
        _add(requests, each["requests"])
        _add(sizes, {int(size): count for size, count in each["batch_sizes"].items()})
        _add(reasons, each["release_reasons"])
        _add(stages, each["stages_s"])
        ran += each["latency"]["request"]["count"]
        answered += each["answered"]
    means = {name: total / count for name, total in stages.items() if (count := _count_of(name, ran, answered))}
    return ServerSecond(
        at_s=snapshot["time"] - began_at,
        interval_s=snapshot["interval_s"],
        requests={outcome: count for outcome, count in requests.items() if count},
        stages_s=means,
        batches=sum(sizes.values()),
        batch_sizes=sizes,
        release_reasons={reason: count for reason, count in reasons.items() if count},
        queued=sum(each["queued"] for each in entries),
        busy=sum(each["busy"] for each in entries),
        machine=snapshot.get("machine") or {},
    )


class ServerSide:
    """Follows the service's stream during a run, across restarts, which are marked as is a model that is replaced."""

    def __init__(self, client: AsyncClient, model: str, version: str | None) -> None:
        self._client = client
        self._model = model
        self._version = version
        self.began_at: float | None = None
        """Unix time; earlier snapshots are left out."""
        self.seconds: list[ServerSecond] = []
        self.marks: list[Mark] = []
        self._serving: tuple[str, str] | None = None
        """Version and epoch of what serves; None: not known."""

    async def follow(self) -> None:
        """Follow the stream until cancelled."""
        epoch = ""
        lost = False
        try:
            while True:
                try:
                    async with aclosing(self._client.snapshots(INTERVAL_S)) as snapshots:
                        async for snapshot in snapshots:
                            if epoch and snapshot["epoch"] != epoch:
                                self._mark(snapshot["time"], "restart", "the service began anew")
                                self._serving = None
                            epoch, lost = snapshot["epoch"], False
                            self._take(snapshot)
                except WorkbenchError:
                    pass
                if not lost and epoch:
                    lost = True
                    self._mark(None, "lost", "the service's own figures stopped coming")
                await asyncio.sleep(RETRY_S)
        finally:
            await self._client.close()

    def _take(self, snapshot: Mapping[str, Any]) -> None:
        if self.began_at is None or snapshot["time"] <= self.began_at:
            return
        if (second := second_of(snapshot, self._model, self._version, self.began_at)) is not None:
            self.seconds.append(second)
        for each in snapshot["models"]:
            if each["name"] == self._model and (each["version"] == self._version if self._version else each["routed"]):
                self._note_serving(snapshot["time"], each["version"], each.get("epoch", ""))

    def _note_serving(self, at: float, version: str, epoch: str) -> None:
        before, self._serving = self._serving, (version, epoch)
        if before is not None and epoch and epoch != before[1]:
            what = f"version {version} took the place of version {before[0]}"
            if version == before[0]:
                what = f"version {version} was loaded anew, or stopped batching"
            self._mark(at, "model", f"{what}; the figures are of both, and the requests stayed as they were")

    def _mark(self, at: float | None, kind: str, text: str) -> None:
        if self.began_at is not None:
            self.marks.append(Mark((time.time() if at is None else at) - self.began_at, kind, text))


def _add(into: dict[Any, Any], counts: Mapping[Any, Any]) -> None:
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count


def _count_of(stage: str, ran: int, answered: int) -> int:
    """How many requests a stage's seconds cover: the answered ones for stages of the wire, else all that ran."""
    return answered if stage in ("receive", "decode", "encode", "send") else ran
