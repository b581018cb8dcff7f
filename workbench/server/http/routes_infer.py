"""An inference over HTTP: from its head to an `InferenceCall`, which needs no task of its own.

A client that stays on its connection sends the same request line and headers again and again; only the body differs,
and with it mostly not even Content-Length. So what such a head says, its caller included, is remembered by its bytes,
and requests with it go past the parser, the table and the gate: most of what HTTP costs a small inference.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from workbench.errors import NotFound, TooLarge
from workbench.protocols.routing_headers import ROUTE_KEY, routing_parameters
from workbench.protocols.trace_headers import REQUEST_ID, TRACEPARENT, traceparent
from workbench.server.compression import CODINGS
from workbench.server.gate.auth import Caller
from workbench.server.gate.scopes import Scope
from workbench.server.http.h1_connection import H1Connection
from workbench.server.http.infer_codec import HttpCodec, RoutedHttpCodec
from workbench.server.http.message import BodyType, check_body_type, check_length, json_length
from workbench.server.http.request_head import RequestHead
from workbench.server.http.routing import Route
from workbench.server.inference import InferenceCall, InferencePath, body_cap

PREFIX, SUFFIX = "/v2/models/", "/infer"

MAX_HEAD_BYTES: Final = 4096
"""Of a head that is remembered."""

MAX_BODY_BYTES: Final = 64 * 1024
"""A body that is larger costs so much itself that this saves nothing."""

MAX_HEADS: Final = 1024
"""Remembered at once: a few for each client, since a head also says how long its body is."""

_OF_ONE_REQUEST: Final = frozenset({b"expect", b"upgrade", TRACEPARENT, REQUEST_ID, ROUTE_KEY})
"""Headers that differ from one request to the next, or need more than an answer."""


def split_path(path: str) -> tuple[str, str | None] | None:
    """(model, version) of an inference's path; None for any other path."""
    if not (path.endswith(SUFFIX) and path.startswith(PREFIX)):
        return None
    # Of "/v2/models/infer" both are parts, and they share a slash: no name is left.
    model, versioned, version = path[len(PREFIX) : -len(SUFFIX)].partition("/versions/")
    return model, version if versioned else None


def routes() -> list[Route]:
    return [INFER, INFER_VERSION]


INFER: Final = Route("POST", "/v2/models/{name}/infer", None, Scope.INFER, BodyType.INFERENCE)
INFER_VERSION: Final = Route(
    "POST", "/v2/models/{name}/versions/{version}/infer", None, Scope.INFER, BodyType.INFERENCE
)


class InferRoute:
    """Begins inferences. Belongs to the event loop."""

    def __init__(self, inference: InferencePath) -> None:
        self._inference = inference
        self.heads: dict[bytes, InferHead] = {}
        """What is remembered, by the bytes of a head with the empty line at its end."""
        self.known = self.heads.get
        """What a head, with the empty line at its end, says; None: it is not known."""

    def open(self, head: RequestHead, connection: H1Connection, caller: Caller, request_id: bytes) -> GatheredInference:
        """Begin the inference that `head` asks for. Raises nothing: it may have failed when this returns."""
        inference, headers = self._inference, head.headers
        model, version = split_path(head.path) or ("", None)
        most = inference.limits.max_body_bytes
        accepts = headers.get(b"accept-encoding", b"")
        routing = routing_parameters(headers)
        codec = (partial(RoutedHttpCodec, routing=routing) if routing else HttpCodec)(
            inference.engine,
            inference.limits,
            model,
            version,
            accept_encoding=accepts if accepts in CODINGS else b"",
            strict_json=inference.service.config.strict_json,
        )
        call = _call(inference, codec, connection, request_id)
        if TRACEPARENT in headers:
            call.trace = traceparent(headers[TRACEPARENT])
        try:
            call.enter(caller)
            if caller.models is not None:
                caller.check_model(model, version)
                version = caller.version or version
                most = min(most, caller.max_body or most)
            if not model:
                raise NotFound("the path names no model; it is /v2/models/NAME/infer")
            check_body_type(headers, BodyType.INFERENCE)
            check_length(headers, most, caller)
            coding = headers.get(b"content-encoding", b"")
            codec = replace(
                codec,
                version=version,
                json_bytes=json_length(headers),
                content_encoding=coding if coding in CODINGS else b"",
            )
            call.codec = codec
            if self._worth_remembering(head, codec):
                if len(self.heads) >= MAX_HEADS:
                    self.heads.clear()
                self.heads[head.raw] = InferHead(inference, codec, caller, head.body_bytes or 0)
            connection.want_body()
        except Exception as error:
            call.fail(error)
        return GatheredInference(call, most)

    def _worth_remembering(self, head: RequestHead, codec: HttpCodec) -> bool:
        return (
            len(head.raw) <= MAX_HEAD_BYTES
            and head.keep_alive
            and head.headers.get(b"connection", b"keep-alive").lower() == b"keep-alive"
            and head.body_bytes is not None
            and head.body_bytes <= MAX_BODY_BYTES
            and not head.query
            and _OF_ONE_REQUEST.isdisjoint(head.headers)
            and head.fields == len(head.headers)
            and not codec.content_encoding
        )


@dataclass(frozen=True, slots=True)
class InferHead:
    """What an inference's request line and headers say; a KnownHead of the connection's."""

    inference: InferencePath
    codec: HttpCodec
    caller: Caller
    body_bytes: int

    @property
    def guest(self) -> bool:
        return self.caller.models is not None

    def begin(self, connection: H1Connection, body: bytes) -> InferenceCall:
        inference = self.inference
        now = inference.clock()
        call = InferenceCall(
            "", "", inference.ids.new(), now, now, inference=inference, codec=self.codec, responder=connection
        )
        call.begin(body, self.caller)
        return call

    def open(self, connection: H1Connection) -> GatheredInference:
        call = _call(self.inference, self.codec, connection, self.inference.ids.new())
        try:
            call.enter(self.caller)
        except Exception as error:
            call.fail(error)
        return GatheredInference(call, self.inference.limits.max_body_bytes)


class GatheredInference:
    """An inference whose body comes in pieces, which count as held as they come."""

    def __init__(self, call: InferenceCall, max_bytes: int) -> None:
        self._call = call
        self._max_bytes = max_bytes
        self._first = b""
        self._whole: io.BytesIO | None = None
        """Of what came in pieces, all of them; it gives its content without a copy."""

    def body_piece(self, data: bytes) -> None:
        call = self._call
        try:
            if call.request_bytes + len(data) > self._max_bytes:
                raise TooLarge(
                    f"the body has more than {self._max_bytes} bytes; {body_cap(self._max_bytes, call.caller)}"
                )
            call.take(len(data))
        except Exception as error:
            self._drop()
            call.fail(error)
            return
        if self._whole is not None:
            self._whole.write(data)
        elif not self._first:
            self._first = data
        else:
            self._whole = io.BytesIO()
            self._whole.write(self._first)
            self._whole.write(data)
            self._first = b""

    def body_end(self) -> None:
        if self._call.request_bytes > MAX_BODY_BYTES:
            # On the loop's next turn, when nobody holds the piece that came last any more.
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        if self._call.done():  # its client has left
            return
        body = self._first if self._whole is None else self._whole.getvalue()
        self._drop()
        call = self._call
        assert call.inference is not None
        call.received_at = call.inference.clock()
        call.begin(body)

    def token_replaced(self) -> None:
        if self._call.caller is not None and self._call.caller.revoked:
            self._drop()
            self._call.fail(self._call.caller.ended())

    def disconnected(self) -> None:
        self._drop()
        self._call.disconnected()

    def _drop(self) -> None:
        self._first, self._whole = b"", None


def _call(inference: InferencePath, codec: HttpCodec, connection: H1Connection, request_id: bytes) -> InferenceCall:
    return InferenceCall("", "", request_id, inference.clock(), inference=inference, codec=codec, responder=connection)
