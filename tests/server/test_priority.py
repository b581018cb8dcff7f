"""Who goes first, from the wire to the runner: the same over both protocols, and between them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.engine.fakes import FakeSession
from tests.helpers.waiting import until_async
from tests.server.conftest import SIGNATURE, open_house
from tests.server.driver import Driver, body
from tests.server.grpc.open_port import INFER, Port, open_port
from workbench.config import Limits
from workbench.core.tensor import Array

ONE_BY_ONE = {"max_batch_size": 1, "priority_levels": 4, "default_priority": 3, "priority_step_s": 60.0}


async def over_http(port: Port, value: float, priority: int) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, value]}
    sent: dict[str, Any] = {"inputs": [tensor], "parameters": {"priority": priority} if priority else {}}
    assert (await port.house.call("POST", "/v2/models/digits/infer", sent)).status == 200


async def over_grpc(port: Port, value: float, priority: int) -> None:
    message = service_pb2.ModelInferRequest(model_name="digits")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([value, value])
    if priority:
        message.parameters["priority"].int64_param = priority
    await port.call(INFER, message.SerializeToString())


@pytest.mark.parametrize("ways", [[over_http], [over_grpc], [over_http, over_grpc]], ids=["HTTP", "gRPC", "both"])
async def test_requests_are_run_by_their_priority_and_then_in_turn(tmp_path: Path, ways: list[Any]) -> None:
    ran: list[float] = []

    def noted(x: Array) -> Array:
        ran.append(float(x[0, 0]))
        return x

    session = FakeSession(noted, SIGNATURE, runner_threads=1)
    async with open_house(tmp_path, session, Limits()) as house, open_port(house) as port:
        await house.service.engine.configure("digits", ONE_BY_ONE)
        session.hold()
        ran.clear()
        calls = [asyncio.ensure_future(over_http(port, 0, 0))]
        await asyncio.to_thread(session.entered.acquire)
        # The number before the point is the level that it should be run at.
        asked = [(4.1, 4), (3.1, 0), (2.1, 2), (3.2, 99), (1.1, 1), (4.2, 4), (1.2, 1), (3.3, 3)]
        for index, (value, priority) in enumerate(asked):
            calls.append(asyncio.ensure_future(ways[index % len(ways)](port, value, priority)))
            await until_async(lambda count=index + 1: house.service.engine.status("digits").queued == count)
        session.gate.set()
        await asyncio.gather(*calls)
    np.testing.assert_allclose(ran, [0, 1.1, 1.2, 2.1, 3.1, 3.2, 3.3, 4.1, 4.2], rtol=1e-6)


async def test_the_owner_s_requests_are_run_before_those_of_a_share_that_came_first(tmp_path: Path) -> None:
    ran: list[float] = []

    def noted(x: Array) -> Array:
        ran.append(float(x[0, 0]))
        return x

    session = FakeSession(noted, SIGNATURE, runner_threads=1)
    async with open_house(tmp_path, session, Limits()) as house:
        terms = {"models": ["digits"], "label": "team-a", "show_token": True}
        share = Driver(house.app, (await house.call("POST", "/control/shares", terms)).json["token"])
        await house.service.engine.configure("digits", {"max_batch_size": 1})
        session.hold()
        ran.clear()
        calls = [asyncio.ensure_future(house.call("POST", "/v2/models/digits/infer", body(0)))]
        await asyncio.to_thread(session.entered.acquire)
        for index, value in enumerate([10, 11, 12, 13, 1, 2]):
            call = share if value >= 10 else house.call
            calls.append(asyncio.ensure_future(call("POST", "/v2/models/digits/infer", body(value))))
            await until_async(lambda count=index + 1: house.service.engine.status("digits").queued == count)
        session.gate.set()
        assert {(await each).status for each in calls} == {200}
    assert ran == [0, 1, 2, 10, 11, 12, 13]
