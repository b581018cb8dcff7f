"""What keeps the shared service from ending for want of use, in its worker's eyes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import cast

import pytest

from tests.server.conftest import House
from workbench.server.worker_main import _pulse, _Server, _StopRequest


@pytest.mark.parametrize("what", ["a change", "an upload"])
async def test_what_takes_long_is_use_for_as_long_as_it_lasts(house: House, what: str) -> None:
    service = house.service
    lasts: AbstractAsyncContextManager[object]
    lasts = service.engine._changing("m") if what == "a change" else nullcontext()
    pulse = asyncio.create_task(_pulse(service, cast(_Server, None), _StopRequest(), None))
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
