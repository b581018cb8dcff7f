"""A service that was attached to by its address is followed through its ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.helpers.waiting import until_async
from tests.live.listening import Heard
from tests.live.ticks import FakeService
from workbench.live import remote_watch
from workbench.live.remote_watch import RemoteWatch


class Client:
    """A client of a service that says `said`, tells three snapshots, and ends."""

    url = "http://127.0.0.1:9"

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.closed = False
        self._service = FakeService()
        self._service.second(0.1)

    async def service(self) -> dict[str, Any]:
        return self.said

    async def snapshots(self, interval_s: float, past_s: float = 0.0) -> AsyncGenerator[dict[str, Any], None]:
        assert 0 <= past_s <= 900
        for line in self._service.past():
            yield line
        for _ in range(3):
            yield self._service.snapshot(interval_s)

    async def close(self) -> None:
        self.closed = True


async def followed(client: Client, ends: int) -> Heard:
    """What is told until the service was away so often."""
    heard = Heard()
    following = RemoteWatch(client, heard, logging.getLogger("attached"))  # type: ignore[arg-type]
    await following.open()
    await until_async(lambda: [service.state for service in heard.services].count("Stopped") >= ends)
    await following.close()
    assert client.closed
    return heard


async def test_it_is_followed_until_it_ends_and_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_watch, "AGAIN_S", 0.0)
    models = [{"name": "digits", "state": "Ready"}]
    heard = await followed(Client({"version": "1.0", "devices": ["cpu"], "models": models}), ends=2)
    assert [service.state for service in heard.services][:4] == ["Ready", "Stopped", "Ready", "Stopped"]
    ready, ended = heard.services[:2]
    assert (ready.url, ready.version, ready.devices) == ("http://127.0.0.1:9", "1.0", ("cpu",))
    assert ended.reason == "it ended"
    assert heard.models[:2] == [models, []]
    assert [set(tick.models) for tick in heard.ticks[:2]] == [{"digits"}, {"digits"}]
    assert [tick.time for tick in heard.past] == [1001.0], "not again when it is back"


async def test_what_says_nothing_of_use_is_told_in_words(caplog: pytest.LogCaptureFixture) -> None:
    heard = await followed(Client({}), ends=1)
    assert heard.services[0].reason == "its figures cannot be read (KeyError)"
    assert "is tried again" in caplog.text
