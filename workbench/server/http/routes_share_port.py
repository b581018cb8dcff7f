"""The owner's routes for the port on a network that shares are called on."""

from __future__ import annotations

import dataclasses

import msgspec

from workbench.errors import NotFound, Unsupported
from workbench.protocols.control import BODY_BYTES, decode_body
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route
from workbench.server.network_port import NetworkPort, OpenPort, PortTerms
from workbench.server.service import Service

PATH = "/control/share-port"


def routes(service: Service) -> list[Route]:
    served = SharePortRoutes(service)
    return [
        Route("GET", PATH, served.told),
        Route("POST", PATH, served.open, action="open port"),
        Route("DELETE", PATH, served.close, action="close port"),
    ]


class SharePortRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _port(self) -> NetworkPort:
        if (port := self._service.share_port) is None:
            raise Unsupported("this service opens no further port")
        return port

    async def told(self, call: Call) -> Response:
        opened = self._port.opened
        return Response(200, msgspec.json.encode(None if opened is None else dataclasses.asdict(opened)))

    async def open(self, call: Call) -> Response:
        async with call.body(BODY_BYTES, self._service.bodies) as body:
            terms = decode_body(body, PortTerms)
        call.noted.subject = terms.host
        opened: OpenPort = await self._port.open(terms)
        call.noted.detail = opened.url
        return Response(200, msgspec.json.encode(dataclasses.asdict(opened)))

    async def close(self, call: Call) -> Response:
        opened = self._port.opened
        if opened is None:
            raise NotFound("no port for shares is open")
        call.noted.subject, call.noted.detail = opened.host, opened.url
        await self._port.close()
        return Response(200, msgspec.json.encode(dataclasses.asdict(opened)))
