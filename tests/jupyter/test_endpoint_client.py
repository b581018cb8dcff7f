"""`workbench.connect` with a share's token through the Jupyter server: as at the service itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest

from tests.helpers.waiting import until
from tests.jupyter.conftest import Shared, eventually
from workbench.api import Workbench, connect
from workbench.client.shared_service import SharedService
from workbench.errors import Forbidden, LimitExceeded, NotFound, Unauthenticated, Unavailable

Found = TypeVar("Found")

X = np.ones((2, 4), np.float32)


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


async def teammate(shared: Shared, token: str, calls: Callable[[Workbench], Found]) -> Found:
    """What `calls` does, in a thread, as this loop is the Jupyter server's."""

    def connected() -> Found:
        with connect(shared.url, token) as wb:
            return calls(wb)

    return await asyncio.to_thread(connected)


async def test_a_teammate_connects_to_the_address_of_the_share(shared: Shared) -> None:
    def calls(wb: Workbench) -> None:
        assert np.array_equal(wb["plus"](X), X + 1)
        assert [each.name for each in wb.models()] == ["plus"]
        with pytest.raises(Forbidden):
            wb["other"](X)
        with pytest.raises(Forbidden):
            wb.unload("plus")
        with pytest.raises(Forbidden):
            wb.shares()

    await teammate(shared, shared.token, calls)


async def test_a_share_that_is_revoked_says_so_to_who_is_connected_and_to_who_comes(shared: Shared) -> None:
    share = await shared.share(label="revoked")
    loop = asyncio.get_running_loop()

    def calls(wb: Workbench) -> None:
        assert np.array_equal(wb["plus"](X), X + 1)
        asyncio.run_coroutine_threadsafe(shared.owner.revoke(share["id"]), loop).result(60)
        with pytest.raises(Unauthenticated, match=r"it was revoked, has expired.*whoever shared"):
            wb["plus"](X)

    await teammate(shared, share["token"], calls)
    with pytest.raises(Unauthenticated, match=r"it was revoked, has expired.*whoever shared"):
        await teammate(shared, share["token"], lambda wb: None)
    for each in await shared.owner.shares():
        if each.state == "holds":
            await shared.owner.revoke(each.id)

    async def closed() -> bool:
        return (await shared.call("GET", "/v2"))[0] == 404

    await eventually(closed)
    with pytest.raises(NotFound, match="whether the share still holds"):
        await teammate(shared, share["token"], lambda wb: None)


async def test_a_share_over_its_rate_is_told_when_to_come_back(shared: Shared) -> None:
    slow = (await shared.share(label="slow", rate="1/min"))["token"]

    def calls(wb: Workbench) -> LimitExceeded:
        with pytest.raises(LimitExceeded) as refused:
            for _ in range(3):
                wb["plus"](X)
        return refused.value

    assert "try again later" in (await teammate(shared, slow, calls)).message


async def test_a_service_that_restarts_answers_the_same_teammate_again(
    shared: Shared, workplace: SharedService
) -> None:
    record = workplace.record()
    assert record is not None and record.worker is not None
    killed = record.worker.pid

    def calls(wb: Workbench) -> None:
        assert np.array_equal(wb["plus"](X), X + 1)
        os.kill(killed, signal.SIGKILL)

        def answers() -> bool:
            try:
                return np.array_equal(wb["plus"](X), X + 1)
            except Unavailable:  # 503, or the connection broke off
                return False

        until(answers)

    await teammate(shared, shared.token, calls)
    again = workplace.record()
    assert again is not None and again.worker is not None and again.worker.pid != killed
