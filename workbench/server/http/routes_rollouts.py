"""Rollouts: a version that gets more and more of the calls by itself, as long as its guard holds."""

from __future__ import annotations

from dataclasses import asdict

import msgspec

from workbench.core.rollout_view import RolloutView
from workbench.protocols import control
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route
from workbench.server.service import Service
from workbench.versions.rollout import OnBreach, RolloutPlan


def routes(service: Service) -> list[Route]:
    rollouts = RolloutRoutes(service)
    path = "/control/models/{name}/rollout"
    return [
        Route("GET", "/control/rollouts", rollouts.all),
        Route("GET", path, rollouts.one),
        Route("POST", path, rollouts.start, action="rollout"),
        Route("POST", f"{path}/stop", rollouts.stop, action="rollout"),
        Route("POST", f"{path}/resume", rollouts.resume, action="rollout"),
    ]


class RolloutRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._rollouts = service.rollouts

    async def all(self, call: Call) -> Response:
        return Response(200, msgspec.json.encode([asdict(each) for each in self._rollouts.all()]))

    async def one(self, call: Call) -> Response:
        return _answer(self._rollouts.of(call.params["name"]))

    async def start(self, call: Call) -> Response:
        async with call.body(control.BODY_BYTES, self._service.bodies) as body:
            asked = control.decode_rollout_request(body)
        call.noted.detail = f"version {asked.version}, begin; {asked.guard}"
        plan = RolloutPlan(
            asked.version,
            "",
            tuple(asked.steps),
            asked.every_s,
            asked.guard,
            OnBreach(asked.on_breach),
            asked.least_calls,
            asked.by,
        )
        found = await self._rollouts.start(call.params["name"], asked.version, plan)
        call.noted.detail = f"version {found.version}, begin; {found.guard}"  # asked for as v2 or by a label, maybe
        return _answer(found)

    async def stop(self, call: Call) -> Response:
        found = await self._rollouts.stop(call.params["name"], f"by {call.caller.name}")
        call.noted.detail = found.told
        return _answer(found)

    async def resume(self, call: Call) -> Response:
        found = await self._rollouts.resume(call.params["name"])
        call.noted.detail = f"resume; {found.told}"
        return _answer(found)


def _answer(rollout: RolloutView) -> Response:
    return Response(200, msgspec.json.encode(asdict(rollout)))
