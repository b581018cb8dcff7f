"""Bodies that no route takes are refused before they are sent: nothing of them is held, whoever sends them."""

from __future__ import annotations

import asyncio
import json

import pytest
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask, Fetch
from workbench.jupyter.extension import InferWorkbench
from workbench.jupyter.routes import BODY_BYTES, FILES_BYTES, HEAD_LENGTH, RESOURCE, Handler, routes
from workbench.jupyter.version_routes import version_routes

ALL = [*routes(), *version_routes()]

WHOLE = 50_000_000
"""Bytes of a body, which tornado would take."""


async def answered(port: int, path: str, fields: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """(status, body) of a POST whose body stays behind, as far as it is not given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "localhost", **fields}.items())
    writer.write(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    try:
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or "0")
            return int(head.split()[1]), await reader.readexactly(length)
    finally:
        writer.close()


def paths(base_url: str) -> list[str]:
    """Of all routes that take a body."""
    found = [pattern.replace("([^/]+)", "name") for pattern, handler in ALL if "post" in vars(handler)]
    return [base_url + path for path in found]


async def test_a_stranger_is_refused_at_the_head(
    extension: InferWorkbench, jp_fetch: Fetch, jp_http_port: int, jp_base_url: str
) -> None:
    for path in [*paths(jp_base_url), f"{jp_base_url}{RESOURCE}/stream"]:
        status, _ = await answered(jp_http_port, path, {"Content-Length": str(WHOLE)})
        assert status == 403, path


async def test_a_body_over_the_cap_is_refused_at_the_head_or_where_it_goes_over(
    extension: InferWorkbench, jp_fetch: Fetch, jp_http_port: int, jp_base_url: str, jp_auth_header: dict[str, str]
) -> None:
    for path in paths(jp_base_url):
        status, said = await answered(jp_http_port, path, {**jp_auth_header, "Content-Length": str(WHOLE)})
        assert (status, json.loads(said)["reason"]) == (413, "too_large"), path
    for wrong in ("x", "-1", "9" * 5000):
        status, _ = await answered(jp_http_port, paths(jp_base_url)[0], {**jp_auth_header, "Content-Length": wrong})
        assert status == 400
    chunk = b"%x\r\n%b\r\n" % (BODY_BYTES + 1, bytes(BODY_BYTES + 1))
    status, said = await answered(
        jp_http_port, paths(jp_base_url)[0], {**jp_auth_header, "Transfer-Encoding": "chunked"}, chunk
    )
    assert (status, json.loads(said)["reason"]) == (413, "too_large")
    # Files may come to one route alone.
    with_files = {**jp_auth_header, HEAD_LENGTH: "2"}
    for path in paths(jp_base_url):
        most = FILES_BYTES if path.endswith("/try") else BODY_BYTES
        status, said = await answered(jp_http_port, path, {**with_files, "Content-Length": str(most + 1)})
        assert (status, json.loads(said)["reason"]) == (413, "too_large"), path


def test_every_route_reads_its_body_under_the_cap() -> None:
    assert all(issubclass(handler, Handler) and handler._stream_request_body for _, handler in ALL)


async def test_a_compressed_body_is_not_unpacked(ask: Ask, jp_fetch: Fetch) -> None:
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(
            RESOURCE, "api", "models", "m", "set", method="POST", body="x" * 99, headers={"Content-Encoding": "gzip"}
        )
    assert caught.value.code in (400, 415)
