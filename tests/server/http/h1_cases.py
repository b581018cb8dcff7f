"""Requests as they come over the wire, and the statuses that they must be answered with: RFC 9112, and smuggling.

A case is (name, bytes, statuses of the answers, whether the connection stays open).
"""

from __future__ import annotations

from typing import Final

HOST: Final = b"Host: localhost\r\n"
LIVE: Final = b"GET /v2/health/live HTTP/1.1\r\n" + HOST
"""Public, so that an answer other than 200 is the protocol's own."""
POST: Final = b"POST /v2/health/live HTTP/1.1\r\n" + HOST
"""With a body, refused with 401 and read to its end."""
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT: Final = LIVE + b"\r\n"

Case = tuple[str, bytes, list[int], bool]

ACCEPTED: Final[list[Case]] = [
    ("a request", LIVE + b"\r\n", [200], True),
    ("two in one packet", NEXT + NEXT, [200, 200], True),
    ("empty lines before a request", b"\r\n\r\n" + NEXT, [200], True),
    ("HEAD", NEXT.replace(b"GET", b"HEAD"), [200], True),
    ("the absolute form", NEXT.replace(b" /v2", b" http://localhost/v2"), [200], True),
    ("a query and a fragment", NEXT.replace(b"live", b"live?a=b"), [200], True),
    ("a percent-encoded path", NEXT.replace(b"live", b"%6Cive"), [200], True),
    ("Connection: close", LIVE + b"Connection: close\r\n\r\n", [200], False),
    ("close among others", LIVE + b"Connection: te, Close\r\n\r\n", [200], False),
    ("HTTP/1.0", NEXT.replace(b"1.1", b"1.0"), [200], False),
    ("HTTP/1.0 without Host", b"GET /v2/health/live HTTP/1.0\r\n\r\n", [200], False),
    ("a field without a value", LIVE + b"x-empty:\r\n\r\n", [200], True),
    ("an Upgrade", LIVE + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT, [200, 200], True),
    (
        "Upgrade with a body",
        POST + b"Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 3\r\n\r\nabc" + NEXT,
        [401, 200],
        True,
    ),
    ("a body", POST + b"Content-Length: 3\r\n\r\nabc" + NEXT, [401, 200], True),
    ("a GET with a body", LIVE + b"Content-Length: 3\r\n\r\nabc" + NEXT, [200, 200], True),
    ("a body in chunks", CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n" + NEXT, [401, 200], True),
    ("a chunk's extension", CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n" + NEXT, [401, 200], True),
    ("trailers", CHUNKED + b"0\r\nx-a: b\r\nx-c: d\r\n\r\n" + NEXT, [401, 200], True),
    ("chunked in capitals", CHUNKED.replace(b"chunked", b"Chunked") + b"0\r\n\r\n" + NEXT, [401, 200], True),
]

REFUSED: Final[list[Case]] = [
    (name, sent + NEXT, [400], False)
    for name, sent in [
        # Two ways to say where a body ends
        (
            "Content-Length and Transfer-Encoding",
            POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding and Content-Length",
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("differing Content-Length", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("repeated Content-Length", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        ("a list as Content-Length", POST + b"Content-Length: 3, 3\r\n\r\nabc"),
        ("a signed Content-Length", POST + b"Content-Length: +3\r\n\r\nabc"),
        ("a negative Content-Length", POST + b"Content-Length: -3\r\n\r\nabc"),
        ("a hexadecimal Content-Length", POST + b"Content-Length: 0x3\r\n\r\nabc"),
        ("an empty Content-Length", POST + b"Content-Length:\r\n\r\n"),
        ("a huge Content-Length", POST + b"Content-Length: 99999999999999999999\r\n\r\n"),
        ("another transfer coding", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("an unknown transfer coding", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("chunked, not last", POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        ("chunked twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("chunked behind a tab", POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
        ("chunked in HTTP/1.0", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n"),
        # Fields
        ("a space before the colon", POST + b"Content-Length : 3\r\n\r\nabc"),
        ("a folded line", LIVE + b"x-a: b\r\n c\r\n\r\n"),
        ("a folded first line", b"GET /v2/health/live HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("a bare line feed", LIVE + b"x-a: b\nx-c: d\r\n\r\n"),
        ("a bare carriage return", LIVE + b"x-a: b\rx-c: d\r\n\r\n"),
        ("only line feeds", b"GET /v2/health/live HTTP/1.1\nHost: localhost\n\n"),
        ("NUL in a value", LIVE + b"x-a: \0\r\n\r\n"),
        ("NUL in a name", LIVE + b"x\0a: b\r\n\r\n"),
        ("no name", LIVE + b": b\r\n\r\n"),
        ("a space in a name", LIVE + b"x a: b\r\n\r\n"),
        ("a name that is not ASCII", LIVE + b"\xe9: b\r\n\r\n"),
        ("no colon", LIVE + b"nothing\r\n\r\n"),
        ("no Host", b"GET /v2/health/live HTTP/1.1\r\n\r\n"),
        ("Host twice", LIVE + HOST + b"\r\n"),
        ("Authorization twice", LIVE + 2 * b"Authorization: Bearer a\r\n" + b"\r\n"),
        ("another host in the request line", NEXT.replace(b" /v2", b" http://evil.example/v2")),
        ("more than the host in the request line", NEXT.replace(b" /v2", b" http://localhost.evil/v2")),
        ("a user in the request line", NEXT.replace(b" /v2", b" http://localhost@evil/v2")),
        # Request lines
        ("two spaces", LIVE.replace(b"GET /", b"GET  /") + b"\r\n"),
        ("a space in the path", LIVE.replace(b"live", b"li ve") + b"\r\n"),
        ("a space at the end", LIVE.replace(b"1.1", b"1.1 ") + b"\r\n"),
        ("a tab", LIVE.replace(b"GET ", b"GET\t") + b"\r\n"),
        ("a method in small letters", LIVE.replace(b"GET", b"get") + b"\r\n"),
        ("an unknown method", LIVE.replace(b"GET", b"NONSENSE") + b"\r\n"),
        ("HTTP/0.9", b"GET /v2/health/live\r\n\r\n"),
        ("HTTP/2.0", LIVE.replace(b"1.1", b"2.0") + b"\r\n"),
        ("HTTP/1.2", LIVE.replace(b"1.1", b"1.2") + b"\r\n"),
        ("another protocol", LIVE.replace(b"HTTP", b"RTSP") + b"\r\n"),
        ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a path that is not ASCII", LIVE.replace(b"live", b"\xe9") + b"\r\n"),
        ("no path", LIVE.replace(b"/v2/health/live", b"nothing") + b"\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ]
]

BROKEN_CHUNKS: Final = [
    b"zz\r\n",
    b"\r\n",
    b" 3\r\nabc\r\n",
    b"-3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"3\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc\n",
    b"3\r\nabc\rX",
    b"11111111111111111\r\n",
    b"3;a\0\r\nabc\r\n",
    b"3;" + b"x" * 5000 + b"\r\n",
    b"0\r\nx: y\n\r\n",
]
"""Bodies in chunks after which the connection is closed: by a 400, or at once where the request is answered already."""
