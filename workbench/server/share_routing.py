"""Which version the calls of a share go to, as long as the share holds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from workbench.engine import Engine
from workbench.engine.model_changes import LoadResult
from workbench.errors import Conflict, InvalidInput, WorkbenchError
from workbench.server.shares import Shares
from workbench.share.share_record import ShareRecord
from workbench.versions.traffic_split import weight_of

LATER_S = 60.0
"""After what was routed for shares that ended could not be forgotten."""

log = logging.getLogger("workbench.server")


class ShareRouting:
    """Belongs to the event loop."""

    def __init__(self, engine: Engine, shares: Shares, wall: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._shares = shares
        self._wall = wall
        self._timer: asyncio.TimerHandle | None = None
        self._tidying: set[asyncio.Task[None]] = set()

    async def route(self, model: str, share: str, weights: Mapping[str, float], *, wait: bool) -> LoadResult:
        """Have the share's calls go by these weights. `share` is its label or id.

        Raises NotFound for one that does not hold, InvalidInput for one of another model, Conflict for one of a
        version, and what RoutingControl.route_share raises."""
        record = self._shares.holding(share).record
        if model not in record.models:
            raise InvalidInput(f"share {record.label!r} is for {', '.join(record.models)}, and not for {model!r}")
        if record.version is not None:
            raise Conflict(
                f"share {record.label!r} is for version {record.version} of {model!r} alone, and keeps it: revoke it "
                "and share the model without a version to route its calls"
            )
        result = await self._engine.routing.route_share(model, record.id, weights, wait=wait)
        await self.tidy()
        return result

    def of(self, model: str) -> dict[str, dict[str, float]]:
        """By the label of a share that holds, which part of its calls which version gets; the rest is as of others."""
        labels = {record.id: record.label for record in self._holding()}
        plan = self._engine.versions.plan(model)
        return {
            labels[share]: {version: weight_of(places) for version, places in spans.items()}
            for share, spans in plan.shares.items()
            if share in labels
        }

    def tidy_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.tidy())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    async def tidy(self) -> None:
        """Forget how calls of shares that have ended were routed, now and when the next one of those that are routed
        expires. Raises nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        holding = {record.id: record for record in self._holding()}
        due_s = []
        for model, routed in self._engine.routing.for_shares().items():
            due_s += [holding[each].expires_at - self._wall() for each in routed if each in holding]
            if routed <= holding.keys():
                continue
            try:
                await self._engine.routing.keep_shares(model, holding.keys())
            except WorkbenchError as error:
                log.warning("how calls of shares of %s that ended were routed is not forgotten: %s", model, error)
                due_s.append(LATER_S)
        if due_s:
            self._timer = asyncio.get_running_loop().call_later(max(min(due_s), 0.0) + 1.0, self.tidy_soon)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _holding(self) -> list[ShareRecord]:
        return [caller.record for caller, _ in self._shares.shares() if not caller.revoked and not caller.expired]
