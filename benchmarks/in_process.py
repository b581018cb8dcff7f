"""What telemetry costs a request of the small model: `python -m benchmarks.in_process`.

The whole service in this process but for the sockets: bytes go into uvicorn's connection and come out of it, for 32
connections at once, with telemetry and without, in short interleaved turns. What counts is the CPU time of this
process, so that a busy machine disturbs little, and the median of the turns' ratios.

Without: no moments are read, nothing is noted, no request is named in its answer, and the engine's observer is null.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks.models import SMALL, save_mlp
from workbench.config import ServerConfig
from workbench.engine import Engine
from workbench.protocols.oip_json import decode_request, encode_response
from workbench.repository.store import ModelStore
from workbench.server.app import App, create_app, error_response
from workbench.server.connection import HttpConnection
from workbench.server.http import (
    JSON,
    BodyType,
    Receive,
    Scope,
    Send,
    check_body_type,
    json_length,
    read_body,
    respond,
    watch_for_leaving,
)
from workbench.server.lasting import Lasting
from workbench.server.routes_infer import split_path
from workbench.server.service import Service
from workbench.telemetry.metrics import Metrics

CONNECTIONS, REQUESTS, TURNS = 32, 1000, 150


class Plain:
    """The application's way of an inference with all that telemetry needs left out; it serves nothing else."""

    def __init__(self, app: App, service: Service) -> None:
        self._gate = app.gate
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = dict(scope["headers"])
            caller = self._gate.admit(scope, headers)
            self._service.used_at = time.monotonic()
            target = split_path(scope["path"])
            assert scope["method"] == "POST" and target is not None
            await self._infer(*target, headers, receive, send, caller)
        except Exception as error:
            response = error_response(error, b"")
            await respond(send, response.status, response.body, response.content_type)

    async def _infer(
        self, model: str, version: str | None, headers: Mapping[bytes, bytes], receive: Receive, send: Send, caller: Any
    ) -> None:
        service = self._service
        assert model and not service.draining.is_set()
        check_body_type(headers, BodyType.INFERENCE)
        caller.enter()
        held = 0
        try:
            limits = service.config.limits
            body = await read_body(receive, headers, limits.max_body_bytes, service.bodies)
            held = len(body)
            asked = model, version, body, json_length(headers), limits, service.engine.clock()
            request, answer = decode_request(*asked)
            request.abandoned = watch_for_leaving(receive)
            response = await service.engine.infer(request)
            parts, header_length = encode_response(response, answer, limits)
        finally:
            caller.leave()
            service.bodies.give_back(held)
        assert header_length is None
        await respond(send, 200, parts, JSON)


class Client(asyncio.Transport):
    """One connection's other end: sends the same request again when it was answered, until it is told to stop."""

    def __init__(self, config: uvicorn.Config, request: bytes, turn: Turn) -> None:
        super().__init__()
        self._request = request
        self._turn = turn
        self._protocol = HttpConnection(config, ServerState(), {})
        self._protocol.connection_made(self)

    def send(self) -> None:
        self._protocol.data_received(self._request)

    def write(self, data: Any) -> None:
        assert data[9:12] == b"200", bytes(data)
        if self._turn.answered():
            asyncio.get_running_loop().call_soon(self.send)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


class Turn:
    """So many requests over all connections of one side."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._left = self._open = 0

    def answered(self) -> bool:
        """True: send another."""
        if self._left > 0:
            self._left -= 1
            return True
        self._open -= 1
        if self._open == 0:
            self.over.set()
        return False

    async def take(self, clients: list[Client]) -> float:
        """CPU seconds a request."""
        self.over.clear()
        self._left, self._open = REQUESTS - len(clients), len(clients)
        began = time.process_time()
        for client in clients:
            client.send()
        await self.over.wait()
        return (time.process_time() - began) / REQUESTS


async def side(folder: Path, telemetry: bool) -> tuple[Turn, list[Client], Service]:
    """One whole service, and its connections."""
    config = ServerConfig(data_dir=folder, trial=False)
    folder.mkdir()
    store, metrics = ModelStore(folder / "models"), Metrics()
    engine = Engine(store, observer=metrics if telemetry else None)
    metrics.watch(engine.statuses)
    service = Service(engine, store, metrics, config, Lasting(config, store), starting=False)
    await engine.start()
    await engine.load("small", save_mlp(SMALL, folder / "small.onnx"))
    if telemetry:
        metrics.start()
    app: Any = create_app(service, "t" * 32)
    if not telemetry:
        app = Plain(app, service)
    loaded = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None, access_log=False)
    loaded.load()
    loaded.loaded_app = app
    turn = Turn()
    return turn, [Client(loaded, request(), turn) for _ in range(CONNECTIONS)], service


def request() -> bytes:
    row = np.random.default_rng(1).standard_normal(SMALL[0]).round(3).tolist()
    inputs = [{"name": "x", "shape": [1, SMALL[0]], "datatype": "FP32", "data": row}]
    body = json.dumps({"inputs": inputs}).encode()
    head = (
        "POST /v2/models/small/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {'t' * 32}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def measure(folder: Path) -> None:
    sides = [await side(folder / "with", True), await side(folder / "without", False)]
    costs: list[list[float]] = [[], []]
    for number in range(TURNS + 2):
        for which in (0, 1) if number % 2 else (1, 0):
            turn, clients, _ = sides[which]
            cost = await turn.take(clients)
            if number >= 2:  # the first warm up
                costs[which].append(cost)
    ratios = sorted(a / b - 1 for a, b in zip(*costs, strict=True))
    low, middle, high = (ratios[int(len(ratios) * q)] for q in (0.25, 0.5, 0.75))
    print(f"CPU a request, {CONNECTIONS} connections, no sockets, medians of {TURNS} turns of {REQUESTS}:")
    print(f"  with telemetry {statistics.median(costs[0]) * 1e6:6.1f} us")
    print(f"  without        {statistics.median(costs[1]) * 1e6:6.1f} us")
    print(f"  telemetry adds {middle:6.1%} (quartiles {low:.1%} to {high:.1%})")
    for _, _, service in sides:
        print(f"  ({service.engine.status('small').execution})")
        service.metrics.stop()
        await service.engine.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        uvloop.run(measure(Path(scratch)))
