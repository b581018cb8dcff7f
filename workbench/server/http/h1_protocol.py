"""uvicorn's HTTP/1.1 connection with five things mended: an answer is one write, and a small one takes a short way;
what is held of a request before its caller is known has a cap; a request to speak another protocol is answered in this;
and a request whose head came before goes past the parser and ASGI (`fast_path`).

uvicorn writes head and body apart, and uvloop makes a system call and, without Nagle's algorithm, a packet of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers, and again the trailers after a chunked body; nobody was asked for a token yet."""

HELD_BYTES = 64 * 1024
"""Of requests that come before the one before them is answered; then reading stops."""

_JOINED_BELOW = 64 * 1024


class KnownHead(Protocol):
    """What a request line and its headers say."""

    @property
    def body_bytes(self) -> int: ...


class Responder(Protocol):
    """A connection that waits for one answer."""

    def has_left(self) -> bool:
        """True once nobody is there to read it. From any thread."""
        ...

    def reply(self, status: int, headers: bytes, body: Sequence[bytes | memoryview]) -> int:
        """Write the answer, if anybody is there, exactly once; how many bytes its body has. Raises nothing.

        `headers` are whole lines, without Content-Length.
        """
        ...


class FastPath(Protocol):
    """Answers requests by their heads, past the parser and ASGI; see the module of that name."""

    def known(self, head: bytes, /) -> Any | None:
        """The KnownHead of these bytes, the empty line at their end included."""
        ...

    def learn(self, head: bytes, scope: Mapping[str, Any]) -> None:
        """The parser found `scope` in `head`."""
        ...

    def begin(self, head: Any, body: bytes, replier: Responder) -> None:
        """Answer the request: now, or later."""
        ...


class HttpConnection(HttpToolsProtocol):
    """For `uvicorn.Config(http=HttpConnection)`. The application may have a `fast_path`."""

    _head_bytes = 0
    """Received since a message began, its head ended, or a piece of its body came: a head, trailers, or what a chunk's
    line may hold beside its size. The parser keeps such a line until it ends, and it need not."""

    _fast: FastPath | None = None
    """None: nothing is to go past the parser here."""
    _parsing = False
    """The parser is inside a message."""
    _new_head = b""
    """What the parser is given began a message and has its whole head, which is this."""
    _known: KnownHead | None = None
    """Of a request that goes past the parser, from its head until it is answered."""
    _body_so_far = b""
    """Of `_known`, which has not come whole yet."""
    _answering = False
    """The body of `_known` is whole, and the answer due."""
    _later = b""
    """What came meanwhile."""
    _lost = False
    _last_one = False
    """To be closed once `_known` is answered."""
    _default_headers: Sequence[tuple[bytes, bytes]] | None = None
    _default_lines = b""
    """The same as they are written."""
    _used_at = 0.0
    """When the last answer past the parser left, on the loop's clock."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport))
        self._fast = getattr(self.app, "fast_path", None)
        self._write, self._writelines = transport.write, transport.writelines

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._later = self._body_so_far = b""
        if not self._answering:
            self._known = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._answering:
            self._later += data
            if len(self._later) > HELD_BYTES:
                self.flow.pause_reading()
            return
        rest: bytes | None = data
        while rest:
            data = rest
            rest = self._past_the_parser(data)
            if rest is None:
                self._to_the_parser(data)

    def _to_the_parser(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        self._new_head = b""
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(f"The request's head or trailers have more than {MAX_HEAD_BYTES} bytes.")

    # Past the parser

    def _past_the_parser(self, data: bytes) -> bytes | None:
        """Take a request with a known head from the front of `data`; what is to be looked at after it. None: this is
        for the parser."""
        known = self._known
        if known is None:
            fast = self._fast
            if fast is None or self._parsing or self.pipeline or self.flow.write_paused:
                return None
            cycle = self.cycle
            if cycle is not None and not cycle.response_complete:
                return None
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                return None
            head = data[:end]
            if (known := fast.known(head)) is None:
                self._new_head = head
                return None
            self._known = known
            body = data[end:]
        else:
            body = self._body_so_far + data
        size = known.body_bytes
        if len(body) < size:
            self._body_so_far = body
            return b""
        self._body_so_far, self._answering = b"", True
        rest = body[size:]
        assert self._fast is not None
        self._fast.begin(known, body if not rest else body[:size], self)
        if self._known is None and not self.transport.is_closing():  # it is answered already
            return rest
        self._later = rest
        return b""

    def has_left(self) -> bool:
        return self._lost

    def reply(self, status: int, headers: bytes, body: Sequence[bytes | memoryview]) -> int:
        """The answer to what went past the parser; see `Responder`."""
        size = len(body[0]) if len(body) == 1 else sum(memoryview(part).nbytes for part in body)
        self._known, self._answering = None, False
        if self._lost:
            return size
        state = self.server_state
        state.total_requests += 1
        if self._default_headers is not state.default_headers:  # uvicorn replaces them every second
            self._default_headers = state.default_headers
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in state.default_headers)
        close = b"connection: close\r\n" if self._last_one else b""
        head = b"%b%b%bcontent-length: %d\r\n%b\r\n" % (STATUS_LINE[status], self._default_lines, headers, size, close)
        try:
            if size <= _JOINED_BELOW:
                self._write(b"".join((head, *body)))
            else:
                self._writelines((head, *body))
        except Exception:  # whatever it is: those who share its batch wait for their answers behind this one
            self.logger.exception("an answer could not be written")
            self.transport.abort()
            return size
        if self._last_one:
            self.transport.close()
            return size
        self._used_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)
        if later := self._later:
            self._later = b""
            self.flow.resume_reading()
            self.loop.call_soon(self._go_on, later)
            self._answering = True
        return size

    def _go_on(self, later: bytes) -> None:
        self._answering = False
        later, self._later = later + self._later, b""
        if not self._lost and not self.transport.is_closing():
            self.data_received(later)

    def shutdown(self) -> None:
        if self._known is not None and not self._lost:
            self._last_one = True
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """A timer for each request would cost more than looking, when one is over, whether there were any."""
        left_s = self._used_at + self.timeout_keep_alive - self.loop.time()
        if self._lost:
            return
        if self._known is not None:
            self._look_again_in(self.timeout_keep_alive)
        elif left_s > 0:
            self._look_again_in(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    # The parser's callbacks

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._parsing = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        super().on_headers_complete()
        if self._fast is not None:
            if self.parser.should_upgrade():
                self._fast = None  # the parser believes that what follows is of another protocol
            elif self._new_head:
                self._fast.learn(self._new_head, self.scope)
                self._new_head = b""
        # Trailers come as headers do, and whoever reads those must not meet them there.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._parsing = False
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
