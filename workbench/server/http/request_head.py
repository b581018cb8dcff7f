"""Request lines and headers, parsed by httptools (llhttp, strict) and then held to what it lets pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import httptools

MAX_FIELDS: Final = 128
"""Header fields of one request."""

_AUTHORITY_END = re.compile(rb"[/?#]")
_REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z-]*) ([^ \r\n]+) HTTP/1\.([01])\r\n")


class MalformedRequest(Exception):
    """A request that cannot be read: it is answered with `status`, and then the connection is closed."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request line and its headers say."""

    raw: bytes
    """As it came, with the empty line at its end."""
    method: str
    path: str
    """Percent-decoded."""
    query: bytes
    headers: Mapping[bytes, bytes]
    """Names in lower case; of a repeated one the last."""
    body_bytes: int | None
    """None: the body is chunked."""
    keep_alive: bool
    chunks: bool
    """The client takes an answer in chunks: it speaks HTTP/1.1."""
    fields: int
    """Header fields, repeated ones included."""

    @property
    def expects_continue(self) -> bool:
        """The client waits for "100 Continue" before it sends the body."""
        return self.chunks and self.headers.get(b"expect", b"").lower() == b"100-continue"


def parse_head(raw: bytes) -> RequestHead:
    """Parse a request line and headers up to the empty line at their end, which `raw` includes.

    Raises MalformedRequest. Refused on top of what llhttp refuses (fields of invalid names, folded lines, bare line
    feeds, Content-Length repeated or beside Transfer-Encoding) are other transfer codings than chunked, repeated or
    missing Host, a request line that names another one, repeated Authorization, other versions, and request lines that
    are not three parts with one space between them.
    """
    if raw.count(b"\n") > MAX_FIELDS + 2:  # before the parser calls for each of thousands
        raise MalformedRequest(f"The request has more than {MAX_FIELDS} header fields.", 431)
    line = _REQUEST_LINE.match(raw)
    if line is None:
        raise MalformedRequest("The request line is not METHOD PATH HTTP/1.1.")
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # HTTP lets a server pass over an Upgrade, and answer in this protocol
    except httptools.HttpParserError as error:
        raise MalformedRequest(f"The request cannot be read: {error}.") from None
    found = fields.found
    if not fields.complete:
        raise MalformedRequest("The request cannot be read.")
    headers = dict(found)
    latest = line[3] == b"1"
    names = [name for name, _ in found]
    hosts = names.count(b"host")
    if hosts > 1 or (latest and hosts == 0):
        raise MalformedRequest("A request has exactly one Host header.")
    if names.count(b"authorization") > 1:
        raise MalformedRequest("A request has one Authorization header at most.")
    lengths = names.count(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if lengths > 1 or (lengths and coding is not None):
        raise MalformedRequest("The request says in two ways how long its body is.")
    if coding is not None:
        if names.count(b"transfer-encoding") > 1 or coding.lower() != b"chunked" or not latest:
            raise MalformedRequest("Transfer-Encoding may only be chunked, and only in HTTP/1.1.")
        body_bytes = None
    else:
        body_bytes = int(headers.get(b"content-length", b"0"))
    path, query = _target(line[2], headers.get(b"host", b""))
    connection = headers.get(b"connection", b"").lower()
    closes = b"close" in connection and b"close" in (each.strip() for each in connection.split(b","))
    method = line[1].decode("ascii")
    return RequestHead(raw, method, path, query, headers, body_bytes, latest and not closes, latest, len(found))


class _Fields:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _target(target: bytes, host: bytes) -> tuple[str, bytes]:
    """(path, query) of a request target in any of its forms; one that names a host has to name `host`."""
    try:
        url = httptools.parse_url(target)
        path = (url.path or b"/").decode("ascii")
    except (httptools.HttpParserError, UnicodeDecodeError):
        raise MalformedRequest("The request's path is not a path.") from None
    if url.host and host and _AUTHORITY_END.split(target.partition(b"://")[2], 1)[0].lower() != host.lower():
        raise MalformedRequest("The request line names another host than the Host header.")
    return unquote(path) if "%" in path else path, url.query or b""
