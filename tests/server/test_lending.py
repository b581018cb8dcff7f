"""Settings lent over a connection end with it, however it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.helpers.waiting import until_async
from tests.server.conftest import House
from tests.server.driver import connect
from workbench.api import Workbench
from workbench.client.client import AsyncClient
from workbench.client.shared_service import Address
from workbench.server.inference import SHUTTING_DOWN


async def test_they_hold_until_the_caller_leaves(house: House) -> None:
    before = house.service.engine.status("digits").config
    connection, wire = connect(house.app)
    sent = b'{"max_queue_size": 7}'
    head = house.call.head(
        "POST", "/control/models/digits/lend", content_type="application/json", content_length=str(len(sent))
    )
    connection.data_received(head + sent)
    await until_async(lambda: b"\n{" in wire.written)
    first = json.loads(bytes(wire.written).split(b"\r\n")[-2])
    assert first["model"]["config"]["max_queue_size"] == 7
    assert house.service.engine.status("digits").config.max_queue_size == 7
    assert (await house.call("POST", "/control/models/digits/set", {"max_queue_size": 9})).status == 409
    connection.connection_lost(None)
    await until_async(lambda: not house.app._tasks)
    assert house.service.engine.status("digits").config == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("digits", {"device": "cpu", "batching": "never"}, 400),
        ("digits", {"nonsense": 1}, 400),
        ("nobody", {"max_queue_size": 7}, 404),
    ],
)
async def test_what_cannot_be_lent_is_refused(house: House, path: str, body: dict[str, Any], status: int) -> None:
    assert (await house.call("POST", f"/control/models/{path}/lend", body)).status == status
    assert (await house.stranger("POST", f"/control/models/{path}/lend", body)).status == 401


async def test_nothing_is_lent_by_a_service_that_is_about_to_end(house: House) -> None:
    house.service.draining.set()
    answer = await house.call("POST", "/control/models/digits/lend", {"max_queue_size": 7})
    assert (answer.status, answer.error) == (503, SHUTTING_DOWN)


BORROWER = """
import asyncio, sys
from workbench.client.client import AsyncClient

async def main():
    async with AsyncClient(sys.argv[1], sys.argv[2]) as client, client.lend("m", {"max_batch_size": 3}):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_borrower_who_is_killed_gives_them_back(service: Address, wb: Workbench) -> None:
    X = np.arange(40, dtype=np.float32).reshape(10, 4)
    await asyncio.to_thread(wb.load, "m", LogisticRegression().fit(X, np.arange(10) % 2))
    assert service.token is not None
    async with AsyncClient(service.url, service.token) as client:
        before = (await client.status("m")).config
        borrower = subprocess.Popen(
            [sys.executable, "-c", BORROWER, service.url, service.token], stdout=subprocess.PIPE
        )
        assert borrower.stdout is not None
        assert await asyncio.to_thread(borrower.stdout.readline) == b"held\n"
        assert (await client.status("m")).config.max_batch_size == 3
        borrower.kill()
        async with asyncio.timeout(30), aclosing(client.snapshots(0.1)) as ticks:
            async for _ in ticks:  # a look a tick, until it is so
                if (await client.status("m")).config == before:
                    break
        borrower.communicate()
