"""uvicorn's HTTP/1.1 connection with four things mended: an answer is one write, and a small one takes a short way;
what is held of a request before its caller is known has a cap; a request to speak another protocol is answered in this.

uvicorn writes head and body apart, and uvloop makes a system call and, without Nagle's algorithm, a packet of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers, and again the trailers after a chunked body; nobody was asked for a token yet."""

_JOINED_BELOW = 64 * 1024


class HttpConnection(HttpToolsProtocol):
    """For `uvicorn.Config(http=HttpConnection)`."""

    _head_bytes = 0
    """Received since a message began, its head ended, or a piece of its body came: a head, trailers, or what a chunk's
    line may hold beside its size. The parser keeps such a line until it ends, and it need not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport))

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(f"The request's head or trailers have more than {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        super().on_headers_complete()
        # Trailers come as headers do, and whoever reads those must not meet them there.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

    def _refuse(self, message: str) -> None:
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()  # in the middle of an answer there is no place for another
        else:
            self.send_400_response(message)

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: HTTP lets a server pass over an Upgrade, and the request was answered as any other."""


def send_whole(send: Callable[..., Any], status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Send a whole answer past the two messages of ASGI, where `send` is that of a plain uvicorn cycle and nothing
    stands against it; else False, and nothing was sent.

    `headers` are trusted: in lower case, without a line's end, and Content-Length among them.

    Subtleness ahead: this leaves the cycle as its own `send` would. That checks each header by two regular expressions
    and takes its messages apart again, which is a tenth of what a small inference costs.
    """
    cycle = getattr(send, "__self__", None)
    if (
        type(cycle) is not RequestResponseCycle
        or cycle.response_started
        or cycle.disconnected
        or not cycle.keep_alive
        or cycle.flow.write_paused
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
    cycle.message_event.set()
    cycle.on_response()  # flushes
    return True


class OneWrite(asyncio.Transport):
    """A transport that keeps the head of an answer until its body comes, and then writes both at once.

    Nothing waits for longer: an answer without a body is flushed when it is complete, and closing flushes too.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""
        # What is called often goes past this class.
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def write(self, data: Any) -> None:
        head = self._head
        if head:
            self._head = b""
            if len(data) <= _JOINED_BELOW:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))
        elif data[:9] == b"HTTP/1.1 " and data[9:10] != b"1":  # a head, and not "100 Continue", which is all there is
            self._head = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write a head that no body followed."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)
