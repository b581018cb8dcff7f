"""Paths to handlers: a table that can be read, and walked by a test; and one call of a route."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from workbench.errors import Cancelled, InvalidInput, MethodNotAllowed, NotFound
from workbench.server.audit.audit_log import Noted, Source
from workbench.server.gate.auth import Caller, Headers
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.scopes import Scope
from workbench.server.http.h1_connection import H1Connection
from workbench.server.http.message import BodyType, Response, header_lines, lines_of, read_body
from workbench.server.http.request_head import RequestHead

T = TypeVar("T")

_ENDPOINT: Final = b"/infer-workbench/endpoint"
"""Where a Jupyter server lets shares' tokens through."""

_AHEAD_BYTES: Final = 64 * 1024
"""Of a body that its handler has not read yet; then reading stops."""


class Call:
    """One call of a route: an Exchange that a handler awaits in a task of its own."""

    def __init__(
        self,
        head: RequestHead,
        params: Mapping[str, str],
        caller: Caller,
        request_id: bytes,
        connection: H1Connection,
    ) -> None:
        self.head = head
        self.headers: Headers = head.headers
        self.params = params
        """What stood in the path's braces."""
        self.caller = caller
        self.request_id = request_id
        self.noted = Noted(params.get("name", ""))
        """What the audit is to say of it, where its route has an action."""
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the client has left."""
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._ahead = 0
        self._complete = False
        self._revoked = False
        self._waiting: asyncio.Future[None] | None = None

    def query(self, name: str, default: str = "") -> str:
        """A value of the query string, of a doubled one the last."""
        try:
            pairs: list[tuple[str, str]] = parse_qsl(
                self.head.query.decode("ascii"), keep_blank_values=True, errors="strict"
            )
        except ValueError:
            raise InvalidInput("the query string is not percent-encoded UTF-8") from None
        return dict(pairs).get(name, default)

    @property
    def scheme(self) -> str:
        """ "https" where its connection has TLS, else "http"."""
        return self._connection.scheme

    @property
    def source(self) -> Source:
        """From where it came, for the audit."""
        return source_of(self.head, self._connection, self.caller)

    # The body

    @asynccontextmanager
    async def body(self, max_bytes: int, held: InFlightBytes) -> AsyncIterator[bytes]:
        """The body, which counts as held until the context is left."""
        body = await read_body(self.pieces(), self.headers, max_bytes, held)
        try:
            yield body
        finally:
            held.give_back(len(body))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Cancelled where the client left before its end."""
        self._connection.want_body()
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._ahead -= len(piece)
                if self._ahead == 0:
                    self._connection.pause_body(False)
                yield piece
            if self._complete:
                return
            if self._revoked:
                raise self.caller.ended()
            if self.left.done():
                raise Cancelled("the caller left before the body had arrived")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    # The answer

    async def start_stream(self, content_type: bytes) -> None:
        """Begin an answer of unknown length; `send` its parts. It ends when the handler returns."""
        self._connection.start_stream(200, header_lines((b"content-type", content_type)))
        await self._connection.drain()

    async def send(self, part: bytes) -> None:
        await self._connection.send_chunk(part)

    async def serve(self, handler: Handler) -> None:
        """Answer with what `handler` returns or raises."""
        try:
            response = await handler(self)
        except Exception as error:
            self._connection.reply_error(self.caller.told(error), self.request_id)
            self._connection.break_stream()
            return
        if response is None:
            self._connection.end_stream()
        else:
            self._connection.reply(response.status, lines_of(response, self.request_id), (response.body,))

    # The connection's calls

    def body_piece(self, data: bytes) -> None:
        self._pieces.append(data)
        self._ahead += len(data)
        if self._ahead > _AHEAD_BYTES:
            self._connection.pause_body(True)
        self._wake()

    def body_end(self) -> None:
        self._complete = True
        self._wake()

    def token_replaced(self) -> None:
        self._revoked = self.caller.revoked
        self._wake()

    def disconnected(self) -> None:
        if not self.left.done():
            self.left.set_result(None)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


def source_of(head: RequestHead, connection: H1Connection, caller: Caller | None) -> Source:
    """From where a request came. `caller` None: it sent no token that is known."""
    headers = head.headers
    agent = headers.get(b"user-agent", b"").decode("utf-8", "replace")
    anonymous = caller is None or caller.anonymous
    address = connection.address
    if (before := headers.get(b"x-forwarded-for")) is not None:  # anybody can send it, so both are said
        address = f"{before.decode('utf-8', 'replace')} via {address}"
    way = "jupyter" if headers.get(b"x-forwarded-prefix", b"").endswith(_ENDPOINT) else "http"
    return Source("anyone" if caller is None else caller.name, way, address, agent, anonymous)


Handler: TypeAlias = Callable[[Call], Awaitable[Response | None]]
"""None: the handler has sent its answer itself."""


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    """With `{name}` for what is not fixed, which never spans a slash."""
    handler: Handler | None
    """None: an inference, which needs no task."""
    scope: Scope = Scope.ADMIN
    """What its caller must be allowed to do."""
    takes: BodyType = BodyType.JSON
    action: str = ""
    """What the audit calls it; empty: it changes nothing."""


class WrongMethod(MethodNotAllowed):
    """A path that is known, under another method."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method} does not go with this path; it takes {allowed}")
        self.allowed = allowed
        """What the Allow header says."""


class Routes:
    """The table of all routes. HEAD goes where GET goes."""

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

    Raises Cancelled if the caller left.
    """
    working = asyncio.ensure_future(work)
    try:
        awaited: set[asyncio.Future[Any]] = {working, call.left}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
        return working.result()
    except asyncio.CancelledError:
        if working.cancelled():
            raise Cancelled("the caller left before the model was loaded") from None
        raise
    finally:
        working.cancel()
