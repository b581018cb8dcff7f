"""Errors as HTTP answers."""

from __future__ import annotations

import logging

from workbench.errors import QueueFull, Unauthenticated, WorkbenchError
from workbench.protocols.status_codes import UNFORESEEN, error_body, http_status
from workbench.server.http.message import Response
from workbench.server.http.routing import WrongMethod

log = logging.getLogger("workbench.server")


def error_response(error: Exception, request_id: bytes) -> Response:
    """Build the answer to an error. Unforeseen exceptions become a generic 500; details go to the log only."""
    if isinstance(error, WrongMethod):
        return Response(http_status(error), error_body(error), headers=((b"allow", error.allowed.encode()),))
    if isinstance(error, QueueFull):
        return Response(http_status(error), error_body(error), headers=((b"retry-after", b"1"),))
    if isinstance(error, Unauthenticated):
        return Response(http_status(error), error_body(error), headers=((b"www-authenticate", b"Bearer"),))
    if isinstance(error, WorkbenchError):
        return Response(http_status(error), error_body(error))
    log.error("a handler failed", exc_info=error, extra={"fields": {"request_id": request_id.decode("ascii")}})
    unforeseen = WorkbenchError(UNFORESEEN)
    return Response(http_status(unforeseen), error_body(unforeseen))
