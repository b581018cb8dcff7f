"""The short way of an inference whose head, byte for byte, was sent before: no parser, no ASGI, no task.

A client that stays sends the same request line and headers again and again; only the body differs, and with it mostly
not even Content-Length. What such a head means was found out by uvicorn's parser the first time, and it cannot mean
anything else now. This is three quarters of what HTTP costs a small inference.

It is `routes_infer` in shorter: the same gate, limits, codec, engine and telemetry, in the same order. What needs more
than that (a compressed body, shared memory, a trace, a body over MAX_BODY_BYTES) never becomes a known head.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.messages import InferResponse
from workbench.errors import Cancelled, Draining, WorkbenchError
from workbench.protocols.headers import REQUEST_ID, TRACEPARENT
from workbench.protocols.oip_json import AnswerFormat, decode_request, encode_response
from workbench.server.auth import Caller, Gate
from workbench.server.compression import CODINGS
from workbench.server.connection import Replier
from workbench.server.error_response import error_response
from workbench.server.http import (
    JSON,
    OCTET_STREAM,
    BodyType,
    Headers,
    Scope,
    check_body_type,
    json_length,
)
from workbench.server.inferences import SHUTTING_DOWN, in_classes, note_failed
from workbench.server.request_ids import RequestIds
from workbench.server.routes_infer import split_path
from workbench.server.service import Service
from workbench.telemetry.exchanges import Exchange

MAX_HEAD_BYTES = 4096
"""Of a head that is remembered."""

MAX_BODY_BYTES = 64 * 1024
"""A body that is larger costs so much itself that this saves nothing, and it would be held before it is counted."""

MAX_HEADS = 1024
"""Remembered at once: a few for each client, since a head also says how long its body is."""

_FOREIGN = frozenset(
    {b"transfer-encoding", b"connection", b"upgrade", b"expect", b"content-encoding", TRACEPARENT, REQUEST_ID}
)
"""Headers that need the long way, or differ from one request to the next."""


@dataclass(frozen=True, slots=True)
class KnownHead:
    """What a request line and its headers say."""

    scope: Scope
    headers: Headers
    model: str
    version: str | None
    body_bytes: int
    json_bytes: int | None
    """Inference-Header-Content-Length; None: the body is JSON."""


class FastPath:
    """Belongs to the event loop's thread."""

    def __init__(self, service: Service, gate: Gate, ids: RequestIds) -> None:
        self._service = service
        self._gate = gate
        self._ids = ids
        self._engine = service.engine
        self._clock = service.engine.clock
        self._limits = service.config.limits
        self._bodies = service.bodies
        self._metrics = service.metrics
        self._heads: dict[bytes, KnownHead] = {}
        self.known = self._heads.get
        """What a head, with the empty line at its end, says; None: not known."""

    def learn(self, head: bytes, scope: Mapping[str, Any]) -> None:
        """Remember what the parser found in `head`, where a request with it can go this way and its caller may."""
        if (
            len(head) > MAX_HEAD_BYTES
            or scope["method"] != "POST"
            or scope["http_version"] != "1.1"
            or scope["query_string"]
            or (target := split_path(scope["path"])) is None
            or self._service.shared is not None
        ):
            return
        headers = dict(scope["headers"])
        if len(headers) != len(scope["headers"]) or not _FOREIGN.isdisjoint(headers):
            return
        length = headers.get(b"content-length", b"")
        model, version = target
        if not model or not length.isdigit() or len(length) > 6 or headers.get(b"accept-encoding") in CODINGS:
            return
        size = int(length)
        if size > min(MAX_BODY_BYTES, self._limits.max_body_bytes):
            return
        found = {"type": "http", "method": "POST", "path": scope["path"]}
        try:
            self._gate.admit(found, headers)
            check_body_type(headers, BodyType.INFERENCE)
            json_bytes = json_length(headers)
        except WorkbenchError:
            return
        if json_bytes == 0:  # a raw body
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[head] = KnownHead(found, headers, model, version, size, json_bytes)

    def begin(self, head: KnownHead, body: bytes, replier: Replier) -> None:
        """Answer it: now, or once the engine has."""
        request_id = self._ids.new()
        try:
            caller = self._gate.admit(head.scope, head.headers)
        except WorkbenchError as error:
            self._refuse(error, request_id, replier)
            return
        service, clock = self._service, self._clock
        service.used_at = time.monotonic()
        exchange = Exchange(head.model, head.version or "", request_id, clock())
        try:
            if service.draining.is_set():
                raise Draining(SHUTTING_DOWN)
            caller.enter()
        except WorkbenchError as error:
            self._fail(error, exchange, replier)
            return
        size = len(body)
        try:
            self._bodies.take(size)
        except WorkbenchError as error:
            caller.leave()
            self._fail(error, exchange, replier)
            return
        try:
            exchange.request_bytes = size
            exchange.received_at = now = clock()
            request, answer = decode_request(head.model, head.version, body, head.json_bytes, self._limits, now)
            exchange.decoded_at = clock()
            if request.id:
                exchange.id = request.id
            request.abandoned = replier.has_left
            future = self._engine.submit(request)
        except Exception as error:
            caller.leave()
            self._bodies.give_back(size)
            self._fail(error, exchange, replier)
            return
        future.add_done_callback(_Underway(self, exchange, answer, caller, size, replier))

    def _end(self, underway: _Underway, future: asyncio.Future[InferResponse]) -> None:
        exchange, clock = underway.exchange, self._clock
        try:
            try:
                response = future.result()
                exchange.answered_at = clock()
                exchange.version, exchange.timings = response.version, response.timings
                answer = underway.answer
                if answer.classes:
                    response = in_classes(self._engine, response, answer.classes)
                encoded, json_bytes = encode_response(response, answer, self._limits)
                exchange.encoded_at = clock()
            finally:
                underway.caller.leave()
                self._bodies.give_back(underway.held)
            parts = (encoded,) if isinstance(encoded, bytes) else encoded
            named = (REQUEST_ID, exchange.request_id)
            self._count(200)
            if json_bytes is None:
                exchange.response_bytes = underway.replier.reply(200, JSON, parts, (named,))
            else:
                length = (b"inference-header-content-length", b"%d" % json_bytes)
                exchange.response_bytes = underway.replier.reply(200, OCTET_STREAM, parts, (named, length))
            exchange.sent_at = clock()
        except asyncio.CancelledError:
            self._fail(Cancelled("the request was cancelled"), exchange, underway.replier)
        except Exception as error:
            self._fail(error, exchange, underway.replier)
        else:
            self._metrics.exchange_done(exchange)

    def _fail(self, error: Exception, exchange: Exchange, replier: Replier) -> None:
        exchange.sent_at = self._clock()
        note_failed(self._service, exchange, error)
        self._refuse(error, exchange.request_id, replier)

    def _refuse(self, error: Exception, request_id: bytes, replier: Replier) -> None:
        response = error_response(error, request_id)
        self._count(response.status)
        named = (*response.headers, (REQUEST_ID, request_id))
        replier.reply(response.status, response.content_type, (response.body,), named)

    def _count(self, status: int) -> None:
        self._metrics.answers[status] += 1


class _Underway:
    """One inference in the engine, told when it is done."""

    __slots__ = ("answer", "caller", "exchange", "held", "path", "replier")

    def __init__(
        self, path: FastPath, exchange: Exchange, answer: AnswerFormat, caller: Caller, held: int, replier: Replier
    ) -> None:
        self.path = path
        self.exchange = exchange
        self.answer = answer
        self.caller = caller
        self.held = held
        self.replier = replier

    def __call__(self, future: asyncio.Future[InferResponse]) -> None:
        self.path._end(self, future)
