"""Another user takes the port of a service that ended, and waits for its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.helpers.thief import AS_ANOTHER_USER, Thief
from workbench.client import own_connector
from workbench.client.client import AsyncClient
from workbench.errors import Unavailable

TOKEN = "a-token-of-the-tests-0123456789"
READY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A service for one connection after another: its port, and the heads that it was sent."""
    heads: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while head := await reader.read(65536):
            heads.append(head)
            writer.write(READY)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_who_took_the_port_gets_nothing_from_a_client_that_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    if not AS_ANOTHER_USER:  # a thief of this user's own uid; the kernel is made to say what it says of another's
        monkeypatch.setattr(own_connector, "owner_of_peer", lambda *_: 65534)
    async with AsyncClient("http://127.0.0.1:1", TOKEN, own=True) as client:
        async with serving() as (port, heads):
            client.transport.url = f"http://127.0.0.1:{port}"
            if AS_ANOTHER_USER:
                assert await client.ready()
                assert TOKEN.encode() in heads[0]
        with Thief([port]) as thief:
            await asyncio.to_thread(thief.wait_until_it_listens)
            for _ in range(3):
                with pytest.raises(Unavailable, match="another user listens there now; nothing was sent"):
                    await client.ready()
            await asyncio.to_thread(thief.wait_until_clients_left, 3)
            assert not thief.got
            # Who names a service by its URL says whom to trust, and so the thief gets what it came for.
            async with AsyncClient(client.url, TOKEN) as trusting:
                asking = asyncio.create_task(trusting.ready())
                await asyncio.to_thread(thief.wait_until_it_got, TOKEN.encode())
                asking.cancel()
        async with serving(port) as (_, heads):
            if AS_ANOTHER_USER:
                assert await client.ready()
                assert TOKEN.encode() in heads[0]
