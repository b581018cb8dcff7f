"""The gRPC port of `open_house`, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.server.conftest import TOKEN, House
from workbench.protocols import pb
from workbench.protocols.status_codes import GRPC_CODE_KEY
from workbench.server.gate.auth import Caller
from workbench.server.grpc.listener import GrpcServer
from workbench.server.process.startup import bind, grpc_address

STREAM = f"/{pb.SERVICE}/ModelStreamInfer"
INFER = f"/{pb.SERVICE}/ModelInfer"
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)


@dataclass
class Port:
    house: House
    server: GrpcServer
    channel: grpc.aio.Channel
    address: str

    @property
    def caller(self) -> Caller:
        """The owner of the token."""
        return self.house.app.gate.admit_token(None, f"Bearer {TOKEN}".encode())

    def call(
        self,
        method: str,
        message: bytes = b"",
        metadata: Sequence[tuple[str, str]] = AUTHORIZED,
        timeout: float = 20.0,
    ) -> Any:
        """One message each way, as bytes."""
        return self.channel.unary_unary(method)(message, metadata=metadata, timeout=timeout)

    async def fails(self, method: str, message: bytes = b"", **call: Any) -> tuple[str, str, str]:
        """(status, code, message) of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await self.call(method, message, **call)
        code = dict(failed.value.trailing_metadata() or ()).get(GRPC_CODE_KEY, "")
        return failed.value.code().name, str(code), str(failed.value.details())


@asynccontextmanager
async def open_port(house: House, host: str = "127.0.0.1") -> AsyncIterator[Port]:
    server = GrpcServer(house.app.inference, house.app.gate)
    listener = bind(host, 0)
    await server.start(listener)
    try:
        address = grpc_address(host, listener)
        async with grpc.aio.insecure_channel(address) as channel:
            yield Port(house, server, channel, address)
    finally:
        house.session.gate.set()
        await server.leave(last=True)
        await server.stop(0)


def request(rows: int = 1, model: str = "digits", **changes: Any) -> bytes:
    message = service_pb2.ModelInferRequest(model_name=model, **changes)
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    message.raw_input_contents.append(np.ones((rows, 2), np.float32).tobytes())
    return bytes(message.SerializeToString())
