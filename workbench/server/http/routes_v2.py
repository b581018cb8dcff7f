"""The Open Inference Protocol but for the inference itself: health, metadata, the model repository; and `/metrics`."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from workbench.core.model import ModelState, ModelStatus
from workbench.protocols import metadata
from workbench.protocols.control import BODY_BYTES
from workbench.protocols.model_config_body import triton_config
from workbench.protocols.statistics_body import statistics_body
from workbench.server import repository_api
from workbench.server.gate.scopes import Scope
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route, while_there
from workbench.server.service import Service
from workbench.telemetry import exposition

log = logging.getLogger("workbench.server")


def routes(service: Service) -> list[Route]:
    protocol = ProtocolRoutes(service)
    found = [
        Route("GET", "/v2/health/live", protocol.live, Scope.PUBLIC),
        Route("GET", "/v2/health/ready", protocol.ready, Scope.PUBLIC),
        Route("GET", "/v2", protocol.server_metadata, Scope.METADATA),
        Route(
            "GET", "/v2/models/stats", protocol.statistics, Scope.METADATA
        ),  # before the model that may have this name
        Route("POST", "/v2/repository/index", protocol.index, Scope.METADATA),
        Route("POST", "/v2/repository/models/{name}/load", protocol.load, action="load"),
        Route("POST", "/v2/repository/models/{name}/unload", protocol.unload, action="unload"),
        Route("GET", "/metrics", protocol.metrics, Scope.METRICS),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found.append(Route("GET", model, protocol.model_metadata, Scope.METADATA))
        found.append(Route("GET", f"{model}/ready", protocol.model_ready, Scope.METADATA))
        found.append(Route("GET", f"{model}/config", protocol.model_config, Scope.METADATA))
        found.append(Route("GET", f"{model}/stats", protocol.statistics, Scope.METADATA))
    return found


class ProtocolRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = service.engine

    # Health

    async def live(self, call: Call) -> Response:
        return Response(200, b'{"live":true}')

    async def ready(self, call: Call) -> Response:
        ready = self._service.ready
        return Response(200 if ready else 503, msgspec.json.encode({"ready": ready, "live": True}))

    async def model_ready(self, call: Call) -> Response:
        status = self._status(call)
        ready = status.state is ModelState.READY
        return Response(200 if ready else 503, msgspec.json.encode({"ready": ready, "name": status.name}))

    # Metadata

    async def server_metadata(self, call: Call) -> Response:
        return Response(200, metadata.server_metadata(*repository_api.identity(self._service)))

    async def model_metadata(self, call: Call) -> Response:
        status, versions = self._described(call)
        return Response(200, metadata.model_metadata(status, versions))

    async def model_config(self, call: Call) -> Response:
        status, versions = self._described(call)
        return Response(200, msgspec.json.encode(triton_config(status, versions)))

    async def statistics(self, call: Call) -> Response:
        """Of one version, of all of one model's, or of all models."""
        name, version = call.params.get("name"), call.params.get("version")
        return Response(
            200, statistics_body(repository_api.model_statistics(self._service, call.caller, name, version))
        )

    # The model repository

    async def index(self, call: Call) -> Response:
        async with call.body(BODY_BYTES, self._service.bodies) as body:
            ready_only = metadata.decode_index_request(body)
        found = await repository_api.index(self._service, ready_only)
        return Response(200, metadata.repository_index([each for each in found if call.caller.sees(each[0], each[1])]))

    async def load(self, call: Call) -> Response:
        """From the service's repositories, or the file that the body holds; answered once it serves."""
        limit, bodies = self._service.config.limits.max_body_bytes, self._service.bodies
        # Beside a body there are the texts of its files, and then the files.
        async with call.body(limit, bodies) as body:
            with bodies.also(2 * len(body)):
                asked = await asyncio.to_thread(metadata.decode_repository_load, body, call.params["name"])
                await while_there(call, repository_api.load(self._service, call.params["name"], asked))
        return Response(200, b"{}")

    async def unload(self, call: Call) -> Response:
        async with call.body(BODY_BYTES, self._service.bodies) as body:
            metadata.decode_repository_unload(body)
        await repository_api.unload(self._service, call.params["name"])
        return Response(200, b"{}")

    # Metrics

    async def metrics(self, call: Call) -> Response:
        metrics = self._service.metrics
        await asyncio.to_thread(metrics.machine.read)
        await asyncio.to_thread(self._service.store.space.measure)
        accept = call.headers.get(b"accept", b"").decode("latin-1")
        # What is rendered is a copy, and of many models it takes long enough for others to notice.
        sees = None if call.caller.models is None else call.caller.sees
        state = metrics.state(shares=sees is None)
        body, content_type = await asyncio.to_thread(exposition.render, state, accept, sees)
        return Response(200, body, content_type.encode())

    def _status(self, call: Call) -> ModelStatus:
        return self._engine.status(call.params["name"], call.params.get("version"))

    def _described(self, call: Call) -> tuple[ModelStatus, list[str]]:
        """The model, and its versions that are ready."""
        status = repository_api.status_with_signature(self._service, call.params["name"], call.params.get("version"))
        versions = repository_api.ready_versions(self._service, status.name)
        return status, [each for each in versions if call.caller.sees(status.name, each)]
