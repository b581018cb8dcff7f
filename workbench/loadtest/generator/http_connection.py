"""Sends prebuilt requests over one keep-alive HTTP connection, and times and counts the answers.

A general client spends most of its time on what a load test does not need: headers as a mapping, bodies as objects, a
future for each request. Here a regular expression finds the status and length in an answer's head, and the body is
only counted. Other answers (chunked, ended by the connection's end, interim) go through httptools' parser.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from typing import Any, Final, Protocol, cast

import httptools

from workbench.loadtest.store.records import OUTCOMES

MAX_HEAD_BYTES = 65_536
SAID_BYTES = 2000
"""This much of an error answer is kept, to quote it."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)

_OK: Final = OUTCOMES.index("ok")
_INVALID: Final = OUTCOMES.index("invalid")
_FAILED: Final = OUTCOMES.index("failed")
_REJECTED: Final = OUTCOMES.index("rejected")
_CONNECTION: Final = OUTCOMES.index("connection")
_OF_STATUS: Final = {
    200: _OK,
    429: _REJECTED,
    503: OUTCOMES.index("unavailable"),
    504: OUTCOMES.index("expired"),
}

FULL_QUEUE: Final = "maximum queue size"
"""In the words of a server whose queue is full. Triton's answer has the status of one that is not ready."""

_monotonic = time.monotonic


class Connection(Protocol):
    """Carries one request at a time; its attributes are those of the request in flight."""

    usable: bool
    """False once the owner was told that the connection is lost."""
    busy: bool
    due_s: float
    sent_s: float
    variant: int
    first_byte_s: float
    """NaN while nothing has come."""
    received: int
    """Bytes of the answer so far."""

    def send(self, request: bytes, token: str | None = None) -> None:
        """Send; `ConnectionOwner.ended` is called once, when the answer is whole or has failed.

        An HTTP request holds its `token` already.
        """
        ...

    def abort(self) -> None:
        """Close at once, dropping a request in flight; the owner is not called any more."""
        ...


class ConnectionOwner(Protocol):
    """Sends on connections and receives their results."""

    began: float
    """The run's 0 on time.monotonic."""

    def ended(self, connection: Connection, now_s: float, outcome: int, said: str) -> None:
        """The request on `connection` has ended; the connection is free if still usable. `said`: why it was not ok."""
        ...

    def refused(self, connection: Connection, token: str | None) -> bool:
        """The request was refused for the token that it was sent with. True: it was sent again, with another one."""
        ...

    def lost(self, connection: Connection) -> None:
        """`connection` cannot be used any more; `ended` follows if a request was in flight."""
        ...


class HttpConnection(asyncio.Protocol):
    """Speaks HTTP/1.1; a request is sent as complete bytes, head included."""

    __slots__ = (
        "_body",
        "_head",
        "_keeps",
        "_left",
        "_owner",
        "_parser",
        "_status",
        "_token",
        "_transport",
        "_until_end",
        "busy",
        "due_s",
        "first_byte_s",
        "received",
        "sent_s",
        "usable",
        "variant",
    )

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner: ConnectionOwner | None = owner
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._head = b""
        self._body = b""
        self._left = -1
        """Bytes of the body still to come; -1: the head is not whole."""
        self._status = 0
        self._token: str | None = None
        self._keeps = True
        self._until_end = False
        self.usable = True
        self.busy = False
        self.due_s = self.sent_s = self.first_byte_s = math.nan
        self.variant = self.received = 0

    def send(self, request: bytes, token: str | None = None) -> None:
        assert self._transport is not None
        self._token = token
        self.busy = True
        self.first_byte_s = math.nan
        self.received = 0
        self._transport.write(request)

    def abort(self) -> None:
        self._owner = None
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        owner = self._owner
        if owner is None:
            return
        if not self.busy:  # unasked: a server that says why it closes
            self._lose()
            return
        now_s = _monotonic() - owner.began
        if not self.received:
            self.first_byte_s = now_s
        self.received += len(data)
        if self._parser is not None:
            self._feed(data)
            return
        left = self._left
        if left < 0:
            if self._head:
                data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                if len(data) > MAX_HEAD_BYTES:
                    self._end(_FAILED, f"the head of an answer has more than {MAX_HEAD_BYTES} bytes", keeps=False)
                return
            self._head = b""
            length = _LENGTH.search(data, 0, end + 2)
            if length is None or not data.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 5")):
                self._parse(data)
                return
            if _CODED.search(data, 0, end + 2):
                self._parse(data)
                return
            self._status = int(data[9:12])
            self._keeps = _CLOSES.search(data, 0, end + 2) is None
            if self._status != 200:
                self._body = data[end + 4 : end + 4 + SAID_BYTES]
            left = int(length[1]) + end + 4 - len(data)
        else:
            left -= len(data)
            if self._status != 200 and len(self._body) < SAID_BYTES:
                self._body += data[:SAID_BYTES]
        if left > 0:
            self._left = left
        elif left == 0:
            self._answered()
        else:
            self._end(_FAILED, "more came than the answer's Content-Length said", keeps=False)

    def connection_lost(self, error: Exception | None) -> None:
        if self._owner is None:
            return
        if self.busy:
            if self._until_end:
                self._keeps = False
                self._answered()
                return
            why = "before the answer was whole" if self.received else "before an answer"
            self._end(_CONNECTION, f"the connection was closed {why}", keeps=False)
        else:
            self._lose()

    # httptools

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        # Without a length an answer ends with the connection, but for those that never have a body.
        self._until_end = self._until_end and self._status not in (204, 304) and self._status >= 200

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._until_end = False

    def on_message_begin(self) -> None:
        self._until_end = True

    def on_body(self, data: bytes) -> None:
        if self._status != 200 and len(self._body) < SAID_BYTES:
            self._body += data[:SAID_BYTES]

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._keeps = self._parser.should_keep_alive()
            self._left = 0

    # Ends

    def _parse(self, data: bytes) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(_FAILED, "what answers there does not speak HTTP", keeps=False)
            return
        if self._left == 0:
            self._answered()

    def _answered(self) -> None:
        status = self._status
        if status == 200:
            self._end(_OK, "", self._keeps)
            return
        said = self._body.decode("utf-8", "replace")
        if status == 401 and self._keeps and self._owner is not None:
            self._reset()
            if self._owner.refused(self, self._token):
                return
        outcome = _OF_STATUS.get(status, _INVALID if 400 <= status < 500 else _FAILED)
        if status == 503 and FULL_QUEUE in said:
            outcome = _REJECTED
        self._end(outcome, f"HTTP {status}: {said}", self._keeps)

    def _end(self, outcome: int, said: str, keeps: bool) -> None:
        owner = self._owner
        assert owner is not None
        self._reset()
        now_s = _monotonic() - owner.began
        if not keeps:
            self._lose()
        owner.ended(self, now_s, outcome, said)

    def _reset(self) -> None:
        self.busy = False
        self._left = -1
        self._head = self._body = b""
        self._parser = None
        self._until_end = False

    def _lose(self) -> None:
        owner = self._owner
        self.abort()
        if owner is not None:
            owner.lost(self)
