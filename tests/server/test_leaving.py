"""A client that leaves, over a real socket, through the real uvicorn."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
import uvloop

from tests.server.conftest import TOKEN, House, open_house
from workbench.core.ports import Outcome
from workbench.server.serve import _Server, bind

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}).encode()
REQUEST = (
    b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (TOKEN.encode(), len(BODY), BODY)
)


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@dataclass
class Listening:
    address: tuple[str, int]
    server: uvicorn.Server
    house: House


@asynccontextmanager
async def listening(tmp_path: Path) -> AsyncIterator[Listening]:
    async with open_house(tmp_path) as house:
        listener = bind("127.0.0.1", 0)
        address = listener.getsockname()
        config = uvicorn.Config(
            house.app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        server = _Server(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield Listening(address, server, house)
        finally:
            house.session.gate.set()
            server.should_exit = True
            await serving


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


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
        await until(lambda: house.service.engine.status("digits").queued == 3)

        leaving = waiting[1][1]
        leaving.close()
        await leaving.wait_closed()
        await until(lambda: len(at.server.server_state.connections) == 3)
        session.gate.set()

        for reader, writer in (first, waiting[0], waiting[2]):
            assert b" 200 " in await reader.readline()
            writer.close()
            await writer.wait_closed()
        assert session.batches == [1, 2]
        outcomes = house.service.metrics.state().figures["digits", "1"].outcomes
        assert outcomes[Outcome.OK] == 3
        assert outcomes[Outcome.CANCELLED] == 1


def test_an_answer_leaves_at_once_on_a_socket_without_nagle(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_ask(tmp_path))


async def _ask(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(REQUEST)
        assert b" 200 " in await reader.readline()
        (connection,) = at.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await writer.wait_closed()
