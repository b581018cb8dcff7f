"""Callers who did nothing, in a process of their own so that an attack of Python code cannot slow them down.

`python -m tests.security.bystander_process` reads a `Target` as a line of JSON, and calls the service evenly until its
stdin ends. Each further line ends a span: once all calls that were due in it are answered, it is written as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import psutil

GIVE_UP_S = 10.0
"""A call that is not answered by then is a wrong one."""
LOOK_EVERY_S = 0.02

REQUEST = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}'
RIGHT = b'"data":[2.0,3.0,4.0,5.0]'
"""What "plus" answers to it."""
METHOD = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Target:
    http: str
    """host:port"""
    grpc: str
    token: str
    pid: int
    """Of the worker, whose memory is looked at."""
    grpc_request: str
    """A ModelInferRequest in hex."""
    grpc_right: str
    """What an answer to it must hold, in hex."""
    every_s: float = 0.05
    ca_file: str = ""
    """PEM with the authority of a service with TLS, which is called as localhost; empty: it has none."""


@dataclass(slots=True)
class Span:
    """What was seen in one span of time."""

    latency_s: dict[str, list[float]] = field(default_factory=dict)
    """By kind of call, each from the moment at which the call was due."""
    wrong: list[str] = field(default_factory=list)
    """What was no right answer, the first ones."""
    wrongs: int = 0
    peak_bytes: int = 0
    """The worker's memory at its highest."""


class Bystanders:
    """Calls over kept and over new connections, over HTTP and gRPC. A call that is late is due all the same."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._span = Span()
        self._due: dict[str, float] = {}
        """When the next call of each kind is due."""
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._tls: ssl.SSLContext | None = None
        self._credentials: grpc.ChannelCredentials | None = None
        if target.ca_file:
            self._tls = ssl.create_default_context(cafile=target.ca_file)
            self._credentials = grpc.ssl_channel_credentials(Path(target.ca_file).read_bytes())
        self._channel = self._new_channel()

    async def run(self) -> None:
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "HTTP": self._http_kept,
            "HTTP, new connection": self._http_new,
            "gRPC": self._grpc_kept,
            "gRPC, new connection": self._grpc_new,
        }
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._look())]
            tasks += [group.create_task(self._call(kind, ask)) for kind, ask in kinds.items()]
            while await asyncio.to_thread(sys.stdin.readline):
                end = time.monotonic()
                while min(self._due.values(), default=0.0) < end:
                    await asyncio.sleep(LOOK_EVERY_S)
                span, self._span = self._span, Span()
                print(json.dumps(asdict(span)), flush=True)
            for task in tasks:
                task.cancel()

    async def _call(self, kind: str, ask: Callable[[], Awaitable[None]]) -> None:
        due = time.monotonic()
        while True:
            self._due[kind] = due
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            wrong = ""
            try:
                async with asyncio.timeout(GIVE_UP_S):
                    await ask()
            except TimeoutError:
                wrong = f"no answer in {GIVE_UP_S:g} s"
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            now = time.monotonic()
            self._span.latency_s.setdefault(kind, []).append(now - due)
            if wrong:
                self._span.wrongs += 1
                if len(self._span.wrong) < 10:
                    self._span.wrong.append(f"{kind}: {wrong[:500]}")
            due = max(due + self._target.every_s, now) if wrong else due + self._target.every_s

    async def _look(self) -> None:
        worker = psutil.Process(self._target.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            while True:
                self._span.peak_bytes = max(self._span.peak_bytes, worker.memory_info().rss)
                await asyncio.sleep(LOOK_EVERY_S)

    async def _http_kept(self) -> None:
        if self._kept is None:
            self._kept = await self._connect()
        kept, self._kept = self._kept, None  # one that fails is not used again
        try:
            await self._ask(*kept)
        except BaseException:
            kept[1].close()
            raise
        self._kept = kept

    async def _http_new(self) -> None:
        reader, writer = await self._connect()
        try:
            await self._ask(reader, writer)
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self._target.http.rpartition(":")
        name = None if self._tls is None else "localhost"
        return await asyncio.open_connection(host, int(port), ssl=self._tls, server_hostname=name)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (
            f"POST /v2/models/plus/infer HTTP/1.1\r\nHost: {self._target.http}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._target.token}\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
        )
        writer.write(head.encode() + REQUEST)
        answer = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"content-length"]))
        if not answer.startswith(b"HTTP/1.1 200 ") or RIGHT not in body:
            raise AssertionError(f"{answer.splitlines()[0]!r} {body!r}")

    async def _grpc_kept(self) -> None:
        await self._ask_grpc(self._channel)

    async def _grpc_new(self) -> None:
        async with self._new_channel() as channel:
            await self._ask_grpc(channel)

    def _new_channel(self) -> grpc.aio.Channel:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target.grpc, options)
        return grpc.aio.secure_channel(self._target.grpc, self._credentials, options)

    async def _ask_grpc(self, channel: grpc.aio.Channel) -> None:
        metadata = (("authorization", f"Bearer {self._target.token}"),)
        answer = await channel.unary_unary(METHOD)(bytes.fromhex(self._target.grpc_request), metadata=metadata)
        if bytes.fromhex(self._target.grpc_right) not in answer:
            raise AssertionError(f"{answer!r}")


async def main() -> None:
    target = Target(**json.loads(sys.stdin.readline()))
    await Bystanders(target).run()


if __name__ == "__main__":
    asyncio.run(main())
