"""The way of an inference: read, decode, await the engine, encode, answer. Raw ASGI, without a task of its own."""

from __future__ import annotations

import asyncio

from workbench.core.ports import Outcome
from workbench.errors import Draining, InvalidInput, ModelNotFound, NotFound, QueueFull
from workbench.protocols.oip_json import decode_request, encode_response
from workbench.server.auth import Caller
from workbench.server.http import (
    JSON,
    OCTET_STREAM,
    BodyType,
    Headers,
    Receive,
    Send,
    check_body_type,
    json_length,
    read_body,
    respond,
    watch_for_leaving,
)
from workbench.server.routing import Call, Route
from workbench.server.service import Service

LARGE_BODY = 1024 * 1024
"""Bytes from which a body is decoded on a thread, so that the event loop has its turns meanwhile."""

PREFIX, SUFFIX = "/v2/models/", "/infer"


def split_path(path: str) -> tuple[str, str | None] | None:
    """(model, version) of an inference's path; None for any other path."""
    if not (path.endswith(SUFFIX) and path.startswith(PREFIX)):
        return None
    # Of "/v2/models/infer" both are parts, and they share a slash: no name is left.
    model, versioned, version = path[len(PREFIX) : -len(SUFFIX)].partition("/versions/")
    return model, version if versioned else None


class InferRoute:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = service.engine
        self._limits = service.config.limits
        self._bodies = service.bodies

    def routes(self) -> list[Route]:
        """For the table, which sees to other methods; POST never gets that far."""
        return [
            Route("POST", "/v2/models/{name}/infer", self._call, BodyType.INFERENCE),
            Route("POST", "/v2/models/{name}/versions/{version}/infer", self._call, BodyType.INFERENCE),
        ]

    async def __call__(
        self, model: str, version: str | None, headers: Headers, receive: Receive, send: Send, caller: Caller
    ) -> None:
        """Answer one inference, or raise an error of the tree before anything was sent."""
        if self._service.draining.is_set():
            raise Draining("the service is shutting down; call again once another runs")
        if not model:
            raise NotFound("the path names no model; it is /v2/models/NAME/infer")
        check_body_type(headers, BodyType.INFERENCE)
        try:
            caller.enter()
        except QueueFull:
            self._note(model, version, Outcome.REJECTED)
            raise
        held = 0
        try:
            limits = self._limits
            try:
                body = await read_body(receive, headers, limits.max_body_bytes, self._bodies)
            except QueueFull:
                self._note(model, version, Outcome.REJECTED)
                raise
            held = len(body)
            try:
                asked = model, version, body, json_length(headers), limits, self._engine.clock()
                if held <= LARGE_BODY:
                    request, answer = decode_request(*asked)
                else:
                    request, answer = await asyncio.to_thread(decode_request, *asked)
            except InvalidInput:
                self._note(model, version, Outcome.INVALID)
                raise
            request.abandoned = watch_for_leaving(receive)
            response = await self._engine.infer(request)
            parts, header_length = encode_response(response, answer, limits)
        finally:
            caller.leave()
            self._bodies.give_back(held)
        if header_length is None:
            await respond(send, 200, parts, JSON)
        else:
            length = (b"inference-header-content-length", b"%d" % header_length)
            await respond(send, 200, parts, OCTET_STREAM, (length,))

    async def _call(self, call: Call) -> None:
        await self(call.params["name"], call.params.get("version"), call.headers, call.receive, call.send, call.caller)

    def _note(self, model: str, version: str | None, outcome: Outcome) -> None:
        """The engine counts what it was given; this never got there. Only models that exist become labels."""
        try:
            status = self._engine.status(model, version)
        except ModelNotFound:
            return
        self._service.metrics.request_done(status.name, status.version, outcome, None)
