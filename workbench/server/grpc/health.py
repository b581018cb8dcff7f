"""The standard services beside the protocol's own: `grpc.health.v1.Health`, and reflection for tools like grpcurl."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from functools import cache
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from workbench.core.model import ModelState
from workbench.errors import Draining, ModelNotFound, NotFound, Unauthenticated
from workbench.protocols import pb
from workbench.protocols.oip_grpc import parse
from workbench.server.gate.scopes import Scope
from workbench.server.grpc.methods import CallHead, Context, Method
from workbench.server.inference import SHUTTING_DOWN
from workbench.server.service import Service

HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

LOOK_EVERY_S = 0.5
"""How often a watcher looks, beside at every change of a model: nothing tells that the service is ready."""


def methods(service: Service) -> dict[str, Method]:
    health = Health(service)
    return {
        f"/{HEALTH}/Check": Method(health.check, scope=Scope.PUBLIC),
        f"/{HEALTH}/Watch": Method(watch=health.watch, scope=Scope.PUBLIC),
        f"/{REFLECTION}/ServerReflectionInfo": Method(stream=Reflection().info, scope=Scope.READ),
    }


class Health:
    """The service as a whole under "" and its name; with the token also each model under its own name."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def check(self, head: CallHead, message: bytes, context: Context) -> bytes:
        name = self._name(head, message)
        status = self._status(name, head.caller.version)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            raise NotFound(f"no model {name[:128]!r} is loaded, and no service has that name")
        return _answer(status)

    async def watch(self, head: CallHead, message: bytes, context: Context) -> AsyncGenerator[bytes, None]:
        """The status now, and each time that it has changed, until the caller leaves or the service ends."""
        name = self._name(head, message)
        changes = self._service.metrics.changes
        with head.caller.watching():
            told = None
            while not self._service.draining.is_set():
                head.caller.check_time()
                seen = changes.count
                if (status := self._status(name, head.caller.version)) != told:
                    told = status
                    yield _answer(status)
                # Not wait_for, which in Python 3.11 can swallow the cancellation of a caller who left.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await changes.beyond(seen)
            if told != health_pb2.HealthCheckResponse.NOT_SERVING:
                yield _answer(health_pb2.HealthCheckResponse.NOT_SERVING)
            raise Draining(SHUTTING_DOWN)

    def _name(self, head: CallHead, message: bytes) -> str:
        name = str(parse(health_pb2.HealthCheckRequest, message).service)
        if name not in ("", pb.SERVICE, HEALTH):
            if Scope.METADATA not in head.caller.scopes:
                raise Unauthenticated("a model's health needs the service's token: send authorization: Bearer TOKEN")
            head.caller.check_model(name)
        return name

    def _status(self, name: str, version: str | None) -> int:
        response = health_pb2.HealthCheckResponse
        if name in ("", pb.SERVICE, HEALTH):
            ready = self._service.ready
        else:
            try:
                ready = self._service.engine.status(name, version).state is ModelState.READY
            except ModelNotFound:
                return int(response.SERVICE_UNKNOWN)
        return int(response.SERVING if ready else response.NOT_SERVING)


class Reflection:
    """The descriptors of everything that is served here."""

    def __init__(self) -> None:
        for module in (health_pb2, reflection_pb2):
            pb.POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)

    async def info(
        self, head: CallHead, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncGenerator[bytes, None]:
        async def requests() -> AsyncIterator[object]:
            async for message in messages:
                yield parse(reflection_pb2.ServerReflectionRequest, message)

        servicer = await asyncio.to_thread(_servicer)
        async for answer in servicer.ServerReflectionInfo(requests(), context):
            yield answer.SerializeToString()


@cache
def _servicer() -> Any:
    # Imports all of grpc, a tenth of a second and 15 MB, for what a tool asks now and then.
    from grpc_reflection.v1alpha import reflection

    return reflection.aio.ReflectionServicer((pb.SERVICE, HEALTH, REFLECTION), pb.POOL)


def _answer(status: int) -> bytes:
    return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())
