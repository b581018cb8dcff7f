"""Answers in the worker's place while there is none, so that no caller hangs: 503 over HTTP, UNAVAILABLE over gRPC."""

from __future__ import annotations

import errno
import json
import selectors
import socket
from collections.abc import Callable
from typing import Protocol

HEAD_BYTES = 64 * 1024
CONNECTION_S = 5.0
"""The time that one connection has to send its request's head and to read the answer."""

MAX_CONNECTIONS = 256
"""For one more, the oldest makes room."""

_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

WITHOUT_REASON = "the service is not running; its owner sees why with `jupyter-infer status`"


class Conversation(Protocol):
    """Speaks one protocol on one connection, without a socket."""

    greeting: bytes
    """Sent once the connection is open."""
    answered: bool
    """True once no more will be sent."""

    def received(self, data: bytes) -> bytes:
        """What to send for these bytes."""
        ...

    def farewell(self) -> bytes:
        """What tells the client to leave a connection on which it may make further calls; empty if there is no such
        thing."""
        ...


class UnavailableResponder:
    """Answers on `listener` between `open` and `close`, driven by the keeper's selector and clock."""

    def __init__(
        self, listener: socket.socket, selector: selectors.BaseSelector, converse: Callable[[], Conversation] | None
    ) -> None:
        """`converse` begins the conversation of a connection; None: each is closed at once."""
        self._listener = listener
        self._selector = selector
        self._converse = converse
        self._connections: dict[socket.socket, _Connection] = {}
        self._open = False
        self._listening = False

    def open(self) -> None:
        if not self._open:
            self._open = True
            self._listener.setblocking(False)
            self._listen()

    def close(self) -> None:
        """Leave the listener to a worker. Requests that came are still answered."""
        if self._open:
            self._open = False
            self._stop_listening()
            for each in list(self._connections.values()):
                self._say(each, each.talk.farewell())

    def refuse(self) -> None:
        """Close each connection from now on at once: nothing will answer here again."""
        self._converse = None
        self.open()

    def tick(self, now: float) -> None:
        """Drop connections that take too long, and accept again where descriptors were short."""
        self._now = now
        if self._open:
            self._listen()
        for connection in [each for each in self._connections.values() if now > each.until]:
            if farewell := connection.talk.farewell():
                connection.until = now + CONNECTION_S
                self._say(connection, farewell)
            else:
                self._drop(connection)

    _now = 0.0

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            self._selector.unregister(self._listener)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:  # a worker was faster, or the caller left
            if error.errno in _SHORT:
                self._stop_listening()  # until the next tick: the selector would report it without end
                self._drop_oldest()
            return
        if self._converse is None:
            accepted.close()
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop_oldest()
        accepted.setblocking(False)
        connection = _Connection(accepted, self._now + CONNECTION_S, self._converse())
        self._connections[accepted] = connection
        self._selector.register(accepted, selectors.EVENT_READ, lambda: self._read(connection))
        self._say(connection, connection.talk.greeting)

    def _read(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._drop(connection)
        elif not connection.talk.answered:
            self._say(connection, connection.talk.received(received))

    def _say(self, connection: _Connection, data: bytes) -> None:
        """Send. After the last answer, what more the caller sends is read and thrown away until it closes: to close
        first would reset the connection, and the answer might be lost with it."""
        try:
            if data:
                connection.socket.send(data)
            if connection.talk.answered:
                connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)

    def _drop_oldest(self) -> None:
        for connection in self._connections.values():
            self._drop(connection)
            return

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()


class HttpConversation:
    """503, with the reason for callers with the token only, since it may quote the log."""

    greeting = b""

    def __init__(
        self, token: str | None, reason: Callable[[], str], code: Callable[[], str] = lambda: "unavailable"
    ) -> None:
        """`reason` and `code` are asked for each answer."""
        self._token = token
        self._reason = reason
        self._code = code
        self._head = b""
        self.answered = False

    def received(self, data: bytes) -> bytes:
        self._head += data
        head, complete, _ = self._head.partition(b"\r\n\r\n")
        self.answered = bool(complete) or len(self._head) > HEAD_BYTES
        return self._answer(head) if self.answered else b""

    def farewell(self) -> bytes:
        return b""

    def _answer(self, head: bytes) -> bytes:
        request, *lines = head.split(b"\r\n")
        path = request.split(b" ")[1] if request.count(b" ") >= 2 else b""
        if path in (b"/v2/health/live", b"/v2/health/ready"):
            content: dict[str, object] = {"live": False} if path.endswith(b"live") else {"ready": False, "live": False}
        else:
            content = {"error": self._reason() if self._is_owner(lines) else WITHOUT_REASON, "code": self._code()}
        body = b"" if request.startswith(b"HEAD ") else json.dumps(content).encode()
        return (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
            b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
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
    def __init__(self, socket: socket.socket, until: float, talk: Conversation) -> None:
        self.socket = socket
        self.until = until
        self.talk = talk
