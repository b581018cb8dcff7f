"""The way of an inference: read, decode, await the engine, encode, answer. Raw ASGI, without a task of its own."""

from __future__ import annotations

import asyncio

from workbench.errors import Draining, NotFound
from workbench.protocols.oip_json import BINARY_ANSWER, decode_request, encode_response
from workbench.protocols.raw_request import decode_raw_request
from workbench.protocols.region_params import write_shared
from workbench.protocols.trace_headers import REQUEST_ID, TRACEPARENT, traceparent
from workbench.server.gate.auth import Caller
from workbench.server.http.asgi import (
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
from workbench.server.http.compression import CODINGS, compressed
from workbench.server.http.routing import Call, Route
from workbench.server.inference import LARGE_BODY, SHUTTING_DOWN, in_classes, note_failed
from workbench.server.service import Service
from workbench.server.shared_memory import RegionLease
from workbench.telemetry.request_record import RequestRecord

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
        self._metrics = service.metrics
        self._shared = service.shared

    def routes(self) -> list[Route]:
        """For the table, which sees to other methods; POST never gets that far."""
        return [
            Route("POST", "/v2/models/{name}/infer", self._call, BodyType.INFERENCE),
            Route("POST", "/v2/models/{name}/versions/{version}/infer", self._call, BodyType.INFERENCE),
        ]

    async def __call__(
        self,
        model: str,
        version: str | None,
        headers: Headers,
        receive: Receive,
        send: Send,
        caller: Caller,
        request_id: bytes,
    ) -> None:
        """Answer one inference, or raise an error of the tree before anything was sent."""
        clock = self._engine.clock
        exchange = RequestRecord(model, version or "", request_id, clock())
        try:
            if TRACEPARENT in headers:
                exchange.trace = traceparent(headers[TRACEPARENT])
            if self._service.draining.is_set():
                raise Draining(SHUTTING_DOWN)
            if not model:
                raise NotFound("the path names no model; it is /v2/models/NAME/infer")
            check_body_type(headers, BodyType.INFERENCE)
            caller.enter()
            held = 0
            shared = RegionLease(self._shared) if self._shared is not None else None
            try:
                limits = self._limits
                body = await read_body(receive, headers, limits.max_body_bytes, self._bodies)
                exchange.request_bytes = held = len(body)
                exchange.received_at = now = clock()
                head = json_length(headers)
                asked = model, version, body, head, limits, now, shared
                if head == 0:
                    status = self._engine.status(model, version)
                    request, answer = decode_raw_request(status, version, body, limits), BINARY_ANSWER
                elif held <= LARGE_BODY:
                    request, answer = decode_request(*asked)
                else:
                    request, answer = await asyncio.to_thread(decode_request, *asked)
                exchange.decoded_at = clock()
                if request.id:
                    exchange.id = request.id
                if exchange.trace:
                    request.trace = exchange.trace
                request.abandoned = watch_for_leaving(receive)
                response = await self._engine.infer(request)
                exchange.answered_at = clock()
                exchange.version, exchange.timings = response.version, response.timings
                if answer.places and shared is not None:
                    await asyncio.to_thread(write_shared, shared, answer.places, response.outputs)
                if answer.classes:
                    response = in_classes(self._engine, response, answer.classes)
                parts, header_length = encode_response(response, answer, limits)
                exchange.encoded_at = clock()
            finally:
                caller.leave()
                self._bodies.give_back(held)
                if shared is not None:
                    shared.give_back()
            more = [(REQUEST_ID, request_id)]
            if header_length is not None:
                more.append((b"inference-header-content-length", b"%d" % header_length))
            coding = headers.get(b"accept-encoding")
            if coding is not None and coding in CODINGS:
                parts = await compressed(parts, coding)
                more.append((b"content-encoding", coding))
            content_type = JSON if header_length is None else OCTET_STREAM
            exchange.response_bytes = await respond(send, 200, parts, content_type, more)
            exchange.sent_at = clock()
        except Exception as error:
            exchange.sent_at = clock()
            note_failed(self._service, exchange, error)
            raise
        self._metrics.exchange_done(exchange)

    async def _call(self, call: Call) -> None:
        name, version = call.params["name"], call.params.get("version")
        await self(name, version, call.headers, call.receive, call.send, call.caller, call.request_id)
