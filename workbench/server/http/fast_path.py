"""The short way of an inference whose head, byte for byte, was sent before: no parser, no ASGI, no task.

A client that stays sends the same request line and headers again and again; only the body differs, and with it mostly
not even Content-Length. What such a head means was found out by uvicorn's parser the first time, and it cannot mean
anything else now. This is three quarters of what HTTP costs a small inference.

It is `routes_infer` in shorter: the same gate, limits, codec, engine and telemetry, in the same order. What needs more
than that (a compressed body, shared memory, a trace, a body over MAX_BODY_BYTES) never becomes a known head.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.messages import InferResponse
from workbench.errors import Draining, WorkbenchError
from workbench.protocols.oip_json import AnswerFormat, decode_request, encode_response
from workbench.protocols.trace_headers import REQUEST_ID, TRACEPARENT
from workbench.server.gate.auth import Caller, Gate
from workbench.server.gate.request_ids import RequestIds
from workbench.server.http.asgi import BodyType, Headers, Scope, check_body_type, json_length
from workbench.server.http.compression import CODINGS
from workbench.server.http.error_response import error_response
from workbench.server.http.h1_protocol import Responder
from workbench.server.http.routes_infer import split_path
from workbench.server.inference import SHUTTING_DOWN, in_classes, note_failed
from workbench.server.service import Service
from workbench.telemetry.request_record import RequestRecord

MAX_HEAD_BYTES = 4096
"""Of a head that is remembered."""

MAX_BODY_BYTES = 64 * 1024
"""A body that is larger costs so much itself that this saves nothing, and it would be held before it is counted."""

MAX_HEADS = 1024
"""Remembered at once: a few for each client, since a head also says how long its body is."""

_FOREIGN = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"content-encoding", TRACEPARENT, REQUEST_ID})
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
        if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":  # which requests and httpx say
            return
        # The parser passes over empty lines before a request. They would be a "head" that needs no token to send.
        if not head.startswith(b"POST ") or head.count(b"\n") != len(headers) + 2:
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

    def begin(self, head: KnownHead, body: bytes, replier: Responder) -> None:
        """Answer it: now, or once the engine has."""
        clock = self._clock
        now, size = clock(), len(body)
        underway = _Underway(head.model, head.version or "", self._ids.new(), now, now, path=self, replier=replier)
        try:
            caller = self._gate.admit(head.scope, head.headers)
        except WorkbenchError as error:
            self._refuse(error, underway.request_id, replier)
            return
        self._service.used_at = time.monotonic()
        try:
            if self._service.draining.is_set():
                raise Draining(SHUTTING_DOWN)
            caller.enter()
            underway.caller = caller
            self._bodies.take(size)
            underway.request_bytes = size
            request, underway.answer = decode_request(
                head.model, head.version, body, head.json_bytes, self._limits, now
            )
            underway.decoded_at = clock()
            if request.id:
                underway.id = request.id
            request.abandoned = replier.has_left
            self._engine.submit(request, underway)
        except Exception as error:
            self._fail(underway, error)

    def _answer(self, underway: _Underway, response: InferResponse) -> None:
        clock, answer, replier = self._clock, underway.answer, underway.replier
        assert answer is not None and replier is not None
        try:
            underway.answered_at = clock()
            underway.version, underway.timings = response.version, response.timings
            if answer.classes:
                response = in_classes(self._engine, response, answer.classes)
            parts, json_bytes = encode_response(response, answer, self._limits)
        except Exception as error:
            self._fail(underway, error)
            return
        underway.encoded_at = clock()
        self._leave(underway)
        self._metrics.answers[200] += 1
        if json_bytes is None:
            head = b"content-type: application/json\r\nx-request-id: %b\r\n" % underway.request_id
        else:
            head = _BINARY_HEAD % (json_bytes, underway.request_id)
        underway.response_bytes = replier.reply(200, head, (parts,) if isinstance(parts, bytes) else parts)
        underway.sent_at = clock()
        self._metrics.exchange_done(underway)

    def _fail(self, underway: _Underway, error: Exception) -> None:
        replier = underway.replier
        assert replier is not None
        self._leave(underway)
        underway.sent_at = self._clock()
        note_failed(self._service, underway, error)
        self._refuse(error, underway.request_id, replier)

    def _leave(self, underway: _Underway) -> None:
        """Nothing of it is held any more; what telemetry keeps of it is to keep nothing else alive."""
        if underway.caller is not None:
            underway.caller.leave()
        self._bodies.give_back(underway.request_bytes)
        underway.caller = underway.answer = underway.replier = underway.path = None

    def _refuse(self, error: Exception, request_id: bytes, replier: Responder) -> None:
        response = error_response(error, request_id)
        self._metrics.answers[response.status] += 1
        headers = (b"content-type", response.content_type), *response.headers, (REQUEST_ID, request_id)
        replier.reply(response.status, b"".join(b"%b: %b\r\n" % header for header in headers), (response.body,))


_BINARY_HEAD = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\nx-request-id: %b\r\n"


class _Underway(RequestRecord, kw_only=True, gc=False):
    """One inference from its head to its answer, and the promise that the engine keeps."""

    path: FastPath | None
    replier: Responder | None
    answer: AnswerFormat | None = None
    caller: Caller | None = None
    """None: it is not counted as one of its caller's."""

    def done(self) -> bool:
        """A caller that left is found by its request's `abandoned`, when the batch is formed."""
        return False

    def set_result(self, result: InferResponse) -> None:
        assert self.path is not None
        self.path._answer(self, result)

    def set_exception(self, exception: WorkbenchError) -> None:
        assert self.path is not None
        self.path._fail(self, exception)
