"""A share's limits hold however its requests come: ahead of their answers, on many connections, as streams."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.helpers.waiting import until_async
from tests.server.conftest import House
from tests.server.driver import Driver, answered, body, connect
from tests.server.grpc.open_port import INFER, STREAM, Port, open_port, request

SENT = json.dumps(body(1.0)).encode()


@pytest.fixture
async def port(house: House) -> AsyncIterator[Port]:
    async with open_port(house) as port:
        yield port


async def shared(house: House, **terms: Any) -> str:
    reply = await house.call(
        "POST", "/control/shares", {"models": ["digits"], "label": "a", "show_token": True, **terms}
    )
    assert reply.status == 200, reply.body
    return str(reply.json["token"])


async def sent_ahead(house: House, token: str, count: int) -> Counter[str]:
    """So many requests on one connection, all before the first answer."""
    connection, wire = connect(house.app)
    head = Driver(house.app, token).head("POST", "/v2/models/digits/infer", content_length=str(len(SENT)))
    connection.data_received((head + SENT) * count)
    while wire.written.count(b"HTTP/1.1 ") < count:
        await answered(wire)
        wire.changed.clear()
        await asyncio.sleep(0)
    connection.connection_lost(None)
    answers = bytes(wire.written).split(b"HTTP/1.1 ")[1:]
    return Counter("ok" if each.startswith(b"200") else "limited" for each in answers if each[:3] in (b"200", b"429"))


async def calls(port: Port, token: str, count: int) -> Counter[str]:
    """So many calls at once on one connection of HTTP/2."""

    async def one() -> str:
        try:
            await port.call(INFER, request(), [("authorization", f"Bearer {token}")])
        except grpc.aio.AioRpcError as error:
            return "limited" if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else error.code().name
        return "ok"

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


async def streamed(port: Port, token: str, count: int) -> Counter[str]:
    """So many messages on one gRPC stream, all before the first answer."""
    stream = port.channel.stream_stream(STREAM)(metadata=[("authorization", f"Bearer {token}")])
    for _ in range(count):
        await stream.write(request())
    await stream.done_writing()
    found = Counter[str]()
    async for message in stream:
        said = service_pb2.ModelStreamInferResponse.FromString(message).error_message
        found["limited" if "this token has" in said or "with this token are under way" in said else said or "ok"] += 1
    return found


@pytest.mark.parametrize(
    ("terms", "most"), [({"rate": "1/h"}, 1), ({"row_rate": "1/h"}, 1), ({"quota": 5}, 5), ({"row_quota": 7}, 7)]
)
async def test_a_limit_is_one_for_all_ways_and_connections(port: Port, terms: dict[str, Any], most: int) -> None:
    token = await shared(port.house, **terms)
    found = Counter[str]()
    for each in await asyncio.gather(
        *(sent_ahead(port.house, token, 4) for _ in range(3)),
        *(calls(port, token, 4) for _ in range(2)),
        *(streamed(port, token, 4) for _ in range(2)),
    ):
        found += each
    assert found == {"ok": most, "limited": 28 - most}
    (listed,) = (await port.house.call("GET", "/control/shares")).json
    assert (listed["answered"], listed["refused"], listed["in_flight"]) == (most, 28 - most, 0)


async def test_requests_under_way_are_counted_over_all_ways_and_connections(port: Port) -> None:
    token = await shared(port.house, max_in_flight=2)
    session = port.house.session
    session.gate.clear()
    held = asyncio.gather(sent_ahead(port.house, token, 3), streamed(port, token, 1))
    caller = port.house.app.gate.admit_token(None, f"Bearer {token}".encode())
    await until_async(lambda: caller.in_flight == 2)
    for each in (await calls(port, token, 3), await streamed(port, token, 2)):
        assert set(each) == {"limited"}
    assert caller.in_flight == 2
    session.gate.set()
    first, second = await held
    assert (first["ok"] + second["ok"], caller.in_flight) == (4, 0)


async def test_calls_of_a_revoked_share_that_are_not_whole_end_and_those_that_run_are_answered(port: Port) -> None:
    token = await shared(port.house)
    mine = [("authorization", f"Bearer {token}")]
    session = port.house.session
    half = port.channel.stream_unary(INFER)(metadata=mine)  # a header block, and no message yet
    assert await calls(port, token, 1) == {"ok": 1}
    session.gate.clear()
    running = asyncio.ensure_future(calls(port, token, 1))
    caller = port.house.app.gate.admit_token(None, f"Bearer {token}".encode())
    await until_async(lambda: caller.in_flight == 1)
    await port.house.call("DELETE", "/control/shares/a")
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await half
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await calls(port, token, 2) == {"UNAUTHENTICATED": 2}
    session.gate.set()
    assert await running == {"ok": 1}
