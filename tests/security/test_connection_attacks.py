"""What one stranger does with connections, beside others who are served."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from itertools import cycle

import pytest

from tests.http2.raw import PREFACE, headers, plain, settings
from tests.http2.service import LIVE, head
from tests.security.attackers import connect, push, push_all
from tests.security.watched_service import AT_LEAST_S, MB, Watched

pytestmark = pytest.mark.serial

TINY = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
MANY = 5_000
"""Connections, to a service that may open 1024 files."""
A_SECOND = 2_000
"""Faster, connections are a flood that fills the system's own queue."""

HALF_OPEN = {
    "silent": b"",
    "half a head": b"POST /v2/models/plus/infer HTTP/1.1\r\nHost: loc",
    "half a body": b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
}
HALF_OPEN_HTTP2 = {
    "silent": b"",
    "half a preface": PREFACE[:9],
    "half a call": PREFACE + settings().encoded() + headers(1, plain(head(LIVE))).encoded(),
}


@pytest.mark.parametrize("read", [True, pytest.param(False, marks=pytest.mark.long)], ids=["read", "unread"])
def test_ten_megabytes_of_tiny_requests_on_one_connection(attacked: Watched, read: bool) -> None:
    with attacked.attack() as seen, connect(attacked.serve.address) as stranger:
        push(stranger, TINY * (10 * MB // len(TINY)), 2.0, read=read)
    seen.others_were_served()
    assert seen.grown_bytes < 50 * MB, seen


def test_five_thousand_connections_that_say_nothing_or_half_of_it_and_then_drip_shut_nobody_out(
    attacked: Watched, many_files: None
) -> None:
    kinds = [(attacked.serve.address, content) for content in HALF_OPEN.values()]
    kinds += [(attacked.serve.grpc, content) for content in HALF_OPEN_HTTP2.values()]
    strangers: list[socket.socket] = []
    with attacked.attack() as seen, ExitStack() as stack:
        began = time.monotonic()
        for number, (address, content) in zip(range(MANY), cycle(kinds), strict=False):
            with suppress(OSError):  # more than it takes, which is told to them and not to others
                strangers.append(stack.enter_context(connect(address)))
                strangers[-1].sendall(content)
            if number % 100 == 0:
                time.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        end = time.monotonic() + AT_LEAST_S
        while time.monotonic() < end:  # slow-loris: those that are still open go on byte by byte
            for stranger in strangers[-500:]:
                with suppress(OSError):
                    stranger.sendall(b"x")
    seen.others_were_served()
    assert len(strangers) > MANY // 2
    assert any("connections" in line for line in seen.log), seen
    assert len(seen.log) < 20, seen
    assert seen.grown_bytes < 100 * MB, seen


@pytest.mark.parametrize("kind", ["requests", "chunks"])
def test_what_many_connections_send_ahead_keeps_nobody_waiting(attacked: Watched, kind: str, many_files: None) -> None:
    chunked = b"POST /v2/models/plus/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    start, content = {"requests": (b"", TINY * 2000), "chunks": (chunked, b"1\r\nx\r\n" * 10_000)}[kind]
    with attacked.attack() as seen, ExitStack() as stack:
        strangers = [stack.enter_context(connect(attacked.serve.address)) for _ in range(300)]
        for stranger in strangers:
            stranger.sendall(start)
        sent = push_all(strangers, content, 2 * AT_LEAST_S)
    seen.others_were_served()
    assert sent > MB
    assert seen.grown_bytes < 100 * MB, seen
