"""Request ids: what a call is named in answers, log lines and the list of the slowest requests."""

from __future__ import annotations

import itertools
import secrets
from typing import Protocol

from workbench.protocols.trace_headers import REQUEST_ID, request_id
from workbench.server.gate.auth import Headers


class HasRequestId(Protocol):
    @property
    def request_id(self) -> bytes: ...


class RequestIds:
    """Gives each call the caller's own name for it, or a new one: a prefix of this process, and a count."""

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
