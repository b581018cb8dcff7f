"""Errors as HTTP answers."""

from __future__ import annotations

import logging
import math

from workbench.errors import CircuitOpen, LimitExceeded, QueueFull, Unauthenticated, WorkbenchError
from workbench.protocols.status_codes import UNFORESEEN, error_body, http_status
from workbench.server.http.message import Response
from workbench.server.http.routing import WrongMethod

log = logging.getLogger("workbench.server")


def error_response(error: Exception, request_id: bytes) -> Response:
    """Build the answer to an error. Unforeseen exceptions become a generic 500; details go to the log only."""
    if isinstance(error, WrongMethod):
        return Response(http_status(error), error_body(error), headers=((b"allow", error.allowed.encode()),))
    if isinstance(error, LimitExceeded):
        return Response(http_status(error), error_body(error), headers=_limit(error))
    if isinstance(error, CircuitOpen):
        return Response(http_status(error), error_body(error), headers=(_retry_after(error.retry_after_s),))
    if isinstance(error, QueueFull):
        return Response(http_status(error), error_body(error), headers=((b"retry-after", b"1"),))
    if isinstance(error, Unauthenticated):
        return Response(http_status(error), error_body(error), headers=((b"www-authenticate", b"Bearer"),))
    if isinstance(error, WorkbenchError):
        return Response(http_status(error), error_body(error))
    log.error("a handler failed", exc_info=error, extra={"fields": {"request_id": request_id.decode("ascii")}})
    unforeseen = WorkbenchError(UNFORESEEN)
    return Response(http_status(unforeseen), error_body(unforeseen))


def _limit(error: LimitExceeded) -> list[tuple[bytes, bytes]]:
    """Retry-After, and the limit as draft-ietf-httpapi-ratelimit-headers has it. Nothing is left of it now."""
    headers = [_retry_after(error.retry_after_s)]
    seconds = headers[0][1].decode()
    if error.policy:
        headers.append((b"ratelimit", f'"{error.policy}";r=0;t={seconds}'.encode()))
        headers.append((b"ratelimit-policy", f'"{error.policy}";q={error.quota};w={error.window_s}'.encode()))
    return headers


def _retry_after(seconds: float) -> tuple[bytes, bytes]:
    return b"retry-after", str(max(math.ceil(seconds), 1)).encode()
