"""A Jupyter server with the extension, in this process, and the service of folders of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from pytest_jupyter.jupyter_server import *  # noqa: F403
from traitlets.config import Config

from workbench.client.shared_service import SharedService
from workbench.jupyter.extension import InferWorkbench

Fetch = Callable[..., Awaitable[Any]]
Ask = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture
async def jp_asyncio_loop() -> asyncio.AbstractEventLoop:
    """The loop that the test itself runs on."""
    return asyncio.get_running_loop()


@pytest.fixture
def jp_base_url() -> str:
    return "/user/alice/"


@pytest.fixture
def jp_server_config() -> Config:
    return Config({"ServerApp": {"jpserver_extensions": {"workbench.jupyter": True}}})


@pytest_asyncio.fixture
async def extension(workplace: SharedService, jp_serverapp: Any) -> AsyncIterator[InferWorkbench]:
    """The extension, watching. It stops while the loop turns, and the service need not wait for its connections."""
    (app,) = jp_serverapp.extension_manager.extension_apps["workbench.jupyter"]
    assert isinstance(app, InferWorkbench)
    await app._start_jupyter_server_extension(jp_serverapp)
    yield app
    await app.stop_extension()


@pytest.fixture
def ask(extension: InferWorkbench, jp_fetch: Fetch) -> Ask:
    """GET what is asked for, or POST to it where a body is given; the answer's JSON."""

    async def ask(*parts: str, body: object = None, **params: str) -> Any:
        more: dict[str, Any] = {} if body is None else {"method": "POST", "body": json.dumps(body)}
        answer = await jp_fetch("infer-workbench", "api", *parts, params=params, request_timeout=60, **more)
        return json.loads(answer.body)

    return ask


class Socket:
    """A page's socket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._unheard: list[dict[str, Any]] = []

    async def say(self, **message: object) -> None:
        await self._connection.write_message(json.dumps(message))

    async def hear(self, *kinds: str, limit_s: float = 60) -> dict[str, Any]:
        """The next message of one of these kinds that was not heard yet; of any, where none is named."""
        for message in self._unheard:
            if not kinds or message["type"] in kinds:
                self._unheard.remove(message)
                return message
        async with asyncio.timeout(limit_s):
            while True:
                text = await self._connection.read_message()
                assert text is not None, "the socket was closed"
                message = json.loads(text)
                if not kinds or message["type"] in kinds:
                    return message
                self._unheard.append(message)

    async def until(self, kind: str, holds: Callable[[dict[str, Any]], bool], limit_s: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(limit_s):
            while not holds(message := await self.hear(kind, limit_s=limit_s)):
                pass
            return message

    async def close(self) -> None:
        """Returns when the other side has agreed."""
        self._connection.close()
        while await self._connection.read_message() is not None:
            pass


@pytest_asyncio.fixture
async def page(extension: InferWorkbench, jp_ws_fetch: Fetch) -> AsyncIterator[Socket]:
    socket = Socket(await jp_ws_fetch("infer-workbench", "stream"))
    yield socket
    await socket.close()
