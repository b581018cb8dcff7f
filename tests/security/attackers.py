"""Sockets of an attacker, who comes from an address of its own where the system has more than one on loopback."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from typing import cast

from tests.http2.raw import PREFACE, ping, settings

ELSEWHERE = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"


def connect(address: str, timeout_s: float = 10.0) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout_s, source_address=(ELSEWHERE, 0))


def connect_http2(address: str) -> socket.socket:
    """A connection to the gRPC port on which the service has been heard, so that its windows are open."""
    connection = connect(address)
    connection.sendall(PREFACE + settings().encoded() + ping(b"heard me").encoded())
    heard = b""
    while b"heard me" not in heard:
        more = connection.recv(1 << 16)
        assert more, "the service closed the connection"
        heard += more
    return connection


def push(connection: socket.socket, content: bytes, limit_s: float, *, read: bool = True) -> int:
    """Send as much of `content` as the service takes within `limit_s`; returns how many bytes that was.

    `read`: take what it answers meanwhile, and throw it away.
    """
    connection.setblocking(False)
    view = memoryview(content)
    end = time.monotonic() + limit_s
    with contextlib.suppress(ConnectionError):
        while view and (left := end - time.monotonic()) > 0:
            readable, writable, _ = select.select([connection] if read else [], [connection], [], left)
            if readable and not connection.recv(1 << 20):
                break
            if writable:
                view = view[connection.send(view[: 1 << 20]) :]
    return len(content) - len(view)


def push_all(connections: Sequence[socket.socket], content: bytes, limit_s: float) -> int:
    """Send `content` on each again and again, and throw away what is answered; returns how many bytes were sent.

    One that the service closes is left out.
    """
    sent = 0
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, memoryview(content))
        end = time.monotonic() + limit_s
        while selector.get_map() and time.monotonic() < end:
            for key, event in selector.select(0.1):
                connection = cast(socket.socket, key.fileobj)
                try:
                    ended = event & selectors.EVENT_READ and not connection.recv(1 << 20)
                    if event & selectors.EVENT_WRITE and not ended:
                        taken = connection.send(key.data)
                        sent += taken
                        selector.modify(connection, key.events, key.data[taken:] or memoryview(content))
                except BlockingIOError:
                    continue
                except ConnectionError:
                    ended = True
                if ended:
                    selector.unregister(connection)
    return sent
