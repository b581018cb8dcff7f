"""What telemetry costs a request of the small model: `python -m benchmarks.in_process`.

The whole service in this process but for the sockets: bytes go into a Connection and come out of it, for 32
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
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from benchmarks.models import SMALL, save_mlp
from workbench.config import ServerConfig
from workbench.core.messages import InferResponse
from workbench.engine import Engine
from workbench.errors import WorkbenchError
from workbench.protocols.oip_json import AnswerFormat, encode_response
from workbench.repository.store import ModelStore
from workbench.server.http.app import create_app
from workbench.server.http.h1_connection import Exchange, H1Connection
from workbench.server.http.h1_server import H1Server
from workbench.server.http.routes_infer import InferHead
from workbench.server.persistence import ModelPersistence
from workbench.server.service import Service
from workbench.telemetry.metrics import Metrics

CONNECTIONS, REQUESTS, TURNS = 32, 1000, 150


class Plain:
    """A known head whose inferences go the way with all that telemetry needs left out."""

    def __init__(self, head: InferHead) -> None:
        self.inference, self.codec, self.caller, self.body_bytes = (
            head.inference,
            head.codec,
            head.caller,
            head.body_bytes,
        )

    def begin(self, connection: H1Connection, body: bytes) -> Quiet:
        inference = self.inference
        inference.service.used_at = now = time.monotonic()
        assert not inference.draining.is_set()
        self.caller.enter(now)
        inference.bodies.take(len(body))
        request, answer = self.codec.decode(body, inference.clock(), None)
        quiet = Quiet(self, answer, len(body), connection)
        inference.engine.submit(request, quiet)
        return quiet

    def open(self, connection: H1Connection) -> Exchange:
        raise AssertionError("each request comes whole")

    def answer(self, quiet: Quiet, response: InferResponse) -> None:
        body, _ = encode_response(response, quiet.answer, self.inference.limits)
        assert isinstance(body, bytes)
        self.caller.leave()
        self.inference.bodies.give_back(quiet.held)
        quiet.connection.reply(200, b"content-type: application/json\r\n", (body,))


class Quiet(msgspec.Struct, gc=False):
    """A completion about which nothing is noted."""

    head: Plain
    answer: AnswerFormat
    held: int
    connection: H1Connection

    def done(self) -> bool:
        return False

    def set_result(self, result: InferResponse) -> None:
        self.head.answer(self, result)

    def set_exception(self, exception: WorkbenchError) -> None:
        raise exception

    def disconnected(self) -> None: ...


class Client(asyncio.Transport):
    """One connection's other end: sends the same request again when it was answered, until it is told to stop."""

    def __init__(self, server: H1Server, request: bytes, turn: Turn) -> None:
        super().__init__()
        self._request = request
        self._turn = turn
        place = server.caps.take("127.0.0.1")
        assert place is not None
        self._protocol = H1Connection(server, place)
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
    service = Service(engine, store, metrics, config, ModelPersistence(config, store), starting=False)
    await engine.start()
    await engine.load("small", save_mlp(SMALL, folder / "small.onnx"))
    if telemetry:
        metrics.start()
    app = create_app(service, "t" * 32)
    turn = Turn()
    server = H1Server(app, service.connections, service.unread)
    clients = [Client(server, request(), turn) for _ in range(CONNECTIONS)]
    await turn.take(clients)
    if not telemetry:
        heads = app.infer.heads
        for raw, head in heads.items():
            heads[raw] = Plain(head)  # type: ignore[assignment]
    return turn, clients, service


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
