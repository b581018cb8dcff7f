"""What keeps the shared service from ending for want of use, in its worker's eyes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import cast

import pytest

from tests.server.conftest import House
from tests.server.grpc.test_service import AUTHORIZED, INFER, STREAM, open_port, request
from workbench.server.http.h1_protocol import H1Server
from workbench.server.worker_main import _pulse, _StopRequest


@pytest.mark.parametrize("what", ["a change", "an upload"])
async def test_what_takes_long_is_use_for_as_long_as_it_lasts(house: House, what: str) -> None:
    service = house.service
    lasts: AbstractAsyncContextManager[object]
    lasts = service.engine._changing("m") if what == "a change" else nullcontext()
    pulse = asyncio.create_task(_pulse(service, cast(H1Server, None), _StopRequest(), None))
    try:
        async with lasts, asyncio.timeout(10):
            with service.persistence.receiving() if what == "an upload" else nullcontext():
                for _ in range(2):
                    service.used_at = 0.0
                    while not service.used_at:
                        await asyncio.sleep(0.01)
    finally:
        pulse.cancel()
        with suppress(asyncio.CancelledError):
            await pulse


async def test_an_inference_over_grpc_is_use(house: House) -> None:
    service = house.service
    async with open_port(house) as port:
        service.used_at = 0.0
        await port.call(INFER, request())
        assert service.used_at
        call = port.channel.stream_stream(STREAM)(metadata=AUTHORIZED)
        for _ in range(2):  # each message of a stream, not its begin alone
            service.used_at = 0.0
            await call.write(request())
            await call.read()
            assert service.used_at
        await call.done_writing()
