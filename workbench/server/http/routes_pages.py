"""The page behind a share's link, and the OpenAPI document of what a token may call."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from workbench.core.model import ModelState
from workbench.server.gate.scopes import Scope
from workbench.server.gate.share_caller import ShareCaller
from workbench.server.http.caller_address import caller_url
from workbench.server.http.message import Response
from workbench.server.http.routes_share import CLAIM_PATH
from workbench.server.http.routing import Call, Route
from workbench.server.service import Service
from workbench.share.code_samples import Endpoint
from workbench.share.openapi import openapi

PAGE_FILES: Final = {
    CLAIM_PATH: ("claim.html", b"text/html; charset=utf-8"),
    "/share/claim.css": ("claim.css", b"text/css; charset=utf-8"),
    "/share/claim.js": ("claim.js", b"text/javascript; charset=utf-8"),
}
"""Path -> the file, and its type."""

PAGE_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""The page shows a token: nothing of another site runs in it or frames it, and nothing of it is kept."""


def routes(service: Service) -> list[Route]:
    pages = Pages(service)
    found = [Route("GET", path, pages.file, Scope.PUBLIC) for path in PAGE_FILES]
    return [*found, Route("GET", "/openapi.json", pages.openapi, Scope.METADATA)]


class Pages:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def file(self, call: Call) -> Response:
        name, content_type = PAGE_FILES[call.head.path]
        return Response(200, _content(name), content_type, PAGE_HEADERS)

    async def openapi(self, call: Call) -> Response:
        """Of the models that the caller may call and that are served now."""
        served = [
            status
            for status in self._service.engine.statuses()
            if status.state is ModelState.READY
            and call.caller.sees(status.name, status.version)
            and (status.routed or call.caller.version is not None)
        ]
        share = _terms(call.caller) if isinstance(call.caller, ShareCaller) else None
        versions = {} if call.caller.version is None else {each.name: each.version for each in served}
        url = caller_url(call.headers, self._service.known_url(call.scheme))
        document = openapi(Endpoint(url), served, versions, share)
        return Response(200, msgspec.json.encode(document), headers=((b"cache-control", b"no-store"),))


def _terms(caller: ShareCaller) -> dict[str, object]:
    """What the share allows, and until when."""
    record = caller.record
    terms = [f"It may call {', '.join(record.models)}."]
    if record.rate is not None:
        terms.append(f"It may send {record.rate:g} requests a second; what is over that is answered with 429.")
    if record.row_rate is not None:
        terms.append(f"They may have {record.row_rate:g} rows a second in all; what is over that is answered with 429.")
    if record.version is not None:
        terms[0] = f"It calls version {record.version} of {record.models[0]}, whichever version others call."
    for quota, of in ((record.quota, "requests"), (record.row_quota, "rows")):
        if quota is not None:
            terms.append(f"It may send {quota} {of} a day, counted from 00:00 UTC.")
    terms.append(f"{record.max_in_flight} of its requests may be under way at once.")
    if record.max_body is not None:
        terms.append(f"A body may have {record.max_body} bytes.")
    if record.metrics:
        terms.append("It may read the metrics of what it may call, at /metrics.")
    return {
        "label": record.label,
        "models": record.models,
        "expires_at": record.expires_at,
        "metrics": record.metrics,
        "terms": terms,
    }


@cache
def _content(name: str) -> bytes:
    return files("workbench.share").joinpath("page", name).read_bytes()
