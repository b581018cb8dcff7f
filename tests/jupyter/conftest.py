"""A Jupyter server with the extension, in this process, and the service of folders of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pytest_jupyter.jupyter_server import *  # noqa: F403
from traitlets.config import Config

from tests.models import add_constant
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.jupyter.endpoint_routes import ENDPOINT
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


BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
INFER = "/v2/models/plus/infer"


@dataclass
class Shared:
    """A Jupyter server with a service behind it that serves `plus` and `other`, and a share of `plus`."""

    url: str
    """Of the endpoint."""
    owner: AsyncClient
    token: str
    session: aiohttp.ClientSession
    """A caller that knows nothing of Jupyter's login."""
    extension: InferWorkbench

    async def call(
        self, method: str, path: str, token: str | None = "", body: object = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """(status, headers, JSON or bytes). `token`: the share's own where it is empty, none where it is None."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        if isinstance(body, dict):
            headers.setdefault("Content-Type", "application/json")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            read = await answer.read()
            return answer.status, answer.headers, json.loads(read) if read[-1:] in (b"}", b"]") else read

    async def share(self, **terms: Any) -> dict[str, Any]:
        share = await self.owner.share({"models": ["plus"], "show_token": True, **terms})
        return {"id": share.id, "token": share.token, "link": share.link}


@pytest_asyncio.fixture
async def shared(
    ask: Ask, extension: InferWorkbench, workplace: SharedService, jp_root_dir: Any, jp_http_port: int, jp_base_url: str
) -> AsyncIterator[Shared]:
    for name in ("plus", "other"):
        (jp_root_dir / f"{name}.onnx").write_bytes(add_constant(1.0, ("batch", "columns")).SerializeToString())
        await ask("models", name, "load", body={"path": f"{name}.onnx"})
    record = workplace.record()
    assert record is not None
    url = f"http://localhost:{jp_http_port}{jp_base_url}{ENDPOINT}"
    async with AsyncClient(record.url, record.token) as owner, aiohttp.ClientSession() as session:
        found = Shared(url, owner, "", session, extension)
        found.token = (await found.share(label="team-a"))["token"]
        yield found
        for each in await owner.shares():
            if each.state in ("holds", "unclaimed"):
                await owner.revoke(each.id)
    await extension.shared_endpoint.close()


async def eventually(holds: Callable[[], Awaitable[bool]], limit_s: float = 60) -> None:
    async with asyncio.timeout(limit_s):
        while not await holds():
            await asyncio.sleep(0.02)
