"""The service `inference.GRPCInferenceService`: a table of all its methods, also of those that are not served."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager

from workbench.core.model import ModelState, ModelStatus
from workbench.errors import ModelNotFound, NotFound, Unsupported
from workbench.protocols import grpc_metadata, pb
from workbench.server import repository_api
from workbench.server.audit.audit_log import Noted, Source
from workbench.server.gate.scopes import Scope
from workbench.server.grpc.infer import GrpcInference
from workbench.server.grpc.methods import CallHead, Context, Method
from workbench.server.inference import InferencePath
from workbench.server.service import Service
from workbench.server.shared_memory import NO_CUDA_REGION

_NOT_SERVED = {
    "CudaSharedMemoryRegister": "failed to register CUDA shared memory region, GPUs not supported: it is not served; "
    "send the tensors in the message, or use system shared memory",
    "TraceSetting": "trace settings are not served; send traceparent with a request, and its trace id is in the log",
    "LogSettings": "log settings are not served; they are set when the service starts",
}
"""Prefix of a method's name -> why it is not served."""


def methods(service: Service, inference: InferencePath) -> dict[str, Method]:
    served = OipServicer(service)
    infer = GrpcInference(inference)
    table = {
        "ServerLive": Method(served.live, scope=Scope.PUBLIC),
        "ServerReady": Method(served.ready, scope=Scope.PUBLIC),
        "ModelReady": Method(served.model_ready, scope=Scope.METADATA),
        "ServerMetadata": Method(served.server_metadata, scope=Scope.METADATA),
        "ModelMetadata": Method(served.model_metadata, scope=Scope.METADATA),
        "ModelInfer": Method(begin=infer.begin, scope=Scope.INFER, large=True),
        "ModelStreamInfer": Method(stream=infer.stream, scope=Scope.INFER, large=True),
        "ModelConfig": Method(served.model_config, scope=Scope.METADATA),
        "ModelStatistics": Method(served.model_statistics, scope=Scope.METADATA),
        "RepositoryIndex": Method(served.index, scope=Scope.METADATA),
        "RepositoryModelLoad": Method(served.load, action="load", large=True),
        "RepositoryModelUnload": Method(served.unload, action="unload"),
        "SystemSharedMemoryStatus": Method(served.regions),
        "SystemSharedMemoryRegister": Method(served.register),
        "SystemSharedMemoryUnregister": Method(served.unregister),
        "CudaSharedMemoryStatus": Method(served.cuda_regions),
        "CudaSharedMemoryUnregister": Method(served.cuda_unregister),
    }
    for descriptor in pb.methods():
        if descriptor.name not in table:
            table[descriptor.name] = _not_served(descriptor.name)
    return {f"/{pb.SERVICE}/{name}": method for name, method in table.items()}


class OipServicer:
    """Health, metadata and the model repository."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = service.engine

    async def live(self, head: CallHead, message: bytes, context: Context) -> bytes:
        return grpc_metadata.live(True)

    async def ready(self, head: CallHead, message: bytes, context: Context) -> bytes:
        return grpc_metadata.ready("ServerReady", self._service.ready)

    async def model_ready(self, head: CallHead, message: bytes, context: Context) -> bytes:
        """False for an unknown model, as in Triton."""
        try:
            ready = self._status("ModelReady", head, message).state is ModelState.READY
        except ModelNotFound:
            ready = False
        return grpc_metadata.ready("ModelReady", ready)

    async def server_metadata(self, head: CallHead, message: bytes, context: Context) -> bytes:
        return grpc_metadata.server_metadata(*repository_api.identity(self._service))

    async def model_metadata(self, head: CallHead, message: bytes, context: Context) -> bytes:
        status = self._with_signature("ModelMetadata", head, message)
        versions = repository_api.ready_versions(self._service, status.name)
        return grpc_metadata.model_metadata(status, [each for each in versions if head.caller.sees(status.name, each)])

    async def model_config(self, head: CallHead, message: bytes, context: Context) -> bytes:
        return grpc_metadata.model_config(self._with_signature("ModelConfig", head, message))

    async def model_statistics(self, head: CallHead, message: bytes, context: Context) -> bytes:
        """Of one version, of one model's, or of all."""
        name, version = grpc_metadata.named("ModelStatistics", message)
        if name:
            head.caller.check_model(name, version)
            version = head.caller.version or version
        found = repository_api.model_statistics(self._service, head.caller, name or None, version)
        return grpc_metadata.model_statistics(found)

    async def index(self, head: CallHead, message: bytes, context: Context) -> bytes:
        self._service.used_at = time.monotonic()
        ready_only = grpc_metadata.decode_index_request(message)
        found = await repository_api.index(self._service, ready_only)
        return grpc_metadata.repository_index([each for each in found if head.caller.sees(each[0], each[1])])

    async def load(self, head: CallHead, message: bytes, context: Context) -> bytes:
        """From the service's repositories, or the files in the message; answered once it serves."""
        self._service.used_at = time.monotonic()
        # The message is there, then its fields, and then the files.
        with self._service.bodies.also(3 * len(message)):
            name, asked = await asyncio.to_thread(grpc_metadata.decode_repository_load, message)
            async with self._noting("load", name, head, context):
                await repository_api.load(self._service, name, asked)
        return grpc_metadata.nothing("RepositoryModelLoad")

    async def unload(self, head: CallHead, message: bytes, context: Context) -> bytes:
        self._service.used_at = time.monotonic()
        name = grpc_metadata.decode_repository_unload(message)
        async with self._noting("unload", name, head, context):
            await repository_api.unload(self._service, name)
        return grpc_metadata.nothing("RepositoryModelUnload")

    async def regions(self, head: CallHead, message: bytes, context: Context) -> bytes:
        name, _ = grpc_metadata.named("SystemSharedMemoryStatus", message)
        regions = repository_api.shared_memory(self._service).regions(name or None)
        return grpc_metadata.region_statuses((each.name, each.key, each.offset, each.byte_size) for each in regions)

    async def register(self, head: CallHead, message: bytes, context: Context) -> bytes:
        asked = grpc_metadata.decode_region_registration(message)
        await asyncio.to_thread(repository_api.shared_memory(self._service).register, *asked)
        return grpc_metadata.nothing("SystemSharedMemoryRegister")

    async def unregister(self, head: CallHead, message: bytes, context: Context) -> bytes:
        name, _ = grpc_metadata.named("SystemSharedMemoryUnregister", message)
        repository_api.shared_memory(self._service).unregister(name or None)
        return grpc_metadata.nothing("SystemSharedMemoryUnregister")

    async def cuda_regions(self, head: CallHead, message: bytes, context: Context) -> bytes:
        name, _ = grpc_metadata.named("CudaSharedMemoryStatus", message)
        if name:
            raise NotFound(NO_CUDA_REGION)
        return grpc_metadata.nothing("CudaSharedMemoryStatus")

    async def cuda_unregister(self, head: CallHead, message: bytes, context: Context) -> bytes:
        return grpc_metadata.nothing("CudaSharedMemoryUnregister")

    def _noting(self, action: str, subject: str, head: CallHead, context: Context) -> AbstractAsyncContextManager[None]:
        source = Source(head.caller.name, "grpc", context.address, head.agent, head.caller.anonymous)
        return self._service.audit.noting(action, source, Noted(subject))

    def _with_signature(self, method: str, head: CallHead, message: bytes) -> ModelStatus:
        return repository_api.status_with_signature(self._service, *_named(method, head, message))

    def _status(self, method: str, head: CallHead, message: bytes) -> ModelStatus:
        return self._engine.status(*_named(method, head, message))


def _named(method: str, head: CallHead, message: bytes) -> tuple[str, str | None]:
    """(name, version) that a request asks for. Raises Forbidden where the model is not its caller's to see."""
    name, version = grpc_metadata.named(method, message)
    head.caller.check_model(name, version)
    return name, head.caller.version or version


def _not_served(name: str) -> Method:
    reason = next((why for prefix, why in _NOT_SERVED.items() if name.startswith(prefix)), "not in this version")

    async def refused(head: CallHead, message: bytes, context: Context) -> bytes:
        raise Unsupported(f"{name}: {reason}")

    return Method(refused)
