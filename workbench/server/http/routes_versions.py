"""Which versions of a model there are, which one serves, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from workbench.core.audit_entry import AuditEntry
from workbench.core.model import ModelState
from workbench.core.version_overview import STORED, VersionEntry, VersionOverview
from workbench.errors import StorageError
from workbench.protocols import control
from workbench.protocols.shadow_json import encode_shadow
from workbench.server.http.message import Response
from workbench.server.http.routes_control import told_load
from workbench.server.http.routing import Call, Route
from workbench.server.service import Service
from workbench.server.share_routing import ShareRouting

HISTORY = 50
"""The most actions that are told of one model."""

_CHANGES = frozenset({"load", "commit", "unload", "rollback", "label", "route", "rollout"})


def routes(service: Service, shares: ShareRouting) -> list[Route]:
    versions = VersionRoutes(service, shares)
    return [
        Route("GET", "/control/models/{name}/versions", versions.overview),
        Route("POST", "/control/models/{name}/rollback", versions.rollback, action="rollback"),
        Route("POST", "/control/models/{name}/labels", versions.label, action="label"),
        Route("POST", "/control/models/{name}/route", versions.route, action="route"),
        Route("GET", "/control/models/{name}/route", versions.routed),
    ]


class VersionRoutes:
    def __init__(self, service: Service, shares: ShareRouting) -> None:
        self._service = service
        self._engine = service.engine
        self._shares = shares

    async def overview(self, call: Call) -> Response:
        name = call.params["name"]
        status = self._engine.status(name)  # ModelNotFound says what there is
        plan = self._engine.versions.plan(name)
        back = plan.before[-1] if plan.before else None
        shares = self._shares.of(name)
        entries = {
            each.version: VersionEntry(
                each.version,
                each.state.value,
                each.routed,
                each.version == back,
                each.version in plan.held,
                each.loaded_at,
                each.reason,
                each.version_labels,
                each.weight,
                each.shadow.part if each.shadow is not None else 0.0,
                {label: parts[each.version] for label, parts in shares.items() if each.version in parts},
            )
            for each in self._engine.statuses(name)
            if each.state is not ModelState.GONE
        }
        for model in await asyncio.to_thread(self._service.persistence.state.versions, name):
            kept = VersionEntry(model.version, STORED, before=model.version == back)
            entries.setdefault(model.version, kept)
        versions = tuple(entries[each] for each in sorted(entries, key=int))
        found = VersionOverview(name, status.config.versions, versions, tuple(await self._history(name)), plan.by)
        return Response(200, msgspec.json.encode(asdict(found)))

    async def rollback(self, call: Call) -> Response:
        result = await self._engine.versions.rollback(call.params["name"])
        await self._service.persistence.tidy(self._engine)
        version, how = result.status.version, "was still loaded" if result.live else "was loaded again"
        in_place = f"in place of {result.previous}; it {how}" if result.previous != version else "in place of a split"
        call.noted.detail = f"version {version}, {in_place}"
        return Response(200, msgspec.json.encode(told_load(result)))

    async def label(self, call: Call) -> Response:
        async with call.body(control.BODY_BYTES, self._service.bodies) as body:
            asked = control.decode_labels(body)
        call.noted.detail = ", ".join(f"{label}={version}" for label, version in asked.items())
        labels = await self._engine.versions.label(call.params["name"], asked)
        await self._service.persistence.tidy(self._engine)
        return Response(200, msgspec.json.encode({"labels": labels}))

    async def route(self, call: Call) -> Response:
        async with call.body(control.BODY_BYTES, self._service.bodies) as body:
            asked = control.decode_route_request(body)
        told = [] if asked.weights is None else [_percents(asked.weights) or "no split"]
        if asked.shadow is not None:
            told.append(f"shadow {_percents(asked.shadow)}" if asked.shadow else "no shadow")
        call.noted.detail = f"{', '.join(told)}{f' by {asked.by}' if asked.by else ''}"
        name = call.params["name"]
        if asked.share:
            call.noted.detail += f" for share {asked.share}"
            result = await self._shares.route(name, asked.share, asked.weights or {}, wait=asked.wait)
        else:
            result = await self._engine.routing.route(
                name,
                asked.weights,
                by=asked.by,
                shadow=asked.shadow,
                keep_rows=asked.keep_rows,
                wait=asked.wait,
                force=asked.force,
            )
        await self._service.persistence.tidy(self._engine)
        return Response(200, msgspec.json.encode({**told_load(result), **self._route_of(name, examples=False)}))

    async def routed(self, call: Call) -> Response:
        name = call.params["name"]
        self._engine.status(name)  # ModelNotFound says what there is
        told = self._route_of(name, examples=call.query("examples") == "true")
        return Response(200, await asyncio.to_thread(msgspec.json.encode, told))

    def _route_of(self, name: str, *, examples: bool) -> dict[str, Any]:
        traffic = self._engine.routing.shadow(name)
        kept = traffic.examples() if traffic is not None and examples else ()
        weights = {each.version: each.weight for each in self._engine.statuses(name) if each.weight}
        figures = traffic.figures() if traffic is not None else None
        by, shares = self._engine.versions.plan(name).by, self._shares.of(name)
        return {"weights": weights, "by": by, "shares": shares, **encode_shadow(figures, kept)}

    async def _history(self, name: str) -> list[AuditEntry]:
        try:
            return await self._service.audit.done_to(name, _CHANGES, HISTORY)
        except StorageError:  # the versions are told all the same
            return []


def _percents(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{version}={part * 100:g}%" for version, part in parts.items())
