"""A client that leaves, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from tests import models
from tests.helpers.waiting import until_async
from tests.server.conftest import TOKEN
from tests.server.listening import REQUEST, listening
from workbench.core.model import ModelState
from workbench.core.ports import Outcome

REPOSITORY_LOAD = "/v2/repository/models/other/load"


def test_a_client_that_left_is_dropped_and_its_batch_mates_are_served(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_leave(tmp_path))


async def _leave(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        house, session = at.house, at.house.session
        session.hold()
        first, *waiting = [await asyncio.open_connection(*at.address) for _ in range(4)]
        first[1].write(REQUEST)
        await asyncio.to_thread(session.entered.acquire)  # the only runner is busy now
        for _, writer in waiting:
            writer.write(REQUEST)
        await until_async(lambda: house.service.engine.status("digits").queued == 3)

        leaving = waiting[1][1]
        leaving.close()
        await leaving.wait_closed()
        await until_async(lambda: len(at.server.connections) == 3)
        session.gate.set()

        for reader, writer in (first, waiting[0], waiting[2]):
            assert b" 200 " in await reader.readline()
            writer.close()
            await writer.wait_closed()
        assert session.batches == [1, 2]
        outcomes = house.service.metrics.state().figures["digits", "1"].outcomes
        assert outcomes[Outcome.OK] == 3
        assert outcomes[Outcome.CANCELLED] == 1


@pytest.mark.parametrize("route", ["/control/models/other/load", "/control/models/other/stage", REPOSITORY_LOAD])
def test_a_load_ends_with_its_caller(runner: asyncio.Runner, tmp_path: Path, route: str) -> None:
    runner.run(_leave_a_load(tmp_path, route))


async def _leave_a_load(tmp_path: Path, route: str) -> None:
    path = models.save(models.identity(shape=("batch", 2)), tmp_path / "other.onnx")
    body, kind = json.dumps({"path": str(path)}).encode(), "application/json"
    if route.endswith("/stage"):
        body, kind = path.read_bytes(), "application/octet-stream"
    elif route == REPOSITORY_LOAD:
        sent = base64.b64encode(path.read_bytes()).decode()
        body = json.dumps({"parameters": {"file:1/model.onnx": sent}}).encode()
    head = (
        f"POST {route} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    async with listening(tmp_path) as at:
        engine, session = at.house.service.engine, at.house.session
        session.hold()
        _, writer = await asyncio.open_connection(*at.address)
        writer.write(head.encode() + body)
        await asyncio.to_thread(session.entered.acquire)  # it is being warmed up
        assert [status.state for status in engine.statuses("other")] == [ModelState.WARMING]
        writer.close()
        await writer.wait_closed()
        await until_async(lambda: not engine.statuses("other"))
        session.gate.set()
        assert await asyncio.to_thread(session.gone.wait, 30)
        assert engine.status("digits").state is ModelState.READY
