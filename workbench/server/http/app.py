"""The ASGI application: the gate, then the infer route by hand, then the table; and every error as an answer."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from workbench.errors import NotFound
from workbench.protocols.trace_headers import REQUEST_ID
from workbench.server.gate.auth import Gate
from workbench.server.gate.request_ids import RequestIds
from workbench.server.http import routes_control, routes_not_implemented, routes_shared, routes_v2
from workbench.server.http.asgi import (
    JSON,
    SAFE_METHODS,
    Receive,
    Response,
    Scope,
    Send,
    check_body_type,
    respond,
)
from workbench.server.http.error_response import error_response
from workbench.server.http.fast_path import FastPath
from workbench.server.http.routes_infer import InferRoute, split_path
from workbench.server.http.routing import Call, Routes
from workbench.server.service import Service


def create_app(service: Service, token: str | None) -> App:
    """The application that serves `service`. `token` None: no token is asked for."""
    infer = InferRoute(service)
    rooms = (routes_v2, routes_shared, routes_control)
    table = [route for room in rooms for route in room.routes(service)]
    routes = Routes([*infer.routes(), *routes_not_implemented.routes(), *table])
    gate = Gate(token, service.config.host, service.config.limits.max_in_flight)
    return App(gate, infer, routes, service)


class App:
    """An ASGI 3 application. Nothing in it yields to the event loop but reading a body and awaiting the engine."""

    def __init__(self, gate: Gate, infer: InferRoute, routes: Routes, service: Service) -> None:
        self.routes = routes.routes
        """The whole table, for whoever wants to walk it."""
        self.gate = gate
        """The one gate, which gRPC has too."""
        self._infer = infer
        self._routes = routes
        self._service = service
        self._ids = RequestIds()
        self.fast_path = FastPath(service, gate, self._ids)
        """For a connection that was sent a head which it knows."""
        self._answers = service.metrics.answers

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        # No coroutine of its own, which each request would pay for.
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        if scope["type"] == "websocket":
            return self._websocket(scope, receive, send)
        raise NotImplementedError(f"there is nothing to do at {scope['type']!r}")  # lifespan: `serve` does that

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response | None
        request_id = b""
        try:
            headers = dict(scope["headers"])
            request_id = self._ids.of(headers)
            caller = self.gate.admit(scope, headers)
            method, path = scope["method"], scope["path"]
            if method not in SAFE_METHODS:
                self._service.used_at = time.monotonic()
            if method == "POST" and (target := split_path(path)) is not None:
                await self._infer(*target, headers, receive, send, caller, request_id)
                self._answers[200] += 1
                return
            route, params = self._routes.find(method, path)
            if method not in SAFE_METHODS:
                check_body_type(headers, route.takes)
            response = await route.handler(Call(scope, receive, send, headers, params, caller, request_id))
        except Exception as error:
            response = error_response(error, request_id)
        self._answers[200 if response is None else response.status] += 1
        if response is not None:
            named = (*response.headers, (REQUEST_ID, request_id))
            await respond(send, response.status, response.body, response.content_type, named)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """There are none yet; that too is said behind the gate."""
        await receive()  # websocket.connect
        try:
            self.gate.admit(scope, dict(scope["headers"]))
            raise NotFound("this service has no websockets; GET /control/stream sends live figures")
        except Exception as error:
            response = error_response(error, b"")
            if "websocket.http.response" in scope.get("extensions", {}):
                headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(response.body))]
                await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
                await send({"type": "websocket.http.response.body", "body": response.body})
                return
        await send({"type": "websocket.close", "code": 1008})
