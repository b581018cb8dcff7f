"""The routes of docs/jupyter.md about versions: what there is, what changes which one serves, and a comparison."""

from __future__ import annotations

import dataclasses
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

import msgspec
from jupyter_server.base.handlers import APIHandler
from tornado.iostream import StreamClosedError

from workbench.client.client import AsyncClient
from workbench.client.version_comparison import LIVE_S, compared_traffic, traffic, two_versions
from workbench.core.model import ModelStatus
from workbench.core.threads import in_thread
from workbench.errors import TooManyRequests, WorkbenchError
from workbench.jupyter.routes import RESOURCE, Handler, ReadOnlyHandler, route
from workbench.live.watch import answered
from workbench.protocols import control
from workbench.protocols.control import LoadAnswer

COMPARED_S: Final = 900.0
"""The longest comparison of a page."""

COMPARISONS: Final = 8
"""Comparisons that may go on at once; each reads the service's snapshots once a second."""


def version_routes() -> list[tuple[str, type[APIHandler]]]:
    """Return (pattern, handler) of each route, below the base URL."""
    name = r"([^/]+)"
    model = f"{RESOURCE}/api/models/{name}"
    return [
        (f"{model}/versions", VersionsHandler),
        (f"{model}/versions/{name}/unload", UnloadVersionHandler),
        (f"{model}/rollback", RollbackHandler),
        (f"{model}/labels", LabelsHandler),
        (f"{model}/route", RouteHandler),
        (f"{model}/rollout", RolloutHandler),
        (f"{model}/rollout/stop", StopRolloutHandler),
        (f"{model}/rollout/resume", ResumeRolloutHandler),
        (f"{model}/compare/{name}/{name}", CompareVersionsHandler),
    ]


class VersionsHandler(ReadOnlyHandler):
    @route
    async def get(self, name: str) -> object:
        client = await self.watch.client()
        return dataclasses.asdict(await answered(client.versions(name)))


class UnloadVersionHandler(Handler):
    @route
    async def post(self, name: str, version: str) -> object:
        client = await self.watch.client()
        await client.unload(name, version)
        return {}


class RollbackHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        client = await self.watch.client()
        with self.watch.job():
            return _told(await client.rollback(name))


class LabelsHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        labels = control.decode_labels(self.body)
        client = await self.watch.client()
        return {"labels": await client.label(name, labels)}


class RouteHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        asked = control.decode_route_request(self.body)
        client = await self.watch.client()
        done, weights = await client.route(
            name,
            asked.weights,
            by=asked.by,
            shadow=asked.shadow,
            keep_rows=asked.keep_rows,
            share=asked.share,
            wait=asked.wait,
            force=asked.force,
        )
        return {**_told(done), "weights": weights}


class RolloutHandler(Handler):
    """The last rollout of a model, or null: most models have none, which is no error of a page that asks."""

    @route
    async def get(self, name: str) -> object:
        client = await self.watch.client()
        found = [each for each in await answered(client.rollouts()) if each.model == name]
        return {"rollout": dataclasses.asdict(found[0]) if found else None}

    @route
    async def post(self, name: str) -> object:
        asked = msgspec.structs.asdict(control.decode_rollout_request(self.body))
        client = await self.watch.client()
        return dataclasses.asdict(await client.start_rollout(name, **asked))


class StopRolloutHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        client = await self.watch.client()
        return dataclasses.asdict(await client.stop_rollout(name))


class ResumeRolloutHandler(Handler):
    @route
    async def post(self, name: str) -> object:
        client = await self.watch.client()
        return dataclasses.asdict(await client.resume_rollout(name))


class CompareVersionsHandler(ReadOnlyHandler):
    """Streams a line of JSON a second: what the calls of two versions tell so far. It ends with the time that was
    asked for, or with the page's connection."""

    _under_way = 0

    @route
    async def get(self, name: str, first: str, second: str) -> object:
        seconds = self.number("seconds", LIVE_S, 1.0, COMPARED_S)
        client = await self.watch.client()
        one, other = await answered(two_versions(client, name, first, second))
        kind = CompareVersionsHandler
        if kind._under_way >= COMPARISONS:
            raise TooManyRequests(f"{COMPARISONS} comparisons are under way on this server: close one of them first")
        kind._under_way += 1
        try:
            with suppress(StreamClosedError):  # the page has enough
                await self._stream(client, one, other, seconds)
        finally:
            kind._under_way -= 1
        return None

    def answer(self, value: Any) -> None:
        with suppress(StreamClosedError):
            self.finish()

    async def _stream(self, client: AsyncClient, one: ModelStatus, other: ModelStatus, seconds: float) -> None:
        self.set_header("Content-Type", "application/x-ndjson")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # asks a proxy to pass on each line
        versions = one.version, other.version
        try:
            async with aclosing(traffic(client, one, other, seconds)) as each_second:
                async for counts in each_second:
                    report = await in_thread(partial(compared_traffic, one.name, versions, list(counts)))
                    figures = [dataclasses.asdict(figure) for figure in report]
                    await self._line(title=report.title, versions=versions, seconds=len(counts), figures=figures)
        except WorkbenchError as error:
            await self._line(message=error.message, reason=error.code)

    async def _line(self, **said: object) -> None:
        self.write(msgspec.json.encode(said) + b"\n")
        await self.flush()


def _told(done: LoadAnswer) -> dict[str, Any]:
    return control.encode_load(done.status, done.unchanged, done.previous, done.seconds, done.live)
