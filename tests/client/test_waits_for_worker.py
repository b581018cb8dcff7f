"""A call to the shared service while its worker is replaced: it waits, and is sent once somebody can take it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from workbench.client.client import AsyncClient
from workbench.client.shared_service import Address
from workbench.errors import ModelNotFound, Unavailable
from workbench.server.process.unavailable_responder import HttpConversation


class FakeShared:
    """The shared service's address, and whether its worker is being replaced."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.restoring = True
        self.asked = 0

    def ensure(self, timeout_s: float = 90.0, *, restarting: bool = False) -> Address:
        assert restarting, "a worker that is being replaced is enough"
        self.asked += 1
        return Address(self.url, None)

    def restores(self) -> bool:
        return self.restoring

    def happened(self, since: int) -> str:
        return ""


def answer(status: int, content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


REFUSED = answer(503, {"error": "the service is restarting", "code": "draining"})
"""As a keeper says it."""
NOT_BACK = answer(404, {"error": "Request for unknown model: 'm' is not found", "code": "model_not_found"})
DONE = answer(200, {"state": "ready"})


def told(*answers: bytes, restoring: bool = True, wait_s: float = 60.0) -> tuple[Any, FakeShared]:
    """What a call comes to whose attempts are answered so, the last one again and again."""

    async def call() -> tuple[Any, FakeShared]:
        left = list(answers)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        shared = FakeShared(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        shared.restoring = restoring
        client = AsyncClient(shared.url, shared=shared, wait_s=wait_s)  # type: ignore[arg-type]
        try:
            return await client.service(), shared
        finally:
            await client.close()
            server.close()

    return asyncio.run(call())


def test_a_call_that_no_worker_took_is_sent_again_until_one_does() -> None:
    found, shared = told(REFUSED, REFUSED, DONE)
    assert found == {"state": "ready"}
    assert shared.asked == 2


def test_a_model_that_is_not_back_yet_is_waited_for() -> None:
    assert told(NOT_BACK, NOT_BACK, DONE)[0] == {"state": "ready"}


def test_a_model_that_nobody_is_getting_back_is_not_there_at_once() -> None:
    with pytest.raises(ModelNotFound, match="'m' is not found"):
        told(NOT_BACK, restoring=False)


def test_after_the_time_it_says_how_long_it_waited_and_for_what() -> None:
    with pytest.raises(Unavailable, match=r"after 0\.01 s: the service is restarting"):
        told(REFUSED, wait_s=0.01)


@pytest.mark.parametrize("code", ["draining", "unavailable"])
def test_a_keeper_says_whether_a_worker_will_take_the_call(code: str) -> None:
    said = HttpConversation(None, lambda: "why", lambda: code).received(b"GET /v2 HTTP/1.1\r\n\r\n")
    assert json.loads(said.partition(b"\r\n\r\n")[2]) == {"error": "why", "code": code}
