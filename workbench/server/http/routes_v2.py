"""The Open Inference Protocol but for the inference itself: health, metadata, the model repository; and `/metrics`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from workbench.core.model import ModelState, ModelStatus
from workbench.errors import StorageError, Unavailable
from workbench.protocols import metadata
from workbench.protocols.metadata import RepositoryLoad
from workbench.protocols.model_config_body import triton_config
from workbench.protocols.statistics_body import statistics_body
from workbench.server.gate.scopes import Scope
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route, while_there
from workbench.server.service import VERSION, Service
from workbench.telemetry import exposition
from workbench.telemetry.statistics import statistics

log = logging.getLogger("workbench.server")


def routes(service: Service) -> list[Route]:
    protocol = ProtocolRoutes(service)
    found = [
        Route("GET", "/v2/health/live", protocol.live, Scope.PUBLIC),
        Route("GET", "/v2/health/ready", protocol.ready, Scope.PUBLIC),
        Route("GET", "/v2", protocol.server_metadata, Scope.READ),
        Route("GET", "/v2/models/stats", protocol.statistics, Scope.READ),  # before the model that may have this name
        Route("POST", "/v2/repository/index", protocol.index, Scope.READ),
        Route("POST", "/v2/repository/models/{name}/load", protocol.load),
        Route("POST", "/v2/repository/models/{name}/unload", protocol.unload),
        Route("GET", "/metrics", protocol.metrics, Scope.METRICS),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found.append(Route("GET", model, protocol.model_metadata, Scope.READ))
        found.append(Route("GET", f"{model}/ready", protocol.model_ready, Scope.READ))
        found.append(Route("GET", f"{model}/config", protocol.model_config, Scope.READ))
        found.append(Route("GET", f"{model}/stats", protocol.statistics, Scope.READ))
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
        more = ["system_shared_memory"] if self._service.shared is not None else []
        return Response(200, metadata.server_metadata(VERSION, *more))

    async def model_metadata(self, call: Call) -> Response:
        status = self._with_signature(call)
        return Response(200, metadata.model_metadata(status, self._ready_versions(status)))

    async def model_config(self, call: Call) -> Response:
        status = self._with_signature(call)
        return Response(200, msgspec.json.encode(triton_config(status, self._ready_versions(status))))

    async def statistics(self, call: Call) -> Response:
        """Of one version, of all of one model's, or of all models."""
        name, version = call.params.get("name"), call.params.get("version")
        if name is not None:
            self._engine.status(name, version)  # ModelNotFound
        return Response(200, statistics_body(statistics(self._service.metrics.state(), name, version)))

    # The model repository

    async def index(self, call: Call) -> Response:
        async with self._body(call) as body:
            ready_only = metadata.decode_index_request(body)
        statuses = self._engine.statuses()
        available = [] if ready_only else await asyncio.to_thread(self._engine.available)
        return Response(200, metadata.repository_index(index_entries(statuses, available, ready_only)))

    async def load(self, call: Call) -> Response:
        """From the service's repositories, or the file that the body holds; answered once it serves."""
        try:
            async with self._body(call) as body:
                asked = await asyncio.to_thread(metadata.decode_repository_load, body)
                await while_there(call, load_sent(self._service, call.params["name"], asked))
        finally:
            await self._service.persistence.tidy(self._engine)
        return Response(200, b"{}")

    async def unload(self, call: Call) -> Response:
        async with self._body(call) as body:
            metadata.decode_repository_unload(body)
        await self._engine.unload(call.params["name"])
        await self._service.persistence.tidy(self._engine)
        return Response(200, b"{}")

    # Metrics

    async def metrics(self, call: Call) -> Response:
        metrics = self._service.metrics
        await asyncio.to_thread(metrics.machine.read)
        accept = call.headers.get(b"accept", b"").decode("latin-1")
        # What is rendered is a copy, and of many models it takes long enough for others to notice.
        body, content_type = await asyncio.to_thread(exposition.render, metrics.state(), accept)
        return Response(200, body, content_type.encode())

    def _body(self, call: Call) -> AbstractAsyncContextManager[bytes]:
        return call.body(self._service.config.limits.max_body_bytes, self._service.bodies)

    def _status(self, call: Call) -> ModelStatus:
        return self._engine.status(call.params["name"], call.params.get("version"))

    def _with_signature(self, call: Call) -> ModelStatus:
        status = self._status(call)
        if status.signature is None:
            reason = f": {status.reason}" if status.reason else ""
            raise Unavailable(f"model {status.name!r} version {status.version} is {status.state.value}{reason}")
        return status

    def _ready_versions(self, status: ModelStatus) -> list[str]:
        return [each.version for each in self._engine.statuses(status.name) if each.state is ModelState.READY]


async def load_sent(service: Service, name: str, asked: RepositoryLoad) -> None:
    """Load what a repository load asks for; a model with files beside it by way of a folder that is gone again then."""
    for note in asked.notes:
        log.warning("the configuration sent for model %s: %s", name, note)
    if asked.model is None or not asked.beside:
        await service.engine.load(name, asked.model, asked.settings)
    else:
        folder = await asyncio.to_thread(
            _written, service.config.data_dir, {asked.model_file: asked.model, **asked.beside}
        )
        try:
            await service.engine.load(name, Path(folder.name) / asked.model_file, asked.settings)
        finally:
            await asyncio.to_thread(folder.cleanup)
    service.engine.note(name, [f"the config sent with its load: {note}" for note in asked.notes])


def _written(data_dir: Path, files: Mapping[str, bytes]) -> TemporaryDirectory[str]:
    try:
        folder = TemporaryDirectory(dir=data_dir, prefix="sent-", ignore_cleanup_errors=True)
        for name, content in files.items():
            (Path(folder.name) / name).write_bytes(content)
    except OSError as error:
        raise StorageError(f"the files that were sent cannot be written ({error.strerror})") from None
    return folder


def index_entries(
    statuses: Sequence[ModelStatus], available: Sequence[tuple[str, str]], ready_only: bool
) -> list[tuple[str, str, str, str]]:
    """(name, version, state, reason) of what is known and of what lies in the repositories, in Triton's words."""
    entries = {
        (status.name, status.version): (_STATES[status.state], status.reason)
        for status in statuses
        if status.state is ModelState.READY or not ready_only
    }
    for key in available:
        entries.setdefault(key, ("UNAVAILABLE", "not loaded"))
    return [(*key, *entries[key]) for key in sorted(entries, key=lambda key: (key[0], int(key[1])))]


_STATES = {
    ModelState.LOADING: "LOADING",
    ModelState.WARMING: "LOADING",
    ModelState.READY: "READY",
    ModelState.DRAINING: "UNLOADING",
    ModelState.GONE: "UNAVAILABLE",
    ModelState.FAILED: "UNAVAILABLE",
}
