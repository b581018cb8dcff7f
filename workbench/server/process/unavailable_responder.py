"""Answers 503 with the reason while there is no worker, so that no caller hangs."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable

HEAD_BYTES = 64 * 1024
CONNECTION_S = 5.0
"""The time that one connection has to send its request's head and to read the answer."""

MAX_CONNECTIONS = 256

WITHOUT_REASON = "the service is not running; its owner sees why with `jupyter-infer status`"


class UnavailableResponder:
    """Answers on `listener` between `open` and `close`, driven by the keeper's selector and clock.

    `reason` is asked for each answer. Only callers with the token are told it, since it may quote the log.
    """

    def __init__(
        self, listener: socket.socket, selector: selectors.BaseSelector, token: str | None, reason: Callable[[], str]
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._token = token
        self._reason = reason
        self._connections: dict[socket.socket, _Connection] = {}
        self._open = False

    def open(self) -> None:
        if not self._open:
            self._open = True
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Leave the listener to a worker; connections that were taken are still answered."""
        if self._open:
            self._open = False
            self._selector.unregister(self._listener)

    def tick(self, now: float) -> None:
        """Drop connections that take too long."""
        self._now = now
        for connection in [each for each in self._connections.values() if now > each.until]:
            self._drop(connection)

    _now = 0.0

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return  # a worker was faster, or the caller left
        if len(self._connections) >= MAX_CONNECTIONS:
            accepted.close()
            return
        accepted.setblocking(False)
        connection = _Connection(accepted, self._now + CONNECTION_S)
        self._connections[accepted] = connection
        self._selector.register(accepted, selectors.EVENT_READ, lambda: self._read(connection))

    def _read(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._drop(connection)
        elif not connection.answered:
            connection.head += received
            head, complete, _ = connection.head.partition(b"\r\n\r\n")
            if complete or len(connection.head) > HEAD_BYTES:
                connection.answered = True
                # What more it sends is read and thrown away until it closes: to close first would reset the
                # connection, and the answer might be lost with it.
                try:
                    connection.socket.send(self._answer(head))
                    connection.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _answer(self, head: bytes) -> bytes:
        request, *lines = head.split(b"\r\n")
        path = request.split(b" ")[1] if request.count(b" ") >= 2 else b""
        if path in (b"/v2/health/live", b"/v2/health/ready"):
            content: dict[str, object] = {"live": False} if path.endswith(b"live") else {"ready": False, "live": False}
        else:
            content = {"error": self._reason() if self._is_owner(lines) else WITHOUT_REASON, "code": "unavailable"}
        body = b"" if request.startswith(b"HEAD ") else json.dumps(content).encode()
        return (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )

    def _is_owner(self, lines: list[bytes]) -> bool:
        if self._token is None:
            return True
        from hmac import compare_digest  # loads OpenSSL, which a keeper can do without until here

        for line in lines:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"authorization":
                scheme, _, credentials = value.strip().partition(b" ")
                return scheme.lower() == b"bearer" and compare_digest(credentials.strip(), self._token.encode())
        return False


class _Connection:
    def __init__(self, socket: socket.socket, until: float) -> None:
        self.socket = socket
        self.until = until
        self.head = b""
        self.answered = False
