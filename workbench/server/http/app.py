"""The HTTP application: route, admit by the route's scope, begin; and every error as an answer."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from copy import copy
from typing import Final

from workbench.errors import WorkbenchError
from workbench.server.audit.audit_log import AuditLog
from workbench.server.gate.auth import SAFE_METHODS, Caller, Gate, Headers
from workbench.server.gate.remote_gate import RemoteGate
from workbench.server.gate.scopes import CONTROL_SCOPES, Scope
from workbench.server.http import (
    routes_control,
    routes_files,
    routes_infer,
    routes_not_implemented,
    routes_pages,
    routes_rollouts,
    routes_share,
    routes_share_port,
    routes_shared,
    routes_v2,
    routes_versions,
)
from workbench.server.http.error_response import error_response
from workbench.server.http.h1_connection import DISCARD, Exchange, H1Connection
from workbench.server.http.message import Response, check_body_type, lines_of
from workbench.server.http.request_head import RequestHead
from workbench.server.http.routes_infer import INFER, InferRoute, split_path
from workbench.server.http.routing import Call, Handler, Route, Routes, source_of
from workbench.server.inference import InferencePath
from workbench.server.service import Service
from workbench.server.share_routing import ShareRouting
from workbench.server.shares import Shares

_NO_PARAMS: Final[Mapping[str, str]] = {}


def create_app(service: Service, token: str | None) -> App:
    """The application that serves `service`. `token` None: no token is asked for."""
    gate = Gate(token, service.config.host, service.config.limits.max_in_flight)
    shares = Shares(gate, service.persistence.shares, changed=service.metrics.changes.note)
    service.on_loaded.append(shares.lift)
    service.metrics.watch_shares(shares.figures)
    rooms = (
        routes_v2,
        routes_shared,
        routes_control,
        routes_rollouts,
        routes_files,
        routes_pages,
        routes_share_port,
    )
    table = [route for room in rooms for route in room.routes(service)]
    table += routes_share.routes(service, shares)
    share_routing = ShareRouting(service.engine, shares)
    gate.on_revoked.append(share_routing.tidy_soon)
    table += routes_versions.routes(service, share_routing)
    table = [_noted(service.audit, route) for route in table]
    routes = Routes([*routes_infer.routes(), *routes_not_implemented.routes(), *table])
    return App(gate, routes, service, shares, share_routing)


class App:
    """An Application of `h1_connection`. Belongs to the event loop."""

    def __init__(
        self, gate: Gate, routes: Routes, service: Service, shares: Shares, share_routing: ShareRouting
    ) -> None:
        self.shares = shares
        self.share_routing = share_routing
        self.gate = gate
        """The one gate, which gRPC has too."""
        self.inference = InferencePath(service)
        """The one way of an inference, which gRPC has too."""
        self.answers = service.metrics.answers
        self.routes = routes.routes
        """The whole table, for callers that walk it."""
        self._routes = routes
        self._service = service
        self.infer = InferRoute(self.inference)
        self.known = self.infer.known
        gate.on_replaced.append(self.infer.heads.clear)
        self._tasks: set[asyncio.Task[None]] = set()
        self._admit: Callable[[Scope | None, str, Headers], Caller] = gate.admit

    def for_remote(self, owner_remote: bool, *, any_host: bool = False) -> App:
        """The application for callers on other machines: the same, but for what they may do. It remembers heads of its
        own, since who sends a remembered head is not asked for again."""
        other = copy(self)
        other._admit = RemoteGate(self.gate, owner_remote, any_host=any_host).admit
        other.infer = InferRoute(self.inference)
        other.known = other.infer.known
        self.gate.on_replaced.append(other.infer.heads.clear)
        return other

    def open(self, head: RequestHead, connection: H1Connection) -> Exchange:
        request_id = self.inference.ids.of(head.headers)
        try:
            route, params, caller = self._admitted(head, connection)
            if connection.is_stranger and route.scope is not Scope.PUBLIC:
                connection.trust(guest=caller.models is not None)
            if route.handler is None:
                return self.infer.open(head, connection, caller, request_id)
            caller.pay()
            if (name := params.get("name")) is not None:
                caller.check_model(name, params.get("version"))
                if caller.version is not None:
                    params = {**params, "version": caller.version}
            if head.method not in SAFE_METHODS:
                self._service.used_at = time.monotonic()
                check_body_type(head.headers, route.takes)
        except Exception as error:
            connection.reply_error(error, request_id)
            return DISCARD
        call = Call(head, params, caller, request_id, connection)
        task = asyncio.get_running_loop().create_task(call.serve(route.handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call

    def _admitted(self, head: RequestHead, connection: H1Connection) -> tuple[Route, Mapping[str, str], Caller]:
        """The route, what its path names, and who calls. A token is asked for before a path is said to be unknown."""
        method, path = head.method, head.path
        try:
            if method == "POST" and split_path(path) is not None:  # mostly; what is wrong with it counts for its model
                route, params = INFER, _NO_PARAMS
            else:
                route, params = self._routes.find(method, path)
        except WorkbenchError:
            self._admit(None, method, head.headers)
            raise
        try:
            return route, params, self._admit(route.scope, method, head.headers)
        except WorkbenchError as error:
            if route.scope in CONTROL_SCOPES:
                caller = self.gate.known(head.headers.get(b"authorization"))
                source = source_of(head, connection, caller)
                self._service.audit.refused(route.action or f"{method} {route.path}", error.code, source)
            raise

    def error_answer(self, error: Exception, request_id: bytes) -> tuple[int, bytes, bytes]:
        response = error_response(error, request_id)
        return response.status, lines_of(response, request_id), response.body


def _noted(audit: AuditLog, route: Route) -> Route:
    """The route with a handler that has what it does written down, where it does something."""
    if not route.action or route.handler is None:
        return route
    handler: Handler = route.handler

    async def noting(call: Call) -> Response | None:
        async with audit.noting(route.action, call.source, call.noted):
            return await handler(call)

    return dataclasses.replace(route, handler=noting)
