"""One request of a caller with a share's token: checked, counted, and sent on to the service piece by piece.

Nothing of Jupyter's login is asked or taken here: no cookie, no XSRF token, no token of this server. So the handler is
none of Jupyter's, and what JupyterHub puts into those does not reach it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado import web
from tornado.iostream import StreamClosedError

from workbench.client.forwarding import ForwardedAnswer, Forwarder
from workbench.errors import (
    DeadlineExceeded,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    QueueFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WorkbenchError,
)
from workbench.jupyter.endpoint import Refusal, SharedEndpoint
from workbench.jupyter.endpoint_address import is_loopback
from workbench.jupyter.endpoint_routes import ENDPOINT, find_route
from workbench.protocols.status_codes import error_body, http_status
from workbench.share.share_token import PREFIX

log = logging.getLogger("workbench.jupyter")

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")

PASSED_ON: Final = (
    "Accept",
    "Accept-Encoding",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Inference-Header-Content-Length",
    "Traceparent",
    "Tracestate",
    "User-Agent",
    "X-Request-Id",
)
"""What the service is told of a request's headers, besides the token. No cookie, no Origin, nothing of a proxy's."""

NOT_PASSED_BACK: Final = frozenset(
    {
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of an answer that belong to the connection to the service, or are set here."""

STALL_S: Final = 30.0
"""Seconds in which a client must take a piece of its answer."""

LATE_BYTES: Final = 16 * 1024 * 1024
LATE_S: Final = 2.0
"""How much of a body, and for how long, is read and thrown away once its answer is known."""

OVER_RATE: Final = '"requests'
"""So the field RateLimit of a refusal begins that is for requests a second or a day, and not for what is under way."""

OF_REFUSAL: Final = ("content-type", "ratelimit", "ratelimit-policy", "retry-after")
"""The headers that such a refusal is given again with."""

CLAIM_BYTES: Final = 1024
CLAIM_S: Final = 10.0
"""How large the body of who has no token may be, and how long it may take."""

_TOKEN: Final = re.compile(rf"bearer +({PREFIX}[A-Za-z0-9_\-]{{20,100}}) *", re.IGNORECASE)


class BodyPipe:
    """A request's body between two connections: one piece at a time, so that the sender waits for the reader."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._dropping = False
        self._dropped = 0
        self._over = asyncio.Event()
        """The body has ended, or is not waited for any longer."""
        self._ended = False

    async def put(self, piece: bytes) -> None:
        """Returns when there is room for another piece."""
        if self._dropping:
            self._dropped += len(piece)
            if self._dropped > LATE_BYTES:
                self._over.set()
        else:
            await self._pieces.put(piece)

    async def end(self) -> None:
        self._ended = True
        self._over.set()
        await self.put(b"")

    async def pieces(self) -> AsyncIterator[bytes]:
        while piece := await self._pieces.get():
            yield piece

    async def whole(self) -> bytes:
        """All of a small body. Raises TooLarge, DeadlineExceeded."""
        found = b""
        try:
            async with asyncio.timeout(CLAIM_S):
                async for piece in self.pieces():
                    found += piece
                    if len(found) > CLAIM_BYTES:
                        raise TooLarge(f"without a token a body may have {CLAIM_BYTES} bytes, got more")
        except TimeoutError:
            raise DeadlineExceeded(f"the body did not come whole within {CLAIM_S:g} s") from None
        return found

    def drop(self) -> None:
        """Throw away what still comes."""
        self._dropping = True
        while not self._pieces.empty():
            self._pieces.get_nowait()  # whoever waits for room goes on

    async def dropped(self) -> bool:
        """Throw away what still comes, and wait for its end, though not for long: tornado closes the connection where
        an answer ends before its request, and the answer to a client that still sends may be lost. Returns whether
        the end has come."""
        self.drop()
        try:
            async with asyncio.timeout(LATE_S):
                await self._over.wait()
        except TimeoutError:
            pass
        return self._ended


@web.stream_request_body
class EndpointHandler(web.RequestHandler):
    """All paths below the endpoint."""

    def initialize(self, endpoint: SharedEndpoint) -> None:
        self._endpoint = endpoint
        self._base_url: str = self.settings["base_url"]
        self._body = BodyPipe()
        self._received = 0
        self._over_cap = False
        self._answering: asyncio.Task[None] | None = None
        """Answers, beside tornado, which reads the body meanwhile."""

    # What Jupyter and tornado would do with a request

    def check_xsrf_cookie(self) -> None:
        """Asks for none: a page of another site cannot know a share's token, and no cookie stands for one."""

    def _log(self) -> None:
        """Writes no line for each request of others, which could fill the log: the service counts them."""

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Without the address, in whose query a caller may have put its token."""
        log.error("a request with a share's token failed", exc_info=(typ, value, tb))

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._body.drop()
        self.finish(error_body(WorkbenchError(f"the request cannot be answered: HTTP status {status_code}")))

    # The request

    async def prepare(self) -> None:
        try:
            forwarder, path, token = await self._admitted()
        except WorkbenchError as error:
            self._answer_with(self._refuse(error))
        else:
            if path.endswith("/infer") and (refusal := self._endpoint.refusal(token)) is not None:
                self._answer_with(self._refuse_again(refusal, token))
            else:
                self._answer_with(self._forward(forwarder, path, token))

    async def data_received(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self._endpoint.limits.body_bytes and not self._over_cap:
            self._over_cap = True
            if not self._headers_written:
                self._answer_with(self._refuse(self._too_large(f"got {self._received} so far")))
        await self._body.put(chunk)

    @allow_unauthenticated
    async def _answered(self, path: str) -> None:
        assert self._answering is not None
        await self._body.end()
        await asyncio.wait([self._answering])
        if self._answering.cancelled():
            self._break_off()
        else:
            self._answering.result()  # raises what nobody foresaw, which is answered with 500

    get = head = post = put = patch = delete = options = _answered

    def on_connection_close(self) -> None:
        """End the call of the service with it, which cancels an inference."""
        self._body.drop()
        if self._answering is not None:
            self._answering.cancel()

    def _answer_with(self, answer: Coroutine[Any, Any, None]) -> None:
        """In a task, in place of the one before."""
        if self._answering is not None:
            self._answering.cancel()
        self._answering = asyncio.create_task(answer)
        self._endpoint.begin(self._answering)

    async def _refuse(self, error: WorkbenchError) -> None:
        """Answer with an error as the service would."""
        waits = self.request.headers.get("Expect", "").lower() == "100-continue"
        if waits or not await self._body.dropped():
            self.set_header("Connection", "close")
        self._fail(error)

    async def _refuse_again(self, refusal: Refusal, token: str) -> None:
        """Answer as the service has, a moment ago, to another inference with this token."""
        await self._endpoint.refusals_turn(token)
        if not await self._body.dropped():
            self.set_header("Connection", "close")
        self.set_status(429)
        for name, value in refusal.headers:
            self.set_header(name, value)
        self.finish(refusal.body)

    def _fail(self, error: WorkbenchError) -> None:
        self._body.drop()
        self.set_status(http_status(error))
        if isinstance(error, QueueFull | Unavailable):
            self.set_header("Retry-After", "1")
        if isinstance(error, Unauthenticated):
            self.set_header("WWW-Authenticate", "Bearer")
        self.finish(error_body(error))

    async def _admitted(self) -> tuple[Forwarder, str, str]:
        """(the service, the path there, the token; empty where none is needed). Raises what is wrong with the head."""
        method = self.request.method or ""
        self._check_site(method)
        forwarder = await self._endpoint.service()
        path = self.request.path.removeprefix(f"{self._base_url}{ENDPOINT}")
        route = find_route(path)
        token = "" if route is not None and route.public else self._token()
        if path.startswith("/control/"):  # in the service's words, by which clients know what their token is for
            raise Forbidden("the token of a share calls models; this is for the owner of the service")
        if route is None:
            raise NotFound("there is nothing here; docs/sharing.md lists what a share may call")
        if method not in route.methods:
            allowed = ", ".join(route.methods)
            self.set_header("Allow", allowed)
            raise MethodNotAllowed(f"{method} does not go with this path; it takes {allowed}")
        announced = self.request.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self._endpoint.limits.body_bytes:
            raise self._too_large(f"got {announced[:20]}")
        return forwarder, path, token

    def _check_site(self, method: str) -> None:
        """Raises Forbidden for a Host that this server is not called by (against DNS rebinding, as Jupyter does it),
        and for a change that a page of another site asks for."""
        host = self.request.host
        name = re.sub(r":\d+$", "", host).removeprefix("[").removesuffix("]")
        if not self.settings.get("allow_remote_access", False) and not (
            name in self.settings.get("local_hostnames", ["localhost"]) or is_loopback(name)
        ):
            raise Forbidden("the Host header names another machine than this Jupyter server answers for")
        origin = self.request.headers.get("Origin")
        if method not in SAFE_METHODS and origin not in (None, f"http://{host}", f"https://{host}"):
            raise Forbidden("the Origin header names another site; only pages of this server itself may call it")

    def _token(self) -> str:
        """The share's token. Raises Unauthenticated; neither the owner's token nor one of Jupyter's is passed on."""
        found = _TOKEN.fullmatch(self.request.headers.get("Authorization", ""))
        if found is None:
            raise Unauthenticated(
                "this needs the token of a share, and takes neither Jupyter's nor the service's own: send the header "
                "Authorization: Bearer TOKEN"
            )
        return found[1]

    def _too_large(self, got: str) -> TooLarge:
        limit = self._endpoint.limits.body_bytes
        return TooLarge(f"through this Jupyter server a body may have {limit} bytes, {got}")

    # The answer

    async def _forward(self, forwarder: Forwarder, path: str, token: str) -> None:
        method = self.request.method or ""
        body: AsyncIterator[bytes] | bytes | None = self._piped()
        try:
            if body is not None and not token:  # else callers that send half of a body would have all places
                body = await self._body.whole()
            asked = forwarder.answer(method, path, self._headers_for(token, body is not None), body)
            async with self._endpoint.turn(token), asked as answer:
                if token:
                    self._endpoint.judged(token, answer.status != 401)
                    if answer.status == 401:  # its place is free before the rest of its body has come
                        raise Unauthenticated(
                            "the token that was sent is of no share that holds: it was revoked, has expired, or is "
                            "wrong; ask whoever shared the model"
                        )
                if not await self._body.dropped():
                    self.set_header("Connection", "close")
                await self._send_back(answer, token if path.endswith("/infer") else "")
        except WorkbenchError as error:
            if isinstance(error, Unavailable):
                self._endpoint.lost()
            if self._headers_written or self._finished:
                self._break_off()
            else:
                await self._refuse(error)
        except StreamClosedError:
            pass  # the client has left
        finally:
            self._body.drop()

    def _headers_for(self, token: str, with_body: bool) -> dict[str, str]:
        sent = self.request.headers
        headers = {name: sent[name] for name in PASSED_ON if name in sent}
        if not with_body:  # else the service would take the next request on this connection for the body
            headers.pop("Content-Length", None)
        headers["X-Forwarded-Proto"] = sent.get("X-Forwarded-Proto") or self.request.protocol
        callers = [*sent.get_list("X-Forwarded-For"), self.request.remote_ip or ""]
        headers["X-Forwarded-For"] = ", ".join(filter(None, callers))
        headers["X-Forwarded-Host"] = self.request.host
        headers["X-Forwarded-Prefix"] = f"{self._base_url}{ENDPOINT}"
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _piped(self) -> AsyncIterator[bytes] | None:
        """The body; None where the request has none."""
        headers = self.request.headers
        has_body = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
        return self._body.pieces() if has_body and self.request.method == "POST" else None

    async def _send_back(self, answer: ForwardedAnswer, token: str) -> None:
        """`token` is that of an inference."""
        self.clear_header("Content-Type")
        self.set_status(answer.status, answer.reason)
        passed = [(name, value) for name, value in answer.headers if name.lower() not in NOT_PASSED_BACK]
        for name, _ in passed:
            self.clear_header(name)
        for name, value in passed:
            self.add_header(name, value)
        if answer.status == 503 and "Retry-After" not in self._headers:
            self.set_header("Retry-After", "1")
        named = {name.lower(): value for name, value in passed}
        over_rate = bool(token) and named.get("ratelimit", "").startswith(OVER_RATE)
        async for piece in answer.pieces():
            if over_rate and len(piece) == int(named.get("content-length", 0)):
                kept = tuple((name, named[name]) for name in OF_REFUSAL if name in named)
                self._endpoint.over_rate(token, kept, piece)
            self.write(piece)
            async with asyncio.timeout(STALL_S):
                await self.flush()
        await self.finish()

    def _break_off(self) -> None:
        """Close the connection, since an answer that is cut off must not look whole."""
        if not self._finished:
            self.detach().close()
