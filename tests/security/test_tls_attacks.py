"""What a stranger does with TLS: handshakes that never end, and very many that do, beside others who are served."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.security.attackers import connect
from tests.security.watched_service import AT_LEAST_S, MB, Watched, watched_service

pytestmark = pytest.mark.serial

IDLE = 5_000
"""Connections; more than `max_connections`."""
A_SECOND = 1_500


def client_hello() -> bytes:
    """What a client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_service(tmp_path_factory.mktemp("secure-attacked"), "--tls", "self-signed") as watched:
        yield watched


def test_five_thousand_handshakes_that_do_not_go_on_shut_nobody_out(secure: Watched, many_files: None) -> None:
    hello = client_hello()
    said = [b"", hello[:1], hello[: len(hello) // 2], hello]
    with secure.attack() as seen, ExitStack() as stack:
        strangers: list[socket.socket] = []
        began = time.monotonic()
        for number in range(IDLE):
            address = (secure.serve.address, secure.serve.grpc)[number % 2]
            with suppress(OSError):  # one too many is closed
                strangers.append(stack.enter_context(connect(address)))
                strangers[-1].sendall(said[number // 2 % len(said)])
            if number % 100 == 0:  # faster, they are a flood that fills the system's own queue
                time.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        end = time.monotonic() + AT_LEAST_S
        while time.monotonic() < end:  # byte by byte
            for stranger in strangers[-500:]:
                with suppress(OSError):
                    stranger.sendall(b"\0")
    seen.others_were_served()
    assert len(strangers) > IDLE // 2
    assert any("connections" in line for line in seen.log), seen
    assert len(seen.log) < 20, seen
    assert seen.grown_bytes < 500 * MB, seen


def test_handshakes_without_end_keep_nobody_waiting(secure: Watched) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    made = 0
    with secure.attack() as seen:
        end = time.monotonic() + AT_LEAST_S
        while time.monotonic() < end:
            with suppress(OSError), connect(secure.serve.address) as raw, context.wrap_socket(raw):
                made += 1
    seen.others_were_served()
    assert made > 20
