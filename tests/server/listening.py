"""The service of `open_house` on a real socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engine.fakes import FakeSession
from tests.helpers.waiting import until_async
from tests.server.conftest import LIMITS, TOKEN, House, open_house
from workbench.config import Limits
from workbench.server.http.h1_connection import ConnectionLimits
from workbench.server.http.h1_server import H1Server
from workbench.server.process.startup import bind

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}).encode()
REQUEST = (
    b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (TOKEN.encode(), len(BODY), BODY)
)


@dataclass
class Listening:
    address: tuple[str, int]
    server: H1Server
    house: House


@asynccontextmanager
async def listening(
    tmp_path: Path,
    session: FakeSession | None = None,
    limits: Limits = LIMITS,
    connection_limits: ConnectionLimits | None = None,
) -> AsyncIterator[Listening]:
    async with open_house(tmp_path, session, limits) as house:
        listener = bind("127.0.0.1", 0)
        address = listener.getsockname()
        server = H1Server(house.app, house.service.connections, house.service.unread, connection_limits)
        serving = asyncio.ensure_future(server.serve(listener, 5))
        await until_async(lambda: server.started)
        try:
            yield Listening(address, server, house)
        finally:
            house.session.gate.set()
            server.stop()
            await serving
