"""The sockets themselves: how they are opened, misused, crowded and closed."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.jupyter.conftest import Fetch, Socket
from tests.live.ticks import FakeService, ticks
from workbench.jupyter import websocket
from workbench.jupyter.extension import InferWorkbench
from workbench.live.relay import MESSAGE_BYTES, PageMessage


async def opened(jp_ws_fetch: Fetch) -> Any:
    return await jp_ws_fetch("infer-workbench", "stream")


async def closed(connection: Any) -> int | None:
    """The code with which the other side closed, where it came to that."""
    async with asyncio.timeout(10):
        while await connection.read_message() is not None:
            pass
    connection.close()
    code: int | None = connection.close_code
    return code


async def test_a_bad_message_is_answered_and_the_socket_stays(page: Socket) -> None:
    await page.say(type="dance")
    assert "dance" in (await page.hear("error"))["message"]
    await page.say(type="subscribe")
    assert (await page.hear("history"))["models"] == {}


async def test_a_message_over_the_cap_ends_the_socket(extension: InferWorkbench, jp_ws_fetch: Fetch) -> None:
    connection = await opened(jp_ws_fetch)
    await connection.write_message("x" * (MESSAGE_BYTES + 1))
    assert await closed(connection) in (None, 1009)  # None: it hung up before the code was read
    while extension.relay.subscribers:
        await asyncio.sleep(0)


async def test_silence_is_broken_by_a_beat(page: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_S", 0.05)
    await page.say(type="pause")
    assert await page.hear("beat") == {"type": "beat"}


async def test_there_are_never_too_many_pages(
    extension: InferWorkbench, jp_ws_fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MAX_PAGES", 2)
    first, second, third = [await opened(jp_ws_fetch) for _ in range(3)]
    assert await closed(third) == websocket.TRY_LATER
    await Socket(first).close()
    while len(extension.relay.subscribers) > 1:
        await asyncio.sleep(0)
    fourth = Socket(await opened(jp_ws_fetch))
    assert (await fourth.hear())["type"] == "hello"
    await fourth.close()
    await Socket(second).close()


async def test_a_page_that_reads_nothing_costs_nothing_and_delays_nobody(
    extension: InferWorkbench, jp_ws_fetch: Fetch, page: Socket, jp_http_port: int, jp_auth_header: dict[str, str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port, limit=1024)
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.write(
        b"GET /user/alice/infer-workbench/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        + f"Authorization: {jp_auth_header['Authorization']}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    message = json.dumps({"type": "subscribe"}).encode()
    writer.write(bytes([0x81, 0x80 | len(message)]) + b"\0\0\0\0" + message)
    await page.say(type="subscribe", detail=[f"model-{number}" for number in range(40)])
    slow = await until_subscribed(extension, page)
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    service = FakeService(*((f"model-{number}", "1") for number in range(40)))
    (tick,) = ticks(service, 1)
    for number in range(2000):
        extension.relay.ticked(replace(tick, sequence=number))
        if number % 100 == 0:
            assert (await page.hear("figures"))["sequence"] <= number
    (handler,) = [each for each in extension.sockets if each.page is slow]
    assert handler.ws_connection is not None
    buffered = handler.ws_connection.stream._write_buffer  # type: ignore[attr-defined]
    assert len(buffered) < 100_000
    assert len(slow._due) <= len(PageMessage)
    writer.transport.abort()  # type: ignore[attr-defined]
    while slow in extension.relay.subscribers:
        await asyncio.sleep(0.01)


async def until_subscribed(extension: InferWorkbench, page: Socket) -> Any:
    """The Subscriber of the other socket, once both have subscribed."""
    await page.hear("history")
    async with asyncio.timeout(10):
        while True:
            subscribed = [each for each in extension.relay.subscribers if each.subscription is not None]
            if len(subscribed) == 2:
                return next(each for each in subscribed if not each.subscription.detail)  # type: ignore[union-attr]
            await asyncio.sleep(0)


async def test_the_end_of_the_server_closes_its_sockets_and_leaves_no_task(
    extension: InferWorkbench, jp_ws_fetch: Fetch
) -> None:
    before = asyncio.all_tasks()
    connection = await opened(jp_ws_fetch)
    await extension.stop_extension()
    assert await closed(connection) == websocket.GOING_AWAY
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if "workbench" in repr(task.get_coro())}
    assert left == set()
    assert not any("workbench/jupyter" in repr(task) for task in asyncio.all_tasks())
    await extension.stop_extension()  # a second time does no harm
