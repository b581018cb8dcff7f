"""The messages of Triton's published gRPC interface, in a descriptor pool of their own.

A process may also have imported tritonclient, which registers the same package `inference` in the default pool; a
second registration there fails. `descriptors.binpb` is `grpc_service.proto` and `model_config.proto`, compiled:

    python -m grpc_tools.protoc -I. --descriptor_set_out=descriptors.binpb grpc_service.proto model_config.proto
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE: Final = "inference.GRPCInferenceService"


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(Path(__file__).with_name("descriptors.binpb").read_bytes()).file:
        pool.Add(file)
    return pool


POOL: Final = _pool()


def message(name: str) -> Any:
    """The class of a message of the package `inference`."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


def methods() -> list[Any]:
    """The descriptors of the service's methods, in the order published."""
    return list(POOL.FindServiceByName(SERVICE).methods)
