"""The service of `open_house` behind the real uvicorn on a real socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from tests.engine.fakes import FakeSession
from tests.server.conftest import LIMITS, TOKEN, House, open_house
from workbench.config import Limits
from workbench.server.http.h1_protocol import HttpConnection
from workbench.server.process.startup import bind
from workbench.server.worker_main import _Server

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}).encode()
REQUEST = (
    b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (TOKEN.encode(), len(BODY), BODY)
)


@dataclass
class Listening:
    address: tuple[str, int]
    server: uvicorn.Server
    house: House


@asynccontextmanager
async def listening(
    tmp_path: Path, session: FakeSession | None = None, limits: Limits = LIMITS
) -> AsyncIterator[Listening]:
    async with open_house(tmp_path, session, limits) as house:
        listener = bind("127.0.0.1", 0)
        address = listener.getsockname()
        config = uvicorn.Config(
            house.app,
            interface="asgi3",
            http=HttpConnection,
            proxy_headers=False,
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
