"""Calls an ASGI application in this process, as a server would: no socket, no thread, no client library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

HOST = "127.0.0.1:8080"


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    parts: int = 0

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

    app: App
    token: str | None = None

    async def __call__(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] | dict[str, Any] | None = None,
        leave: bool = False,
        **headers: str | None,
    ) -> Reply:
        """`leave`: the client goes away instead of sending the last part. A header that is None is not sent."""
        sent: dict[str, str | None] = {"host": HOST}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        parts = [body] if isinstance(body, bytes) else list(body or [b""])
        if len(parts) == 1:
            sent["content-length"] = str(len(parts[0]))
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        route, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": route,
            "raw_path": route.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value is not None],
        }
        return await exchange(self.app, scope, parts, leave)


async def exchange(app: App, scope: Message, parts: Sequence[bytes], leave: bool = False) -> Reply:
    reply = Reply()
    waiting = list(parts)
    left = asyncio.Event()

    async def receive() -> Message:
        if len(waiting) > int(leave):
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}
        if not leave:
            await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert reply.status == 0, "a second response"
            reply.status = message["status"]
            reply.headers = {name.decode(): value.decode() for name, value in message.get("headers", [])}
        else:
            assert reply.status, "a body before the start"
            reply.body += bytes(message.get("body", b""))
            reply.parts += 1
            reply.complete = not message.get("more_body", False)

    await app(scope, receive, send)
    assert reply.complete
    return reply
