"""Triton's shared memory extensions: regions are registered, told and unregistered, where that is allowed.

Of CUDA shared memory no region can be registered, so none is there. Clients ask for it and unregister all of it before
they begin, and are answered as by a Triton without GPUs.
"""

from __future__ import annotations

import asyncio

import msgspec

from workbench.errors import NotFound
from workbench.protocols.control import BODY_BYTES
from workbench.protocols.region_params import decode_registration
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route
from workbench.server.repository_api import shared_memory
from workbench.server.service import Service
from workbench.server.shared_memory import NO_CUDA_REGION

_PREFIX, _CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"


def routes(service: Service) -> list[Route]:
    shared = SharedRoutes(service)
    return [
        Route("GET", f"{_PREFIX}/status", shared.status),
        Route("GET", f"{_PREFIX}/region/{{region}}/status", shared.status),
        Route("POST", f"{_PREFIX}/region/{{region}}/register", shared.register),
        Route("POST", f"{_PREFIX}/region/{{region}}/unregister", shared.unregister),
        Route("POST", f"{_PREFIX}/unregister", shared.unregister),
        Route("GET", f"{_CUDA}/status", shared.cuda_status),
        Route("GET", f"{_CUDA}/region/{{region}}/status", shared.cuda_status),
        Route("POST", f"{_CUDA}/region/{{region}}/unregister", shared.cuda_unregister),
        Route("POST", f"{_CUDA}/unregister", shared.cuda_unregister),
    ]


class SharedRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def status(self, call: Call) -> Response:
        regions = shared_memory(self._service).regions(call.params.get("region"))
        told = [
            {"name": each.name, "key": each.key, "offset": each.offset, "byte_size": each.byte_size} for each in regions
        ]
        return Response(200, msgspec.json.encode(told))

    async def register(self, call: Call) -> Response:
        memory = shared_memory(self._service)
        async with call.body(BODY_BYTES, self._service.bodies) as body:
            asked = decode_registration(body)
        await asyncio.to_thread(memory.register, call.params["region"], asked.key, asked.offset, asked.byte_size)
        return Response(200, b"{}")

    async def unregister(self, call: Call) -> Response:
        shared_memory(self._service).unregister(call.params.get("region"))
        return Response(200, b"{}")

    async def cuda_status(self, call: Call) -> Response:
        if "region" in call.params:
            raise NotFound(NO_CUDA_REGION)
        return Response(200, b"[]")

    async def cuda_unregister(self, call: Call) -> Response:
        return Response(200, b"{}")
