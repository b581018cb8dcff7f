"""Shares over HTTP: the owner's routes, and the one that redeems a link, which needs no token."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from workbench.core.model import ModelState
from workbench.errors import InvalidInput
from workbench.protocols.control import BODY_BYTES, decode_body
from workbench.server.gate.in_flight import anonymous_bytes
from workbench.server.gate.scopes import Scope
from workbench.server.gate.share_caller import ShareCaller
from workbench.server.http.caller_address import caller_url, check_address
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route
from workbench.server.service import Service
from workbench.server.shares import Shares
from workbench.share.daily_quota import DailyUse
from workbench.share.share_record import (
    DEFAULT_IN_FLIGHT,
    ShareRecord,
    check_in_flight,
    check_label,
    check_models,
    check_version,
    parse_life_s,
    parse_max_body,
    parse_quota,
    parse_rate,
)
from workbench.telemetry.share_usage import ModelUse

CLAIM_BYTES = 1024
"""Of the body that redeems a link."""

CLAIM_PATH = "/share/claim"

log = logging.getLogger("workbench.server")


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    models: list[str]
    label: str
    rate: float | str | None = None
    row_rate: float | str | None = None
    quota: int | str | None = None
    row_quota: int | str | None = None
    version: int | str | None = None
    max_body: int | str | None = None
    metrics: bool = False
    expires: float | str = "7d"
    max_in_flight: int = DEFAULT_IN_FLIGHT
    show_token: bool = False
    url: str = ""
    """Where others reach a service that listens on loopback, as its owner knows: of a Jupyter server in front of it."""


class _Claim(msgspec.Struct):
    code: str


def routes(service: Service, shares: Shares) -> list[Route]:
    served = ShareRoutes(service, shares)
    return [
        Route("POST", "/control/shares", served.add, action="share"),
        Route("GET", "/control/shares", served.list),
        Route("DELETE", "/control/shares/{share}", served.revoke, action="revoke"),
        Route("POST", CLAIM_PATH, served.claim, Scope.PUBLIC, action="claim"),
    ]


class ShareRoutes:
    def __init__(self, service: Service, shares: Shares) -> None:
        self._service = service
        self._shares = shares
        self._anonymous = anonymous_bytes()

    async def add(self, call: Call) -> Response:
        async with call.body(BODY_BYTES, self._service.bodies) as body:
            asked = decode_body(body, _Asked)
        call.noted.subject, call.noted.detail = asked.label, ", ".join(asked.models)
        url = check_address(asked.url) if asked.url else ""
        url = self._service.elsewhere_url or url or self._service.url
        now = time.time()
        models = check_models(asked.models)
        terms = ShareRecord(
            "",
            check_label(asked.label),
            models,
            parse_rate(asked.rate),
            check_in_flight(asked.max_in_flight),
            now,
            now + parse_life_s(asked.expires),
            row_rate=parse_rate(asked.row_rate, "row_rate", "rows"),
            quota=parse_quota(asked.quota),
            row_quota=parse_quota(asked.row_quota, "row_quota", "rows"),
            version=check_version(asked.version, models),
            max_body=parse_max_body(asked.max_body),
            metrics=asked.metrics,
        )
        for model in terms.models:
            status = self._service.engine.status(model, terms.version)  # raises where there is none
            if terms.version is not None and status.state is not ModelState.READY:
                raise InvalidInput(f"version {terms.version} of {model!r} is {status.state}, so nobody can call it")
        record, token, code = await self._shares.add(terms, show_token=asked.show_token)
        call.noted.detail = f"{record.id}: {call.noted.detail}"
        log.info("a share was made", extra={"fields": {"share": record.id, "label": record.label}})
        answer: dict[str, Any] = {**_record(record), "url": url}
        if token:
            self._keep_from_log(token)
            answer["token"] = token
        if code:
            self._keep_from_log(code)
            answer["link"] = f"{url}{CLAIM_PATH}#{code}"
        return _json(answer)

    async def list(self, call: Call) -> Response:
        return _json([_listed(caller, claimed) for caller, claimed in self._shares.shares()])

    async def revoke(self, call: Call) -> Response:
        call.noted.subject = call.params["share"]
        record = await self._shares.revoke(call.params["share"])
        call.noted.subject, call.noted.detail = record.label, record.id
        log.info("a share was revoked", extra={"fields": {"share": record.id, "label": record.label}})
        return _json(_record(record))

    async def claim(self, call: Call) -> Response:
        """The token of the share whose link holds the code, once."""
        async with call.body(CLAIM_BYTES, self._anonymous) as body:
            code = decode_body(body, _Claim).code
        record, token = await self._shares.claim(code)
        call.noted.subject, call.noted.detail = record.label, record.id
        self._keep_from_log(token)
        log.info("a share was claimed", extra={"fields": {"share": record.id, "label": record.label}})
        return _json(
            {
                "token": token,
                "label": record.label,
                "models": record.models,
                "url": caller_url(call.headers, self._service.known_url(call.scheme)),
                "expires_at": record.expires_at,
            }
        )

    def _keep_from_log(self, secret: str) -> None:
        if self._service.logs is not None:
            self._service.logs.add_secret(secret)


def _record(record: ShareRecord) -> dict[str, Any]:
    return dataclasses.asdict(record)


def _listed(caller: ShareCaller, claimed: bool) -> Mapping[str, Any]:
    state = "unclaimed"
    if caller.revoked:
        state = "revoked"
    elif caller.expired:
        state = "expired"
    elif claimed:
        state = "holds"
    use = caller.use() or DailyUse(0.0)
    models = caller.usage.models() if caller.usage is not None else {}
    return {
        **_record(caller.record),
        "day_requests": use.requests,
        "day_rows": use.rows,
        "day_ends_at": use.ends_at or None,
        "state": state,
        "requests": caller.requests,
        "refused": caller.refused,
        "in_flight": caller.in_flight,
        "last_seen": caller.seen_at or None,
        **_used(ModelUse.together(models.values())),
        "by_model": {name: _used(use) for name, use in models.items() if name},
    }


def _used(use: ModelUse) -> Mapping[str, Any]:
    return {
        "answered": use.answered,
        "errors": use.errors,
        "rows": use.rows,
        "request_bytes": use.request_bytes,
        "response_bytes": use.response_bytes,
        "p50_s": use.latency.quantile(0.5),
        "p99_s": use.latency.quantile(0.99),
        "last_at": use.last_at or None,
    }


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value))
