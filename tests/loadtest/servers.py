"""Servers of which the truth is known: HTTP answers after a set delay, from a process of its own that keeps its times.

    python -m tests.loadtest.servers '{"delays_s": [0.01]}'      prints its port, serves until its stdin ends

At its end it prints how late its latest delayed answer was, in seconds.
It speaks just so much of the Open Inference Protocol that a load test finds a model `m` with one input of any rows.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import uvloop

from workbench.loadtest.generator.precise_timer import precise_timer

METADATA = {
    "name": "m",
    "versions": ["1"],
    "platform": "made up",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
}
ROUTES = {
    b"GET /v2 ": {"name": "known", "version": "1", "extensions": ["binary_tensor_data"]},
    b"GET /v2/models/m ": METADATA,
}
INFERENCE = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}],
}


@dataclass(frozen=True)
class Script:
    """How inferences are answered."""

    delays_s: tuple[float, ...] = (0.0,)
    """In turn. A delay begins when the request is read."""
    freeze_every_s: float = 0.0
    """From the first inference on, so often nothing is answered for `freeze_s`; 0: never."""
    freeze_s: float = 0.0
    statuses: tuple[int, ...] = (200,)
    """In turn."""
    close_every: int = 0
    """Every so many answers say that the connection closes; 0: never."""
    break_after: int = 0
    """From this many requests on connections are reset without an answer; 0: never."""
    hang_after: int = 0
    """From this many requests on nothing is answered; 0: never."""
    style: str = "plain"
    """"plain", "chunked", or "until end"."""
    counts: bool = False
    """Every tenth inference is told, for `Process.answered`."""
    work_s: float = 0.0
    """Of the processor, for each inference: what makes a server saturate."""


class Known(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[: end + 4].lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            request, self._data = self._data[: end + 4], self._data[end + 4 + length :]
            self._server.asked(self, request)


class Server:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._asked = 0
        self._first_s = 0.0
        self.late_s = 0.0
        """How late the latest delayed answer was: the machine was busy with other work."""

    def asked(self, connection: Known, head: bytes) -> None:
        path = head[: head.index(b"HTTP/")]
        if not path.startswith(b"POST"):
            found = ROUTES.get(path)
            self._write(connection, 200 if found else 404, found or {"error": "there is no such thing"}, "plain", False)
            return
        script, loop = self._script, asyncio.get_running_loop()
        number, self._asked = self._asked, self._asked + 1
        if script.counts and self._asked % 10 == 0:
            print(self._asked, flush=True)
        now_s = time.monotonic()
        self._first_s = self._first_s or now_s
        if script.break_after and number >= script.break_after:
            connection.transport.abort()
            return
        if script.hang_after and number >= script.hang_after:
            return
        at_s = now_s + script.delays_s[number % len(script.delays_s)]
        if script.freeze_every_s:
            into_s = (now_s - self._first_s) % script.freeze_every_s
            if into_s > script.freeze_every_s - script.freeze_s:
                at_s = max(at_s, now_s - into_s + script.freeze_every_s)
        if script.work_s:
            while time.monotonic() < now_s + script.work_s:
                pass
        status = script.statuses[number % len(script.statuses)]
        body = INFERENCE if status == 200 else {"error": f"made to answer {status}"}
        closes = bool(script.close_every) and number % script.close_every == script.close_every - 1

        def answer() -> None:
            self._write(connection, status, body, script.style, closes)

        if at_s <= now_s:
            answer()
            return

        def ring() -> None:
            due.close()
            self.late_s = max(self.late_s, time.monotonic() - at_s)
            answer()

        due = precise_timer(loop, ring)
        due.set(at_s)

    def _write(self, connection: Known, status: int, body: object, style: str, closes: bool) -> None:
        if connection.transport.is_closing():
            return  # who asked has given up
        data = json.dumps(body).encode()
        close = "Connection: close\r\n" if closes or style == "until end" else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{close}"
        if style == "chunked":
            whole = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        elif style == "until end":
            whole = f"{head}\r\n".encode() + data
        else:
            whole = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
        connection.transport.write(whole)
        if close:
            connection.transport.close()


def begun(module: str, settings: dict[str, Any]) -> tuple[subprocess.Popen[str], str]:
    """`python -m module` with its settings as JSON, which prints its port first; and the URL that it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{int(process.stdout.readline())}"


class Process:
    """A server in a process of its own; `url` is where. End it with `with`."""

    def __init__(self, script: Script) -> None:
        self._process, self.url = begun("tests.loadtest.servers", asdict(script))

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def late_s(self) -> float:
        """End it; how late its latest delayed answer was."""
        said, _ = self._process.communicate()
        return float(said.split()[-1])

    def answered(self, count: int) -> None:
        """Wait until so many inferences were asked for; its script says `counts`."""
        assert self._process.stdout is not None
        while int(self._process.stdout.readline()) < count:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.communicate()


async def serve(script: Script) -> None:
    server = Server(script)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Known(server), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(server.late_s, flush=True)


if __name__ == "__main__":
    found: dict[str, Any] = json.loads(sys.argv[1])
    uvloop.run(serve(Script(**found)))
