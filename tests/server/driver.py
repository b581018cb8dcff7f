"""Calls an HTTP application in this process, as a client would: bytes in and out of a Connection, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import Cancelled
from workbench.server.gate.connection_caps import ConnectionCaps
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.unread_answers import UnreadAnswers
from workbench.server.http.h1_connection import LEFT, Application, H1Connection
from workbench.server.http.h1_server import H1Server

HOST = "127.0.0.1:8080"
OCTETS = "application/octet-stream"


class Wire(asyncio.Transport):
    """A transport that keeps what is written. `read`: the client reads at once; else writing is soon paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.closed = False
        self.reading = True
        self.changed = asyncio.Event()

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1
        self.changed.set()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.changed.set()

    def close(self) -> None:
        self.closed = True
        self.changed.set()

    def abort(self) -> None:
        self.close()

    def write_eof(self) -> None:
        self.close()

    def can_write_eof(self) -> bool:
        return True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def is_reading(self) -> bool:
        return self.reading

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def connect(app: Application, server: H1Server | None = None) -> tuple[H1Connection, Wire]:
    server = server or H1Server(app, ConnectionCaps(10, 10), UnreadAnswers(InFlightBytes(1 << 30)))
    place = server.caps.take("127.0.0.1")
    assert place is not None
    connection, wire = H1Connection(server, place), Wire()
    connection.connection_made(wire)
    return connection, wire


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    writes: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error body, which holds nothing else but perhaps a code."""
        assert set(self.json) <= {"error", "code"}
        text: str = self.json["error"]
        return text


@dataclass
class Driver:
    """`token` None sends no Authorization. A body is sent in the parts it is given in; headers given win."""

    app: Application
    token: str | None = None

    def head(self, method: str, path: str, **headers: str | None) -> bytes:
        sent: dict[str, str | None] = {"host": HOST}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in sent.items() if value is not None]
        return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")

    async def __call__(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] | dict[str, Any] | None = None,
        leave: bool = False,
        **headers: str | None,
    ) -> Reply:
        """`leave`: the client goes away instead of sending the last part. A header that is None is not sent."""
        sent: dict[str, str | None] = {}
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        parts = [body] if isinstance(body, bytes) else list(body or [b""])
        if len(parts) == 1:
            sent["content-length"] = str(len(parts[0]))
        else:
            sent["transfer-encoding"] = "chunked"
            parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part] + [b"0\r\n\r\n"]
            if leave:
                parts[-2:] = [parts[-1]]
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection, wire = connect(self.app)
        connection.data_received(self.head(method, path, **sent))
        for part in parts[:-1] if leave else parts:
            if part:
                while not wire.reading:
                    wire.changed.clear()
                    await wire.changed.wait()
                connection.data_received(part)
                await asyncio.sleep(0)
        try:
            if leave:
                connection.connection_lost(None)
                while tasks := getattr(self.app, "_tasks", None):
                    await asyncio.wait(list(tasks))
            else:
                await answered(wire, method)
            reply = parsed(bytes(wire.written), method)
            if leave and not reply.status:
                reply.status = LEFT
            reply.writes = wire.writes
            return reply
        finally:
            connection.connection_lost(None)


async def answered(wire: Wire, method: str = "GET") -> None:
    """Wait for one whole answer, or the connection's end."""
    async with asyncio.timeout(30):
        while not wire.closed and not whole(bytes(wire.written), method):
            wire.changed.clear()
            await wire.changed.wait()


def whole(written: bytes, method: str = "GET") -> bool:
    head, end, body = written.partition(b"\r\n\r\n")
    if not end:
        return False
    if b"\r\ntransfer-encoding: chunked" in head and method != "HEAD":
        return body.endswith(b"0\r\n\r\n")
    if method == "HEAD":
        return True
    return len(body) >= int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])


def parsed(written: bytes, method: str = "GET") -> Reply:
    """The first answer in `written`; status 0: there is none."""
    head, end, body = written.partition(b"\r\n\r\n")
    if not end:
        return Reply()
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(each.split(": ", 1) for each in lines)
    if headers.get("transfer-encoding") == "chunked":
        chunks = b""
        while body and not body.startswith(b"0\r\n"):
            size, _, rest = body.partition(b"\r\n")
            chunks += rest[: int(size, 16)]
            body = rest[int(size, 16) + 2 :]
        body = chunks
    return Reply(int(line.split()[1]), headers, body)


def body(*rows: float, **more: Any) -> dict[str, Any]:
    """An inference of "digits": a row of two equal numbers for each of `rows`."""
    data = [[row, row] for row in rows]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), 2], "data": data}], **more}


class Sender:
    """Gives `parts` one by one, and counts how many were asked for."""

    def __init__(self, *parts: bytes, leaves: bool = False) -> None:
        self.parts = list(parts)
        self.asked = 0
        self.leaves = leaves

    async def pieces(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.asked += 1
            yield part
        if self.leaves:
            raise Cancelled("the caller left before the body had arrived")
