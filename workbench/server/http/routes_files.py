"""The files of a served model, for callers who may change it: their names, and each as it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from workbench.errors import ModelError, NotFound
from workbench.server.http.message import OCTET_STREAM, Response
from workbench.server.http.routing import Call, Route
from workbench.server.service import Service

_CHUNK = 1 << 20


def routes(service: Service) -> list[Route]:
    files = FileRoutes(service)
    return [
        Route("GET", "/control/models/{name}/files", files.listed),
        Route("GET", "/control/models/{name}/file", files.content),
    ]


class FileRoutes:
    def __init__(self, service: Service) -> None:
        self._engine = service.engine

    async def listed(self, call: Call) -> Response:
        status = self._engine.status(call.params["name"], call.query("version") or None)
        files = await self._files(call, status.version)
        told = [
            {"path": name, "size_bytes": (await asyncio.to_thread(path.stat)).st_size} for name, path in files.items()
        ]
        return Response(200, msgspec.json.encode({"version": status.version, "digest": status.digest, "files": told}))

    async def content(self, call: Call) -> None:
        """Streams one of them: `path` is as the list has it, and without one it is the model's own file."""
        status = self._engine.status(call.params["name"], call.query("version") or None)
        files = await self._files(call, status.version)
        wanted = call.query("path") or next(iter(files))
        if wanted not in files:
            raise NotFound(f"model {status.name!r} has no file {wanted[:80]!r}; it has {', '.join(files)[:300]}")
        file = await asyncio.to_thread(_opened, files[wanted])
        try:
            await call.start_stream(OCTET_STREAM)
            if call.head.method == "HEAD":
                return
            while not call.left.done() and (part := await asyncio.to_thread(file.read, _CHUNK)):
                await call.send(part)
        finally:
            file.close()

    async def _files(self, call: Call, version: str) -> Mapping[str, Path]:
        source = self._engine.source(call.params["name"], version)
        await asyncio.to_thread(source.check_unchanged)
        return await asyncio.to_thread(source.files)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelError(f"the model's file cannot be read: {error.strerror}") from None
