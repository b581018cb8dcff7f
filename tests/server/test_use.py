"""What keeps the shared service from ending for want of use, in its worker's eyes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import cast

import pytest

from tests.helpers.waiting import until_async
from tests.server.conftest import House
from tests.server.grpc.open_port import AUTHORIZED, STREAM, open_port, request
from workbench.server.http.h1_server import H1Server
from workbench.server.worker_main import _pulse, _StopRequest


@pytest.mark.parametrize("what", ["a change", "an upload"])
async def test_what_takes_long_is_use_for_as_long_as_it_lasts(house: House, what: str) -> None:
    service = house.service
    lasts: AbstractAsyncContextManager[object]
    lasts = service.engine._changes.changing("m") if what == "a change" else nullcontext()
    pulse = asyncio.create_task(_pulse(service, cast(H1Server, None), _StopRequest(), None))
    try:
        async with lasts:
            with service.persistence.receiving() if what == "an upload" else nullcontext():
                for _ in range(2):
                    service.used_at = 0.0
                    await until_async(lambda: service.used_at)
    finally:
        pulse.cancel()
        with suppress(asyncio.CancelledError):
            await pulse


async def test_each_message_of_a_stream_is_use(house: House) -> None:
    async with open_port(house) as port:
        call = port.channel.stream_stream(STREAM)(metadata=AUTHORIZED)
        for _ in range(2):
            house.service.used_at = 0.0
            await call.write(request())
            await call.read()
            assert house.service.used_at
        await call.done_writing()
