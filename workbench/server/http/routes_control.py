"""The control plane: load, stage, commit, set, unload; status, logs, and the stream of snapshots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from workbench.config import model_config
from workbench.core.model import check_model_name
from workbench.engine import LoadResult
from workbench.errors import Draining, InvalidInput, ModelNotFound, TooLarge, Unsupported
from workbench.protocols import control
from workbench.repository.store import StoredModel, Upload
from workbench.server.gate.scopes import Scope
from workbench.server.http.message import BodyType, Response
from workbench.server.http.routing import Call, Route, while_there
from workbench.server.inference import SHUTTING_DOWN
from workbench.server.process.environment_info import runs_under
from workbench.server.service import VERSION, Service
from workbench.telemetry import past_snapshots, rolling_windows
from workbench.telemetry.slow_request_log import KEPT
from workbench.telemetry.snapshots import Snapshots

NDJSON = b"application/x-ndjson"

STREAM_INTERVAL_S = (0.1, 10.0)
LOG_LINES = 1000
AUDIT_LINES, MOST_AUDIT_LINES = 1000, 10_000

LIFE_S = 5.0
"""How often a connection that holds something is written to."""
LATEST = 1e11
"""Unix seconds that will never be."""

_WRITE_BYTES = 1024 * 1024
"""Of an upload, how much is gathered for one write: a thread's turn costs more than the copy."""


def routes(service: Service) -> list[Route]:
    plane = ControlRoutes(service)
    return [
        Route("GET", "/control/status", plane.status, Scope.READ),
        Route("GET", "/control/models", plane.models, Scope.READ),
        Route("GET", "/control/models/{name}", plane.model, Scope.READ),
        Route("GET", "/control/models/{name}/describe", plane.describe, Scope.READ),
        Route("GET", "/control/models/{name}/slowest", plane.slowest, Scope.READ),
        Route("POST", "/control/models/{name}/load", plane.load, action="load"),
        Route("POST", "/control/models/{name}/stage", plane.stage, takes=BodyType.MODEL, action="stage"),
        Route("POST", "/control/models/{name}/versions/{version}/commit", plane.commit, action="commit"),
        Route("POST", "/control/models/{name}/versions/{version}/discard", plane.discard, action="discard"),
        Route("POST", "/control/models/{name}/unload", plane.unload, action="unload"),
        Route("POST", "/control/models/{name}/versions/{version}/unload", plane.unload, action="unload"),
        Route("POST", "/control/models/{name}/set", plane.set, action="set"),
        Route("POST", "/control/models/{name}/lend", plane.lend, action="lend"),
        Route("GET", "/control/figures", plane.figures, Scope.READ),
        Route("GET", "/control/logs", plane.logs),
        Route("GET", "/control/audit", plane.audit),
        Route("GET", "/control/stream", plane.stream, Scope.READ),
        Route("POST", "/control/token/rotate", plane.rotate_token, action="rotate-token"),
    ]


class ControlRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = service.engine

    # What there is

    async def status(self, call: Call) -> Response:
        service = self._service
        store = await asyncio.to_thread(service.store.space.measure)
        state = service.metrics.state()
        models = [control.encode_status(status) for status in state.statuses]
        return _json(
            {
                "state": service.state,
                "ready": service.ready,
                "version": VERSION,
                "url": service.url,
                "grpc": service.grpc,
                "pid": service.pid,
                "started_at": service.started_at,
                "epoch": service.epoch,
                "runs_under": runs_under(),
                "devices": sorted({status.device for status in state.statuses if status.device}),
                "cpu_s": state.process.cpu_s,
                "resident_bytes": state.process.resident_bytes,
                "store": {"used_bytes": store.used, "left_bytes": store.left},
                "notes": service.notes,
                "models": models,
            }
        )

    async def models(self, call: Call) -> Response:
        return _json([control.encode_status(status) for status in self._engine.statuses()])

    async def model(self, call: Call) -> Response:
        name = call.params["name"]
        statuses = self._engine.statuses(name)
        if not statuses:
            self._engine.status(name)  # says what there is instead
            raise ModelNotFound(f"model {name!r} is not loaded")
        return _json([control.encode_status(status) for status in statuses])

    async def describe(self, call: Call) -> Response:
        description = self._engine.describe(call.params["name"], call.query("version") or None)
        return _json(control.encode_description(description))

    async def slowest(self, call: Call) -> Response:
        name = call.params["name"]
        since = _number(call, "since", 0.0, 0.0, LATEST)
        until = _number(call, "until", LATEST, 0.0, LATEST)
        limit = _number(call, "limit", KEPT, 1, KEPT)
        if not (found := self._service.metrics.slowest(name, since, until, int(limit))):
            self._engine.status(name)  # raises where there is no such model
        return _json(found)

    async def figures(self, call: Call) -> Response:
        asked_s = _number(call, "window", 60, 1, rolling_windows.LONGEST_S)
        window_s, amounts = self._service.metrics.recent(asked_s)
        models = rolling_windows.encode(window_s, amounts, self._engine.statuses())
        return _json({"epoch": self._service.epoch, "time": time.time(), "window_s": window_s, "models": models})

    async def logs(self, call: Call) -> Response:
        lines = _number(call, "lines", 100, 1, LOG_LINES)
        return _json({"lines": self._service.logs.lines(int(lines)) if self._service.logs else []})

    async def audit(self, call: Call) -> Response:
        since = _number(call, "since", 0.0, 0.0, LATEST)
        limit = int(_number(call, "limit", AUDIT_LINES, 1, MOST_AUDIT_LINES))
        found = await self._service.audit.entries(since, limit)
        return Response(200, await asyncio.to_thread(msgspec.json.encode, found))

    # Changes

    async def load(self, call: Call) -> Response:
        async with self._body(call) as body:
            asked = control.decode_load_request(body)
        path = Path(asked.path)
        if not path.is_absolute():
            raise InvalidInput("path must be absolute: the service's own folder is not the caller's")
        name = call.params["name"]
        engine, code, route = self._engine, asked.allow_code, asked.route
        try:
            if asked.stage:
                loading = engine.stage(name, path, asked.config, keep_s=asked.keep_s, allow_code=code, route=route)
            else:
                loading = engine.load(name, path, asked.config, force=asked.force, allow_code=code, route=route)
            loaded = await while_there(call, loading)
            if not asked.stage:
                await self._service.loaded(name)
            return _loaded(call, loaded)
        finally:
            await self._service.persistence.tidy(self._engine)

    async def stage(self, call: Call) -> Response:
        # What can be refused is refused before gigabytes are received in vain.
        name = check_model_name(call.params["name"])
        config = control.decode_settings(call.query("config", "{}").encode())
        model_config(config)
        options = {"allow_code": _flag(call, "allow_code"), "route": not _flag(call, "beside")}
        keep_s = _number(call, "keep_s", 0.0, 0.0, control.MAX_KEEP_S) or None
        limit = self._service.config.limits.max_upload_bytes
        announced = call.headers.get(b"content-length")
        if announced is not None and int(announced) > limit:
            raise TooLarge(f"the model has {int(announced)} bytes; this service takes {limit}: raise max_upload_bytes")
        persistence = self._service.persistence
        stored = None
        try:
            with persistence.receiving():
                size = int(announced or 0)
                upload = await asyncio.to_thread(self._service.store.begin, limit, size=size)
                try:
                    stored = await receive_upload(call.pieces(), upload)
                finally:
                    await asyncio.to_thread(upload.abort)
                staging = self._engine.stage(name, stored, config, keep_s=keep_s, **options)
                return _loaded(call, await while_there(call, staging))
        finally:
            if stored is not None:
                await persistence.tidy(self._engine, [stored.digest])

    async def commit(self, call: Call) -> Response:
        async with self._body(call) as body:
            asked = control.decode_commit_request(body)
        name, version = call.params["name"], call.params["version"]
        result = await self._engine.commit(
            name, version, force=asked.force, provenance=asked.provenance, route=asked.route
        )
        await self._service.loaded(name)
        await self._service.persistence.tidy(self._engine)
        return _loaded(call, result)

    async def discard(self, call: Call) -> Response:
        name, version = call.params["name"], call.params["version"]
        digests = {status.digest for status in self._engine.statuses(name) if status.version == version}
        await self._engine.discard(name, version)
        await self._service.persistence.tidy(self._engine, digests)
        return _json({})

    async def unload(self, call: Call) -> Response:
        version = call.params.get("version")
        call.noted.detail = f"version {version}" if version else ""
        await self._engine.unload(call.params["name"], version)
        await self._service.persistence.tidy(self._engine)
        return _json({})

    async def set(self, call: Call) -> Response:
        async with self._body(call) as body:
            settings = control.decode_settings(body)
        call.noted.detail = _pairs(settings)
        return _loaded(call, await self._engine.configure(call.params["name"], settings))

    async def lend(self, call: Call) -> None:
        """Settings that are in force until the caller leaves, however it does, or the service drains."""
        async with self._body(call) as body:
            settings = control.decode_settings(body)
        call.noted.detail = _pairs(settings)
        if self._service.draining.is_set():
            raise Draining(SHUTTING_DOWN)
        with call.caller.watching():
            await self._lend(call, settings)

    async def _lend(self, call: Call, settings: Mapping[str, Any]) -> None:
        async with self._engine.lend(call.params["name"], settings) as status:
            await call.start_stream(NDJSON)
            line = msgspec.json.encode({"model": control.encode_status(status)}) + b"\n"
            drained = asyncio.ensure_future(self._service.draining.wait())
            ends: set[asyncio.Future[Any]] = {call.left, drained}
            try:
                while not (call.left.done() or drained.done()):
                    await call.send(line)
                    line = b"\n"  # from now on only a sign of life, upon which a dead connection shows
                    await asyncio.wait(ends, timeout=LIFE_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                drained.cancel()

    async def rotate_token(self, call: Call) -> Response:
        """The new token is in the file alone: who stole the old one does not get it by this."""
        if self._service.rotation is None:
            raise Unsupported("the token of this service is in no file, so it is replaced by a restart only")
        return _json({"token_file": str(await self._service.rotation.rotate(call.caller))})

    def _body(self, call: Call) -> AbstractAsyncContextManager[bytes]:
        return call.body(control.BODY_BYTES, self._service.bodies)

    # The stream

    async def stream(self, call: Call) -> None:
        """One snapshot a line until the client leaves or the service drains; with `changes=true` also a short line at
        once when a model changes, and with `past` first what happened in so many seconds before. HEAD gets the head,
        and that is all."""
        low, high = STREAM_INTERVAL_S
        interval_s = _number(call, "interval", 0.5, low, high)
        tells_changes = _flag(call, "changes")
        past_s = _number(call, "past", 0.0, 0.0, past_snapshots.KEPT_S)
        with call.caller.watching():
            await self._stream(call, interval_s, tells_changes, past_s)

    async def _stream(self, call: Call, interval_s: float, tells_changes: bool, past_s: float) -> None:
        service = self._service
        changes = service.metrics.changes
        series = Snapshots(service.metrics.state, service.epoch)
        await call.start_stream(NDJSON)
        if call.head.method == "HEAD":
            return
        if past_s:
            for kept in service.metrics.past.lines(time.time() - past_s, service.epoch):
                await call.send(kept)
        drained = asyncio.ensure_future(service.draining.wait())
        changed: asyncio.Future[int] = asyncio.Future()
        clock = asyncio.get_running_loop().time
        due = clock()
        try:
            while not (call.left.done() or drained.done()):
                told = changes.count
                if clock() < due and changed.done():
                    line = {"epoch": service.epoch, "changed": told}
                else:
                    line = series.take()
                    due = clock() + interval_s
                body = msgspec.json.encode(line) + b"\n"
                await call.send(body)
                if tells_changes:
                    changed.cancel()
                    changed = asyncio.ensure_future(changes.beyond(told))
                awaited: set[asyncio.Future[Any]] = {call.left, drained, changed}
                await asyncio.wait(awaited, timeout=max(due - clock(), 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (drained, changed):
                waiting.cancel()


async def receive_upload(pieces: AsyncIterator[bytes], upload: Upload) -> StoredModel:
    """A body into the store, written in threads; `upload` is not aborted here. Cancelled when the client left."""
    gathered: list[bytes] = []
    size = 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _WRITE_BYTES:
            await asyncio.to_thread(upload.write, b"".join(gathered))
            gathered, size = [], 0
    if gathered:
        await asyncio.to_thread(upload.write, b"".join(gathered))
    return await asyncio.to_thread(upload.finish)


def _loaded(call: Call, result: LoadResult) -> Response:
    if not call.noted.detail:
        how = "in place of" if result.status.routed else "beside"
        before = f", {how} {result.previous}" if result.previous else ""
        unchanged = ", unchanged" if result.unchanged else ""
        call.noted.detail = f"version {result.status.version}{before}{unchanged}"
    return _json(told_load(result))


def told_load(result: LoadResult) -> dict[str, Any]:
    """The result of a change as a client reads it."""
    return control.encode_load(result.status, result.unchanged, result.previous, result.seconds, result.live)


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value))


def _pairs(settings: Mapping[str, object]) -> str:
    """Settings in one line, for the audit."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _flag(call: Call, name: str) -> bool:
    return call.query(name, "false") == "true"


def _number(call: Call, name: str, default: float, low: float, high: float) -> float:
    return control.number_in(name, call.query(name, str(default)), low, high)
