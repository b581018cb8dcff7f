"""Paths to handlers: a table that can be read, and walked by a test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from workbench.errors import Cancelled, InvalidInput, MethodNotAllowed, NotFound
from workbench.server.gate.auth import Caller
from workbench.server.http.asgi import (
    BodyType,
    Headers,
    InFlightBytes,
    Receive,
    Response,
    Scope,
    Send,
    disconnected,
    read_body,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a route."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Headers
    params: Mapping[str, str]
    """What stood in the path's braces."""
    caller: Caller
    request_id: bytes = b""

    def query(self, name: str, default: str = "") -> str:
        """A value of the query string, of a doubled one the last."""
        try:
            pairs: list[tuple[str, str]] = parse_qsl(
                self.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict"
            )
        except ValueError:
            raise InvalidInput("the query string is not percent-encoded UTF-8") from None
        return dict(pairs).get(name, default)

    @asynccontextmanager
    async def body(self, max_bytes: int, held: InFlightBytes) -> AsyncIterator[bytes]:
        """The body, which counts as held until the context is left."""
        body = await read_body(self.receive, self.headers, max_bytes, held)
        try:
            yield body
        finally:
            held.give_back(len(body))


Handler: TypeAlias = Callable[[Call], Awaitable[Response | None]]
"""None: the handler has sent its answer itself."""


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    """With `{name}` for what is not fixed, which never spans a slash."""
    handler: Handler
    takes: BodyType = BodyType.JSON


class WrongMethod(MethodNotAllowed):
    """A path that is known, under another method."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method} does not go with this path; it takes {allowed}")
        self.allowed = allowed
        """What the Allow header says."""


class Routes:
    """The routes that are not worth a fast path. HEAD goes where GET goes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))
            methods = self._patterns.setdefault(route.path, (pattern, {}))[1]
            methods[route.method] = route
            if route.method == "GET":
                methods["HEAD"] = route

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route, and what stood in its braces. NotFound or WrongMethod."""
        for pattern, methods in self._patterns.values():
            if (match := pattern.fullmatch(path)) is not None:
                if (route := methods.get(method)) is not None:
                    return route, match.groupdict()
                raise WrongMethod(method, ", ".join(sorted(methods)))
        raise NotFound(f"there is nothing at {path[:200]!r}; the routes are listed in the documentation, docs/http.md")


async def while_there(call: Call, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and cancel it when the caller leaves: a notebook's stop button ends a load this way.

    Call it after the body has been read. Raises Cancelled if the caller left.
    """
    working = asyncio.ensure_future(work)
    left = asyncio.ensure_future(disconnected(call.receive))
    try:
        await asyncio.wait([working, left], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
        return working.result()
    except asyncio.CancelledError:
        if working.cancelled():
            raise Cancelled("the caller left before the model was loaded") from None
        raise
    finally:
        left.cancel()
        working.cancel()
