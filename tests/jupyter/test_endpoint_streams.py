"""Between a caller and the service: what of a request and its answer passes, how much is held, and who ends what.

The service is a few lines that write down what they get.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from tests import models
from tests.helpers.service_process import Serve
from tests.jupyter.conftest import BODY, INFER, Fetch
from workbench.client.forwarding import Forwarder
from workbench.jupyter import endpoint_handler
from workbench.jupyter.endpoint import EndpointLimits
from workbench.jupyter.endpoint_routes import ENDPOINT
from workbench.jupyter.extension import InferWorkbench
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord

TOKEN = f"wbk_{'t' * 43}"
PIECE = bytes(64 * 1024)
HELD = 24 * 1024 * 1024
"""More than what sockets hold on both ways, and far less than what is sent."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class FakeService:
    """Hands each connection with its first request's head to `serve`."""

    serve: Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    heads: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A connection has ended."""
    port: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            assert self.serve is not None
            await self.serve(self.heads[-1], reader, writer)
            while await reader.read(65536):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left.set()
            writer.close()


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FakeService]:
    fake = FakeService()
    server = await asyncio.start_server(fake.connected, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    yield fake
    server.close()


@dataclass
class Door:
    port: int
    path: str
    extension: InferWorkbench

    async def send(self, line: str, *fields: str, body: bytes = b"", small: bool = False) -> Streams:
        """A request with a share's token; `line` is like "GET /v2". `small`: few bytes are read ahead."""
        method, _, path = line.partition(" ")
        lines = [f"{method} {self.path}{path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}", *fields]
        return await self.send_raw(("\r\n".join(lines) + "\r\n\r\n").encode() + body, small=small)

    async def send_raw(self, data: bytes, *, small: bool = False) -> Streams:
        plain = socket.socket()
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.port))
        if small:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        reader, writer = await asyncio.open_connection(sock=plain, limit=65536)
        writer.write(data)
        return reader, writer


def of(forwarder: Forwarder) -> Callable[[], Awaitable[Forwarder]]:
    async def service() -> Forwarder:
        return forwarder

    return service


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode()
    first, *lines = head.strip().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), fields


@pytest_asyncio.fixture
async def door(
    extension: InferWorkbench,
    service: FakeService,
    jp_fetch: Fetch,
    jp_http_port: int,
    jp_base_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Door]:
    record = ServiceRecord(f"http://127.0.0.1:{service.port}", "owner", "", this_process())
    forwarder = Forwarder(record, 4)

    monkeypatch.setattr(extension.shared_endpoint, "service", of(forwarder))
    yield Door(jp_http_port, f"{jp_base_url}{ENDPOINT}", extension)
    await extension.shared_endpoint.close()
    await forwarder.close()


async def until(holds: Callable[[], bool], limit_s: float = 60) -> None:
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.01)


def answers(*fields: str, body: bytes = b"{}", status: str = "200 OK") -> Callable[..., Awaitable[None]]:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]) + "\r\n\r\n"

    async def serve(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)

    return serve


async def test_the_service_is_told_what_concerns_it_and_nothing_of_logins_and_connections(
    door: Door, service: FakeService
) -> None:
    service.serve = answers("Content-Type: application/json")
    reader, writer = await door.send(
        "GET /v2?token=secret&x=1",
        "Cookie: username-localhost=login; _xsrf=1",
        "X-XSRFToken: 1",
        "Proxy-Authorization: Basic c2VjcmV0",
        "Connection: X-Secret, keep-alive",
        "X-Secret: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Origin: http://localhost",
        "Referer: http://localhost/user/alice/lab",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=10.0.0.1",
        "X-Real-IP: 10.0.0.1",
        "User-Agent: a client",
        "X-Request-Id: mine",
    )
    assert (await head_of(reader))[0] == 200, "and no 101"
    writer.close()
    (head,) = service.heads
    line, *fields = head.decode().strip().split("\r\n")
    assert line == "GET /v2 HTTP/1.1"
    assert {name.lower(): value for name, _, value in (each.partition(": ") for each in fields)} == {
        "host": f"127.0.0.1:{service.port}",
        "authorization": f"Bearer {TOKEN}",
        "user-agent": "a client",
        "x-request-id": "mine",
        "x-forwarded-for": "10.0.0.1, 127.0.0.1",  # the last is known, the others are the caller's word
        "x-forwarded-proto": "http",
        "x-forwarded-host": "localhost",
        "x-forwarded-prefix": "/user/alice/infer-workbench/endpoint",
    }


async def test_what_belongs_to_the_connection_of_the_service_stays_there(door: Door, service: FakeService) -> None:
    service.serve = answers(
        "Connection: close, X-Hop",
        "Keep-Alive: timeout=1",
        "Set-Cookie: a=b",
        "Server: other",
        "Upgrade: h2c",
        "Trailer: X",
        "Retry-After: 7",
        "X-Two: 1",
        "X-Two: 2",
        status="503 Service Unavailable",
    )
    reader, writer = await door.send("GET /v2")
    status, fields = await head_of(reader)
    writer.close()
    assert (status, fields["retry-after"]) == (503, "7")
    assert not {"set-cookie", "keep-alive", "upgrade", "trailer", "server", "connection"} & fields.keys()
    assert fields["x-two"] in ("2", "1,2", "1, 2") and fields["content-length"] == "2"


async def test_no_spelling_of_a_path_reaches_what_is_none_of_a_share(door: Door, service: FakeService) -> None:
    service.serve = answers()
    strange = ["/v2/models/plus/../../../control/shares", "/v2/%2e%2e/control/status", "//v2", "/v2//", "/v2/.", "/V2"]
    strange += ["/v2/models/plus%2finfer", "/v2/models/plus\\infer", "/v2/models/plus%00", "/v2;a=b", "/control/status"]
    strange += [
        "/v2/models/..",
        "/v2/models/%70lus",
        "/v2/models/plus/infer/",
        "/share/claim.js.map",
        "/share/../metrics",
    ]
    statuses = []
    for method in ("GET", "POST"):
        for path in strange:
            reader, writer = await door.send(f"{method} {path}", "Content-Length: 0")
            statuses.append((await head_of(reader))[0])
            writer.close()
        for target in (f"http://127.0.0.1:{service.port}/control/status", "http://localhost/control/status", "*"):
            reader, writer = await door.send_raw(
                f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            statuses.append((await head_of(reader))[0])
            writer.close()
    assert set(statuses) <= {400, 403, 404, 405}
    reader, writer = await door.send(f"GET /v2/models/{'m' * 70_000}")
    assert b"200 OK" not in await asyncio.wait_for(reader.read(), 60)  # a head of 64 KiB is the most that tornado takes
    writer.close()
    assert service.heads == []


async def test_two_readings_of_where_a_request_ends_are_refused(door: Door, service: FakeService) -> None:
    service.serve = answers()
    for fields in (
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: chunked;q=1",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Content-Length: 2\r\n 0",),
        ("Content-Length : 2",),
        ("X-A: 1\nContent-Length: 2", "Content-Length: 5"),
        ("Content-Length: +2",),
    ):
        reader, writer = await door.send(
            "POST /v2/models/plus/infer", *fields, body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n"
        )
        assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 400"), fields
        writer.close()
    assert not any(b"smuggled" in head for head in service.heads)


async def test_of_an_answer_that_is_not_read_little_is_held_and_it_is_broken_off(
    door: Door, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0

    async def serve(_: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            writer.write(PIECE)
            await writer.drain()
            sent += len(PIECE)

    monkeypatch.setattr(endpoint_handler, "STALL_S", 0.5)
    service.serve = serve
    reader, writer = await door.send("GET /v2", small=True)
    assert (await head_of(reader))[0] == 200
    await asyncio.wait_for(service.left.wait(), 60)
    assert 0 < sent < HELD
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1_000_000_000), 60)
    writer.close()
    await until(lambda: not door.extension.shared_endpoint._tasks)


async def test_of_a_body_that_the_service_does_not_read_little_is_held(door: Door, service: FakeService) -> None:
    read = asyncio.Event()

    async def serve(_: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read.wait()
        await reader.readexactly(50_000_000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    service.serve = serve
    reader, writer = await door.send("POST /v2/models/plus/infer", "Content-Length: 50000000")
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < 50_000_000:
            piece = PIECE[: 50_000_000 - sent]
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    sending = asyncio.create_task(send())
    before = -1
    while before != sent:  # until no more goes on for a while
        before = sent
        await asyncio.sleep(0.3)
    assert 0 < sent < HELD
    read.set()
    await asyncio.wait_for(sending, 60)
    assert (await head_of(reader))[0] == 200
    writer.close()


async def test_an_answer_before_the_end_of_its_body_is_heard(door: Door, service: FakeService) -> None:
    service.serve = answers(status="413 Payload Too Large", body=b'{"error": "too large"}')
    reader, writer = await door.send("POST /v2/models/plus/infer", "Content-Length: 4000000", body=bytes(4_000_000))
    assert (await head_of(reader))[0] == 413
    writer.write(f"GET {door.path}/v2 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())  # on the same connection
    assert b"too large" in await asyncio.wait_for(reader.readuntil(b"}"), 60)
    assert (await head_of(reader))[0] == 401
    writer.close()


async def test_an_answer_that_breaks_off_does_not_look_whole(door: Door, service: FakeService) -> None:
    async def half(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.close()

    service.serve = half
    reader, writer = await door.send("GET /v2")
    assert (await head_of(reader))[0] == 200
    said = await asyncio.wait_for(reader.read(), 60)
    assert b"hello" in said and not said.endswith(b"0\r\n\r\n")
    writer.close()


async def test_a_service_that_breaks_off_before_its_answer_is_503(door: Door, service: FakeService) -> None:
    async def nothing(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    service.serve = nothing
    reader, writer = await door.send("GET /v2")
    status, fields = await head_of(reader)
    assert (status, fields["retry-after"]) == (503, "1")
    writer.close()


async def test_a_request_has_a_time(door: Door, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: bytes, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()

    service.serve = never
    monkeypatch.setattr(door.extension.shared_endpoint, "limits", EndpointLimits(4, 1000, time_s=0.2))
    reader, writer = await door.send("GET /v2")
    assert (await head_of(reader))[0] == 504
    await asyncio.wait_for(service.left.wait(), 60)
    writer.close()


async def test_of_a_get_with_a_body_nothing_but_its_head_reaches_the_service(door: Door, service: FakeService) -> None:
    service.serve = answers()
    hidden = f"GET {door.path}/v2 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    reader, writer = await door.send("GET /v2", f"Content-Length: {len(hidden)}", "Connection: close", body=hidden)
    said = await asyncio.wait_for(reader.read(), 60)
    assert said.startswith(b"HTTP/1.1 200") and said.count(b"HTTP/1.1") == 1, "what looks like a request is none"
    writer.close()
    assert len(service.heads) == 1 and b"content-length" not in service.heads[0].lower()


async def test_who_expects_100_is_answered_and_told_to_go_on(door: Door, service: FakeService) -> None:
    async def serve(_: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    service.serve = serve
    reader, writer = await door.send("POST /v2/models/plus/infer", "Expect: 100-continue", "Content-Length: 2")
    assert (await head_of(reader))[0] == 100
    writer.write(b"{}")
    assert (await head_of(reader))[0] == 200
    writer.close()
    assert b"expect" not in service.heads[0].lower()


async def test_a_service_with_tls_is_called_by_its_certificate_and_by_no_other(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.save(models.add_constant(1.0), tmp_path / "repository" / "plus" / "1" / "model.onnx")
    with Serve(tmp_path, "--model-repository", str(tmp_path / "repository"), "--tls", "self-signed") as serve:
        published = serve.ready().published
        terms = {"models": ["plus"], "label": "a", "show_token": True}
        token = json.loads(serve.call("POST", "/control/shares", terms)[1])["token"]
        trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
        for ca_file, expected in ((published["ca_file"], 200), (str(tmp_path / "another.pem"), 503)):
            record = ServiceRecord(published["url"], "", "", this_process(), ca_file=ca_file)
            forwarder = Forwarder(record, 1)
            monkeypatch.setattr(door.extension.shared_endpoint, "service", of(forwarder))
            body = json.dumps(BODY).encode()
            lines = [f"POST {door.path}{INFER} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}"]
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "", ""]
            reader, writer = await door.send_raw("\r\n".join(lines).encode() + body)
            status, _ = await head_of(reader)
            said = json.loads(await asyncio.wait_for(reader.read(), 60))
            writer.close()
            await forwarder.close()
            assert status == expected, said
            if status == 200:
                assert said["outputs"][0]["data"] == [2.0, 3.0, 4.0, 5.0]
