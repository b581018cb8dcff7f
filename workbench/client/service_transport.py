"""Sends HTTP requests to one service, and finds the shared service again where it has moved or its worker is replaced.

An error of the service is raised as the class of `workbench.errors` that the engine raised; a service that cannot be
reached raises `Unavailable`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from workbench.client.fork_safety import keep_from_children
from workbench.client.request_body import Body, payload
from workbench.client.signs_of_life import SILENT_S, while_alive
from workbench.client.token_source import TokenSource
from workbench.client.trusted_certificates import client_context, trust
from workbench.client.user_agent import user_agent
from workbench.errors import (
    DeadlineExceeded,
    Draining,
    InvalidInput,
    ModelNotFound,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.protocols import status_codes
from workbench.rendezvous.process_identity import ProcessHandle, ProcessKey, boot_ticks
from workbench.share.share_token import PREFIX

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from workbench.client.shared_service import Address, SharedService

CONNECT_TIMEOUT_S = 5.0

ASKED_AGAIN_S = 0.1
"""Pause before a request is sent again to a service whose worker is being replaced."""

WAIT_S = 60.0
"""How long a request waits for the shared service by default."""

CONTROL_S = 30.0
"""What a control call may take that the service answers from memory; more than connections wait for the next worker.
Calls that load or drain a model last as long as the service lives (signs_of_life)."""

KEEP_ALIVE_S = 60.0
"""Less than the service's 75 s, so that no request is sent on a connection that is being closed."""

_HOW_TO_GIVE_IT = (
    "connect(url, token) in Python, --url URL --token-file FILE on the command line; "
    "`%infer status`, where the service was started, names the file that holds it"
)


class HttpRequest(msgspec.Struct, frozen=True):
    """What is asked of a service, and how long it may take."""

    method: str
    path: str
    """With its query, both quoted."""
    body: Body = None
    headers: Mapping[str, str] = {}
    timeout_s: float | None = None
    """The most that the whole call may take. None: as long as the connection lasts."""
    silent_s: float | None = None
    """The most that may pass between two pieces of the answer."""
    own_deadline: bool = False
    """Whether `timeout_s` is the caller's: when it has passed, that is DeadlineExceeded, and not a silent service."""
    repeat: bool = False
    """Whether it is sent again, once, if a kept connection was closed."""

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


class ServiceTransport:
    """Holds connections to the service at `url` from the first request until `close()`.

    It belongs to the event loop that sends first; in a forked child it opens new connections.
    """

    def __init__(
        self,
        url: str,
        source: TokenSource,
        *,
        ca_file: str = "",
        connections: int = 256,
        own: bool = False,
        shared: SharedService | None = None,
        keeper: ProcessKey | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        """`url` may be a gRPC address, of which every request is refused with the reason."""
        parts = urlsplit(url)
        self._is_grpc = parts.scheme in ("grpc", "grpcs")
        if ca_file and parts.scheme in ("http", "grpc"):
            raise InvalidInput("a ca_file is for TLS: use an address https://HOST:PORT, or grpcs:// for gRPC")
        if not self._is_grpc and (
            parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None
        ):
            raise InvalidInput("the URL must look like http://127.0.0.1:8080, without a user name or token in it")
        if own and self._is_grpc:
            raise InvalidInput("gRPC connects by itself, so who listens there cannot be looked at: use the http:// URL")
        self.url = url.rstrip("/")
        self.source = source
        self.ca_file = ca_file
        self.own = own
        """Whether it is a service of this user on this machine."""
        self.shared = shared
        """Where `url` came from, and where a new one is found when nothing listens there any more."""
        self.wait_s = wait_s
        """How long a request waits for the shared service while it is started, or its worker is replaced."""
        self.gone: Callable[[], str] = lambda: ""
        """Returns why the service cannot be reached, in one sentence; empty if not known."""
        self._keeper = None if keeper is None else ProcessHandle(keeper)
        """The service's supervisor. Once it has ended, a worker that still answers is about to end too."""
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    async def rebind(self, address: Address) -> None:
        """Use the service at `address` from now on."""
        moved = (address.url, address.ca_file) != (self.url, self.ca_file)
        self.source.token, self.source.path = address.token, Path(address.token_file) if address.token_file else None
        if address.keeper != (self._keeper and self._keeper.process):
            self._keeper = None if address.keeper is None else ProcessHandle(address.keeper)
            moved = True  # open connections lead to a worker that is about to end
        if moved:
            self.url, self.ca_file = address.url, address.ca_file
            await self.close()

    # Whole answers

    async def json(self, method: str, path: str, body: Mapping[str, object] | None = None, *, lasting: str = "") -> Any:
        """The decoded answer of a control call. `lasting` says what takes as long as it must; other calls are answered
        from memory."""
        request = HttpRequest(
            method,
            path,
            None if body is None else json.dumps(body).encode(),
            {} if body is None else {"Content-Type": "application/json"},
            timeout_s=None if lasting else CONTROL_S,
            repeat=method == "GET",
        )
        answer, _ = await (self.lasting(lasting, request) if lasting else self.call(request))
        return self.decoded(answer or b"null")

    async def lasting(self, what: str, request: HttpRequest) -> tuple[bytes, Mapping[str, str]]:
        """As `call`, for as long as the service answers others. Raises Unavailable, saying what was waited for."""
        try:
            return await while_alive(self.call(request), self._alive)
        except TimeoutError as error:
            raise Unavailable(
                f"the service at {self.url} gave no sign of life for {SILENT_S:g} s while it was {what}; it may still "
                "do so: look at its models once it answers"
            ) from error

    async def _alive(self) -> bool:
        import aiohttp

        try:
            async with await self._sent(HttpRequest("GET", "/v2/health/live", timeout_s=CONTROL_S)):
                return True
        except (WorkbenchError, aiohttp.ClientError, OSError):
            return False

    def decoded(self, text: bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise Unavailable(f"{self.url} is not an inference service: its answer is not JSON") from None

    async def call(self, request: HttpRequest) -> tuple[bytes, Mapping[str, str]]:
        """Send a request and return the answer's body and headers.

        A request that may have been running when the service died is never repeated, since it may have been the cause,
        unless it is a GET.
        """
        import aiohttp

        began = boot_ticks()
        try:
            try:
                response = await self.open(request)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                if (happened := await self._happened(began)) and request.method != "GET":
                    raise Unavailable(happened) from error
                if not request.repeat:
                    raise
                response = await self.open(request)
            async with response:
                try:
                    return await response.read(), response.headers
                except aiohttp.ClientPayloadError as error:
                    if happened := await self._happened(began):
                        raise Unavailable(happened) from error
                    raise
        except TimeoutError as error:
            if request.timeout_s is None or isinstance(error, aiohttp.ConnectionTimeoutError):
                raise self.unreachable(error) from error
            if not request.own_deadline:
                late = f"did not answer {request} within {request.timeout_s:g} s"
                raise Unavailable(f"the service at {self.url} {late}") from error
            raise DeadlineExceeded("the request's deadline passed before the service answered") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self.unreachable(error) from error

    async def _happened(self, since: int) -> str:
        return await asyncio.to_thread(self.shared.happened, since) if self.shared is not None else ""

    # Answers whose body is still to come

    async def open(self, request: HttpRequest) -> aiohttp.ClientResponse:
        """Return a response with a good status, its body unread; raise the service's error otherwise.

        If nothing listens any more, so nothing was sent, or if the service refused the request because it is ending or
        has no worker, the shared service is found again or started, and the request is sent once it is there; so it is
        if the model was refused because it is not back yet.
        """
        import aiohttp

        if self._is_grpc:
            raise Unsupported(
                f"{self.url} is a gRPC address, which answers inferences; to load, set or watch models, connect to the "
                "service's http:// URL"
            )
        if self.shared is None or self._keeper is None or self._keeper.alive:
            try:
                return await self._admitted(request)
            except (aiohttp.ClientConnectorError, Draining):
                if self.shared is None:
                    raise
            except (ModelNotFound, Unavailable) as error:
                if self.shared is None or not self.may_come_back(error):
                    raise
        return await self._admitted_later(request)

    async def _admitted_later(self, request: HttpRequest) -> aiohttp.ClientResponse:
        """Send again until a worker of the shared service takes the request, for `wait_s` at most."""
        import aiohttp

        assert self.shared is not None
        until = time.monotonic() + (self.wait_s if request.timeout_s is None else min(self.wait_s, request.timeout_s))
        while True:
            left_s = until - time.monotonic()
            await self.rebind(await asyncio.to_thread(self.shared.ensure, max(left_s, 0.0), restarting=True))
            try:
                return await self._admitted(request)
            except (aiohttp.ClientConnectorError, ModelNotFound, Unavailable) as error:
                refused = isinstance(error, aiohttp.ClientConnectorError | Draining)
                if not refused and not self.may_come_back(error):
                    raise
                if time.monotonic() > until:
                    said = error.message if isinstance(error, WorkbenchError) else "nothing listens there"
                    raise Unavailable(f"after {self.wait_s:g} s: {said}") from None
            await asyncio.sleep(ASKED_AGAIN_S)

    def may_come_back(self, error: Exception) -> bool:
        """Whether the model is refused because a new worker has not got it back yet; nothing was run then."""
        return type(error) in (ModelNotFound, Unavailable) and self.shared is not None and self.shared.restores()

    async def _admitted(self, request: HttpRequest) -> aiohttp.ClientResponse:
        """Send, and once more where the token was refused and its file holds another one by now, or the certificate."""
        import aiohttp

        token = self.source.token
        try:
            return await self._sent(request)
        except Unauthenticated:
            if not await self.source.renewed(token):
                raise
        except aiohttp.ClientConnectorCertificateError:  # it may have been renewed, and its file with it
            if not self.ca_file or self._tls is None:
                raise
            trust(self._tls, self.ca_file)
        return await self._sent(request)

    async def _sent(self, request: HttpRequest) -> aiohttp.ClientResponse:
        import aiohttp
        from yarl import URL

        headers = dict(request.headers)
        if (token := self.source.token) is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = payload(request.body, headers)
        response = await self._connected().request(
            request.method,
            URL(self.url + request.path, encoded=True),
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=request.timeout_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=request.silent_s
            ),
        )
        if response.status == 200:
            return response
        async with response:
            error = status_codes.error_from_http(response.status, await response.read())
        if isinstance(error, Unauthenticated) and not (token or "").startswith(PREFIX):  # of a share all is said
            wrong = "does not know this token" if token else "needs its token"
            raise Unauthenticated(f"the service at {self.url} {wrong}: {_HOW_TO_GIVE_IT}")
        raise error

    def _connected(self) -> aiohttp.ClientSession:
        import aiohttp

        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            options: dict[str, Any] = {"limit": self._connections, "keepalive_timeout": KEEP_ALIVE_S}
            if self.url.startswith("https:"):
                options["ssl"] = self._tls = client_context(self.ca_file, self.own)
            if self.own:
                from workbench.client.own_connector import OwnConnector

                connector: aiohttp.TCPConnector = OwnConnector(self._keeper, **options)
            else:
                connector = aiohttp.TCPConnector(**options)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, headers={"User-Agent": user_agent()}
            )
            self._loop = loop
            keep_from_children(self._session)
        return self._session

    def unreachable(self, error: BaseException) -> Unavailable:
        """The error to raise for one of aiohttp's or the system's."""
        import aiohttp

        from workbench.client.own_connector import ForeignListenerError

        why = self.gone() or "nothing listens there, or it ended while answering"
        if isinstance(error, ForeignListenerError):
            why = "it has ended, and a process of another user listens there now; nothing was sent to it"
        if isinstance(error, aiohttp.ClientResponseError):  # the answer could not be parsed
            why = "what listens there does not speak HTTP/1.1; a gRPC port is called as grpc://HOST:PORT"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            doubt = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return Unavailable(
                f"the service at {self.url} was not called, since its certificate is not trusted ({doubt}): give the "
                "file that says whom to trust, ca_file=FILE or --ca-file FILE"
            )
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            why = "no TLS is spoken there, or none that both sides know; call it as http:// if it serves without"
        return Unavailable(f"the service at {self.url} does not answer: {why}")
