"""What each call is called in answers, log lines and the list of the slowest."""

from __future__ import annotations

import itertools
import secrets

from workbench.protocols.trace_headers import REQUEST_ID, request_id
from workbench.server.gate.auth import Headers


class RequestIds:
    """The caller's own name for it, or one that no other call has: where the service began, and a count."""

    def __init__(self) -> None:
        self._prefix = f"{secrets.token_hex(4)}-".encode()
        self._count = itertools.count(1)

    def of(self, headers: Headers) -> bytes:
        given = headers.get(REQUEST_ID)
        if given is not None and (named := request_id(given)) is not None:
            return named
        return self.new()

    def new(self) -> bytes:
        return b"%b%x" % (self._prefix, next(self._count))
