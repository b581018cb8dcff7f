"""The routes of docs/jupyter.md under `api/`. Each is authenticated and authorised, and returns errors as JSON."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from workbench.config import model_config
from workbench.core.model import check_model_name
from workbench.core.threads import in_thread
from workbench.errors import Forbidden, InvalidInput, TooLarge, Unauthenticated, Unavailable, WorkbenchError
from workbench.jupyter.loadtests import LoadTests, compared, decode_request, load_form
from workbench.jupyter.model_source import find
from workbench.live.relay import API
from workbench.live.tryout import TryRequest, try_out
from workbench.live.watch import Watch, answered
from workbench.loadtest.analysis.compare import compare
from workbench.loadtest.plan import Target
from workbench.loadtest.report.report import Report
from workbench.protocols import control
from workbench.protocols.status_codes import http_status

RESOURCE = "infer-workbench"
"""The resource that an authorizer is asked about: `read` for GET routes, `write` for those that change something."""

BODY_BYTES = 1024 * 1024
"""Largest body that a page may send."""

FILES_BYTES = 20 * 1024 * 1024
"""Largest body of a try with files in it, as pictures. docs/jupyter.md says what one costs the event loop."""

HEAD_LENGTH = "Inference-Header-Content-Length"
"""As with the service's own binary requests: how much of the body is JSON. Files follow."""

LOG_LINES = 1000

SLOW_REQUESTS = 100
LATEST = 1e11
"""Upper bound of Unix seconds."""

RUNS = 50
MOST_RUNS = 2000
"""Most load tests in one answer."""


def routes() -> list[tuple[str, type[APIHandler]]]:
    """Return (pattern, handler) of each route, below the base URL."""
    name = r"([^/]+)"
    api = f"{RESOURCE}/api"
    return [
        (f"{api}/status", StatusHandler),
        (f"{api}/models", ModelsHandler),
        (f"{api}/models/{name}", ModelHandler),
        (f"{api}/models/{name}/load", LoadHandler),
        (f"{api}/models/{name}/unload", UnloadHandler),
        (f"{api}/models/{name}/set", SetHandler),
        (f"{api}/models/{name}/slowest", SlowestHandler),
        (f"{api}/models/{name}/try", TryHandler),
        (f"{api}/models/{name}/bench", BenchHandler),
        (f"{api}/load-patterns", LoadPatternsHandler),
        (f"{api}/bench", RunsHandler),
        (f"{api}/bench/{name}", RunHandler),
        (f"{api}/bench/{name}/stop", StopRunHandler),
        (f"{api}/bench/{name}/report", ReportHandler),
        (f"{api}/bench/{name}/compare/{name}", CompareHandler),
        (f"{api}/repository", RepositoryHandler),
        (f"{api}/repository/{name}/load", StoredLoadHandler),
        (f"{api}/shares", SharesHandler),
        (f"{api}/shares/{name}", ShareHandler),
        (f"{api}/start", StartHandler),
        (f"{api}/restart", RestartHandler),
        (f"{api}/stop", StopHandler),
        (f"{api}/logs", LogsHandler),
    ]


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects that the routes use."""

    version: str
    """Version of this server extension."""
    watch: Watch
    load_tests: LoadTests
    absolute_paths: bool
    """Whether a model may lie outside the file browser's folder."""
    worked: Callable[[], None]
    """Called when a user has something done."""


@web.stream_request_body
class Handler(APIHandler):
    """Base of all routes.

    Tornado would hold a whole body, of up to `ServerApp.max_body_size` (512 MB), before it asks who sent it. Here who
    may not send one, or announces too much, is answered at the head, and what comes is counted.
    """

    auth_resource = RESOURCE

    def initialize(self, parts: Parts) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self.parts = parts
        self.watch = parts.watch
        self.load_tests = parts.load_tests

    async def prepare(self) -> None:  # type: ignore[override]
        await super().prepare()
        if self.current_user is None and self.request.method != "OPTIONS":  # which a browser asks before it logs in
            raise web.HTTPError(403)
        announced = self.request.headers.get("Content-Length", "")
        if announced.isdecimal() and len(announced) < 20:  # tornado refuses any other
            self._count(int(announced))

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        self._pieces.append(chunk)
        self._count(self._size)

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def _count(self, size: int) -> None:
        """Answer a request whose body is too large. Tornado then reads no more of it, and closes the connection."""
        if size > self.most_bytes:
            self._pieces.clear()
            self.fail(TooLarge(self.too_large(size)))

    @property
    def most_bytes(self) -> int:
        return BODY_BYTES

    def too_large(self, size: int) -> str:
        return f"the body must have at most {BODY_BYTES} bytes, got {size}"

    def answer(self, value: Any) -> None:
        """Send the result of a route's method as JSON."""
        self.send(msgspec.json.encode(value))

    def fail(self, error: WorkbenchError) -> None:
        """Send an error.

        401 and 403 of the service become 503: the caller cannot help it if this server is refused, and a page would ask
        for a login.
        """
        if isinstance(error, Unauthenticated | Forbidden) and not isinstance(error, Refused):
            error = Unavailable(error.message)
        self.set_status(http_status(error))
        self.send(msgspec.json.encode({"message": error.message, "reason": error.code}))

    def send(self, body: str | bytes, content_type: str = "application/json") -> None:
        self.set_header("Cache-Control", "no-store")
        self.finish(body, set_content_type=content_type)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Read a number from the query. Raises InvalidInput."""
        return control.number_in(name, self.get_query_argument(name, str(default)), low, high)

    def state(self) -> dict[str, Any]:
        return {"version": self.parts.version, "api": API, "service": self.watch.view, "available": True}


class ReadOnlyHandler(Handler):
    """A route that changes nothing. Pages poll it, so it does not count as use of this server."""

    _track_activity = False


class Refused(Forbidden):
    """Forbidden by this server itself, not by its service."""


def route(method: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[None] | None]:
    """Require authentication and authorisation, send what the method returns, and turn a WorkbenchError into JSON."""

    @functools.wraps(method)
    async def inner(self: Handler, *args: str) -> None:
        try:
            value = await method(self, *args)
        except WorkbenchError as error:
            self.fail(error)
        else:
            self.answer(value)

    return web.authenticated(authorized(inner))


class StatusHandler(ReadOnlyHandler):
    @route
    async def get(self) -> object:
        return self.state()


class ModelsHandler(ReadOnlyHandler):
    @route
    async def get(self) -> object:
        if not self.watch.running:
            return []
        client = await self.watch.client()
        return [control.encode_status(status) for status in await answered(client.statuses())]


class ModelHandler(ReadOnlyHandler):
    @route
    async def get(self, name: str) -> object:
        client = await self.watch.client()
        return [control.encode_status(status) for status in await answered(client.statuses(name))]


class LoadHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        asked = control.decode_load_request(self.body)
        # Check everything that can be refused before a service is started.
        check_model_name(name)
        model_config(asked.config)
        absolute = self.parts.absolute_paths and await self._may("execute", "kernels")
        if not await self._may("read", "contents"):
            raise Refused("you may not read this server's files, so none can be loaded as a model")
        try:
            source = await find(self.contents_manager, asked.path, absolute=absolute)
        except Forbidden as error:
            raise Refused(error.message) from None
        if asked.allow_code and not await self._may("execute", "kernels"):
            raise Refused("a Python function is code, and you may not execute any on this server")
        with self.watch.job():
            await self.watch.start()
            client = await self.watch.client()
            code = asked.allow_code
            if source.path is not None:
                loaded = await client.load(name, source.path, asked.config, force=asked.force, allow_code=code)
            else:
                assert source.content is not None
                staged = await client.stage(name, source.content, asked.config, allow_code=code)
                loaded = (
                    staged if staged.unchanged else await client.commit(name, staged.status.version, force=asked.force)
                )
        return control.encode_load(loaded.status, loaded.unchanged, loaded.previous, loaded.seconds)

    async def _may(self, action: str, resource: str) -> bool:
        return bool(await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, resource)))


class UnloadHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        client = await self.watch.client()
        await client.unload(name)
        return {}


class SetHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        settings = control.decode_settings(self.body)
        client = await self.watch.client()
        loaded = await client.configure(name, settings)
        return control.encode_load(loaded.status, loaded.unchanged, loaded.previous, loaded.seconds, loaded.live)


class SlowestHandler(ReadOnlyHandler):
    @route
    async def get(self, name: str) -> object:
        since, until = self.number("since", 0.0, 0.0, LATEST), self.number("until", LATEST, 0.0, LATEST)
        limit = int(self.number("limit", SLOW_REQUESTS, 1, SLOW_REQUESTS))
        client = await self.watch.client()
        return {"requests": await answered(client.slowest(name, since, until, limit))}


class TryHandler(Handler):
    """Takes JSON, or JSON with files behind it: as they are, since base64 in JSON would hold up the event loop."""

    @property
    def most_bytes(self) -> int:
        return BODY_BYTES if self._head_length is None else FILES_BYTES

    def too_large(self, size: int) -> str:
        if self._head_length is None:
            return super().too_large(size)
        return (
            f"the files that are tried may have {FILES_BYTES >> 20} MiB together, got {size / 2**20:.1f} MiB; "
            "call the model from a notebook for larger ones"
        )

    @property
    def _head_length(self) -> str | None:
        return self.request.headers.get(HEAD_LENGTH)

    @route
    async def post(self, name: str) -> object:
        length, body = self._head_length, self.body
        end = len(body) if length is None else int(length) if length.isdecimal() and len(length) < 10 else -1
        if not 0 <= end <= len(body):
            raise InvalidInput(f"{HEAD_LENGTH} is the length of the JSON in bytes, got {str(length)[:40]!r}")
        asked = control.decode_body(body[:end] or b"{}", TryRequest, BODY_BYTES)
        client = await self.watch.client()
        self.parts.worked()
        return await try_out(client, name, asked, memoryview(body)[end:])


class BenchHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        asked = decode_request(self.body or b"{}")
        client = await self.watch.client()
        self.parts.worked()
        with self.watch.job():
            await answered(client.status(name, asked.version))
            token, file = client.token, client.token_file
            target = Target(
                name,
                client.url,
                asked.version,
                token,
                controlled=True,
                token_file=file,
                own=client.own,
                ca_file=client.ca_file,
            )
            return {"run": await self.load_tests.start(target, asked)}


class LoadPatternsHandler(ReadOnlyHandler):
    @route
    async def get(self) -> object:
        return load_form()


class RunsHandler(ReadOnlyHandler):
    @route
    async def get(self) -> object:
        limit = int(self.number("limit", RUNS, 1, MOST_RUNS))
        return await self.load_tests.runs(self.get_query_argument("model", None), limit)


class RunHandler(ReadOnlyHandler):
    @route
    async def get(self, run: str) -> object:
        return await self.load_tests.figures(run)


class StopRunHandler(Handler):
    @route
    async def post(self, run: str) -> object:
        await self.load_tests.stop(run)
        return await self.load_tests.figures(run)


class ReportHandler(ReadOnlyHandler):
    """Serves a report: a page without scripts that fetches nothing, sandboxed away from Jupyter's own origin."""

    @property
    def content_security_policy(self) -> str:
        return f"{super().content_security_policy}; style-src 'unsafe-inline'; sandbox"

    def answer(self, value: Any) -> None:
        self.send(value, "text/html; charset=utf-8")

    @route
    async def get(self, run: str) -> object:
        return await in_thread(Report(await self.load_tests.run(run)).to_html)


class CompareHandler(ReadOnlyHandler):
    @route
    async def get(self, run: str, other: str) -> object:
        a, b = await self.load_tests.run(run), await self.load_tests.run(other)
        return compared(await in_thread(lambda: compare(a, b)))


class RepositoryHandler(ReadOnlyHandler):
    @route
    async def get(self) -> object:
        if not self.watch.running:
            return []
        client = await self.watch.client()
        return await answered(client.index())


class StoredLoadHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        settings = control.decode_settings(self.body)
        model_config(settings)
        client = await self.watch.client()
        began = time.monotonic()
        with self.watch.job():
            status = await client.load_stored(name, settings)
        return control.encode_load(status, False, None, time.monotonic() - began)


class ShareTerms(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A share to make. A page can ask for no token: it gets the link, which gives one to whoever opens it first."""

    models: list[str]
    label: str
    rate: float | str | None = None
    expires: float | str = "7d"
    row_rate: float | str | None = None
    quota: int | str | None = None
    row_quota: int | str | None = None
    max_in_flight: int | None = None
    version: int | str | None = None
    max_body: int | str | None = None
    metrics: bool = False


class SharesHandler(Handler):
    @route
    async def get(self) -> object:
        if not self.watch.running:
            return []
        client = await self.watch.client()
        return [dataclasses.asdict(share) for share in await answered(client.shares())]

    @route
    async def post(self) -> object:
        terms = control.decode_body(self.body, ShareTerms)
        client = await self.watch.client()
        url = await in_thread(self.watch.shared.jupyter_url)
        made = await client.share(msgspec.to_builtins(terms) | ({"url": url} if url else {}))
        return {name: value for name, value in dataclasses.asdict(made).items() if name != "token"}


class ShareHandler(Handler):
    @route
    async def delete(self, share: str) -> object:
        client = await self.watch.client()
        await client.revoke(share)
        return {}


class StartHandler(Handler):
    @route
    async def post(self) -> object:
        await self.watch.start()
        return self.state()


class RestartHandler(Handler):
    @route
    async def post(self) -> object:
        await self.watch.restart()
        return self.state()


class StopHandler(Handler):
    @route
    async def post(self) -> object:
        await self.watch.stop()
        return self.state()


class LogsHandler(ReadOnlyHandler):
    @route
    async def get(self) -> object:
        text = self.get_query_argument("lines", "200")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LOG_LINES:
            raise InvalidInput(f"lines must be a whole number from 1 to {LOG_LINES}, got {text[:40]!r}")
        return {"lines": await in_thread(lambda: self.watch.shared.logs(int(text)))}
