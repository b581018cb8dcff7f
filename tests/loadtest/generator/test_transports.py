from __future__ import annotations

import asyncio
import socket

import pytest

from tests.helpers.thief import AS_ANOTHER_USER, NOBODY, Thief
from workbench.loadtest.generator import transports
from workbench.loadtest.generator.http_connection import Connection
from workbench.loadtest.generator.transports import HttpTransport


class Owner:
    began = 0.0

    def refused(self, connection: Connection, token: str | None) -> bool:
        return False

    def ended(self, connection: Connection, now_s: float, outcome: int, said: str) -> None:
        raise AssertionError("nothing was sent")

    def lost(self, connection: Connection) -> None:
        """The thief may speak first."""


async def test_a_load_test_of_an_own_service_leaves_who_took_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        (await HttpTransport("127.0.0.1", port, own=True).open(Owner())).abort()
    if not AS_ANOTHER_USER:
        monkeypatch.setattr(transports, "owner_of_peer", lambda *_: NOBODY)
    with Thief([port]) as thief:
        await asyncio.to_thread(thief.wait_until_it_listens)
        with pytest.raises(PermissionError, match="another user listens there"):
            await HttpTransport("127.0.0.1", port, own=True).open(Owner())
        await asyncio.to_thread(thief.wait_until_clients_left)
        assert not thief.got
