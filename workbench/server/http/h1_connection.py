"""HTTP/1.1 from a server's side, on asyncio: one request of a connection at a time, one write an answer.

A connection knows no routes. For each request it asks its `Application` for an `Exchange`, which takes the body in
pieces and answers through `reply`, or `start_stream` and `send_chunk`. A request whose head the application remembers
byte for byte is not parsed again.

What a client may hold has limits: a head's size, fields and time, a body's time without progress and in all, requests
sent ahead of their answers (MAX_AHEAD_BYTES, then reading stops), and what is taken of them in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from workbench.http2.lingering_close import LingeringClose
from workbench.http2.time_limits import LEAST_BYTES_PER_S
from workbench.server.gate.connection_caps import Place
from workbench.server.gate.request_ids import HasRequestId
from workbench.server.gate.unread_answers import STALLED_S, UnreadAnswers
from workbench.server.http.chunked_body import ChunkedBody
from workbench.server.http.request_head import MalformedRequest, RequestHead, parse_head
from workbench.server.http.shared_turns import SharedTurns

MAX_HEAD_BYTES: Final = 64 * 1024
"""Request line and headers."""

MAX_AHEAD_BYTES: Final = 64 * 1024
"""Of requests that come before the one before them is answered; then reading stops."""

STEPS_A_TURN: Final = 2
"""Of what has come, as it comes and in each turn after that: a head, or a part of a body."""

CHUNKS_A_STEP: Final = 32

STRANGER_BODY_BYTES: Final = 64 * 1024
"""Of a body that are taken apart although its request is answered, where no token came on the connection. Then the
connection ends with a lingering close, which does not read what it throws away."""

BROKEN: Final = 500
"""The status that a streamed answer counts under that its handler could not bring to its end."""

LEFT: Final = 499
"""The status that a request counts under whose client left before it was answered."""

_JOINED_BELOW: Final = 64 * 1024
"""Bytes up to which the parts of an answer are joined for one write."""

_STATUS_LINE: Final[dict[int, bytes]] = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
} | {LEFT: b"HTTP/1.1 499 Client Closed Request\r\n"}

NOT_KEPT: Final = b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
"""In every answer: no browser guesses that it is a page or a script, and no cache keeps what needed a token."""

_TOO_MANY: Final = b'{"error":"Too many connections are open; try again later.","code":"unavailable"}'

TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n%b"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (NOT_KEPT, len(_TOO_MANY), _TOO_MANY)
)
"""The answer to a connection that cannot be kept."""

_EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)*")
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")

log = logging.getLogger("workbench.server")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How long clients may take; in seconds."""

    head_timeout_s: float = 30.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0


class Exchange(Protocol):
    """One request on its way. Once it is answered, nothing of it is called any more. Its methods raise nothing."""

    def body_piece(self, data: bytes, /) -> None: ...

    def body_end(self) -> None: ...

    def token_replaced(self) -> None:
        """A token was replaced while the body is not whole: fail where it was this request's."""
        ...

    def disconnected(self) -> None:
        """The client left before it was answered."""
        ...


class Disconnectable(Protocol):
    def disconnected(self) -> None: ...


class KnownHead(Protocol):
    """A head that came before, and whose requests are answered without parsing it again."""

    @property
    def body_bytes(self) -> int: ...

    @property
    def guest(self) -> bool:
        """Its token is one that somebody else was given."""
        ...

    def begin(self, connection: H1Connection, body: bytes, /) -> Disconnectable:
        """Answer a request whose body is whole: now or later."""
        ...

    def open(self, connection: H1Connection, /) -> Exchange: ...


class Application(Protocol):
    """Answers requests. Its methods raise nothing."""

    @property
    def known(self) -> Callable[[bytes], KnownHead | None]:
        """The KnownHead of these bytes, the empty line at their end included."""
        ...

    @property
    def answers(self) -> Counter[int]:
        """Counts answers by status."""
        ...

    def open(self, head: RequestHead, connection: H1Connection, /) -> Exchange:
        """Begin a request. It may be answered when this returns."""
        ...

    def error_answer(self, error: Exception, request_id: bytes, /) -> tuple[int, bytes, bytes]:
        """(status, header lines, body) that tell a client of an error."""
        ...


class Discard:
    """Takes a body that nobody reads."""

    def body_piece(self, data: bytes) -> None: ...

    def body_end(self) -> None: ...

    def token_replaced(self) -> None: ...

    def disconnected(self) -> None: ...


DISCARD: Final[Exchange] = Discard()


class ConnectionOwner(Protocol):
    """What a connection needs of the server that accepted it."""

    @property
    def app(self) -> Application: ...

    @property
    def limits(self) -> ConnectionLimits: ...

    @property
    def unread(self) -> UnreadAnswers: ...

    @property
    def turns(self) -> SharedTurns: ...

    @property
    def draining(self) -> bool:
        """Each answer is the last one of its connection."""
        ...

    def add(self, connection: H1Connection, /) -> None: ...

    def discard(self, connection: H1Connection, /) -> None: ...

    def common_lines(self) -> bytes:
        """The header lines that every answer has."""
        ...


def _none_known(raw: bytes) -> KnownHead | None:
    """What every request of a connection that drains meets: the way on which that is looked at."""
    return None


class H1Connection(asyncio.Protocol):
    """One connection. Belongs to the event loop."""

    transport: asyncio.Transport

    def __init__(self, server: ConnectionOwner, place: Place, app: Application | None = None) -> None:
        """`app`: in place of the server's own."""
        self._server = server
        self._place = place
        self._app = app or server.app
        self._known: Callable[[bytes], KnownHead | None] = (
            self._known_of_stranger if not server.draining else _none_known
        )
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        # What has come
        self._input = b""
        self._at = 0
        """Up to where the input has been taken."""
        self._searched = 0
        """Bytes of a head, from there on, that do not hold its end."""
        self._advancing = False
        """Something is being taken apart, or waits for a turn to be."""
        # The current request
        self._busy = False
        """It has been begun; its body or its answer is not complete."""
        self._exchange: Disconnectable | None = None
        self._body: Exchange | None = None
        """The same while its body is not complete."""
        self._body_left = 0
        self._body_came = 0
        self._body_began = 0.0
        """When its first part came, where it did not come whole, and later where its exchange has had it wait; or 0."""
        self._chunks: ChunkedBody | None = None
        self._answered = False
        self._keep_alive = True
        self._awaits_continue = False
        self._is_head = False
        self._takes_chunks = True
        self._streaming = False
        self._stream_status = 0
        # The connection
        self._lost = False
        self.is_stranger = True
        """No request came yet that needs a token; see `trust`."""
        self._ended = False
        """Nothing more is taken or sent."""
        self._body_paused = False
        self._paused_at = 0.0
        self._reading = True
        self._room: asyncio.Future[None] | None = None
        """Until the client has read enough of what was written; None: nothing stands against writing."""
        self._write_paused = False
        self._since = 0.0
        """When the last answer left, or the last piece of a head or a body that is not complete came."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._unread = 0
        """What the client had not read of its answers when it was last looked at."""
        self._read_at = 0.0
        """When it was last seen to have read of them."""

    # The transport's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._write = transport.write
        self._since = self._loop.time()
        self._place.evict = self._make_room
        self._server.add(self)
        self._look_in(self._limits.idle_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._known = _none_known  # it was a circle, perhaps
        self._place.release()
        self._server.unread.count(self, 0)
        self._input, self._at = b"", 0
        self._server.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._room is not None:
            self.resume_writing()
        if self._busy and not self._answered:
            self._app.answers[LEFT] += 1
        self._abandon()

    def data_received(self, data: bytes) -> None:
        if not self._busy and self._at == len(self._input) and not self._write_paused:
            end = data.find(b"\r\n\r\n") + 4
            known = self._known(data[:end])
            if known is not None and known.body_bytes == len(data) - end:  # mostly
                self._start_request(True, False, True)
                exchange = known.begin(self, data[end:])
                if not self._answered:
                    self._exchange = exchange
                return
        begins = self._at == len(self._input)
        if not self._answered if self._busy else begins:  # a head has a time, a body has one without progress
            self._since = self._loop.time()
        self._input = data if begins else self._input[self._at :] + data
        self._at = 0
        if not self._advancing and self.take_turn():
            self._server.turns.add(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._unread = self.transport.get_write_buffer_size()
        self._read_at = self._loop.time()
        self._server.unread.count(self, self._unread)
        self._look_in(min(STALLED_S / 4, self._limits.idle_timeout_s))

    def resume_writing(self) -> None:
        self._write_paused = False
        self._server.unread.count(self, 0)
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        self._go_on()

    # Requests

    def take_turn(self) -> bool:
        """Take apart a bounded part of what has come. True: there is more, which can be."""
        self._advancing = True
        more = False
        try:
            for _ in range(STEPS_A_TURN):
                more = not self.transport.is_closing() and self._step()
                if not more:
                    break
            more = more and self._at < len(self._input)
        except MalformedRequest as error:
            more = False
            self._refuse_request(error.status, str(error))
        self._advancing = more
        self._update_reading()
        return more

    def _go_on(self) -> None:
        """See on the loop's next turn to what has come in the meantime."""
        if self._at < len(self._input) and not self._advancing and not self._lost:
            self._advancing = True
            self._server.turns.add(self)

    def _step(self) -> bool:
        """False: more has to come, or to be answered or read by the client, before anything else is done."""
        if self._at == len(self._input):
            return False
        if not self._busy:
            return not self._write_paused and self._take_head()
        if self._body is None:
            return False
        return self._take_body()

    def _take_head(self) -> bool:
        data = self._input
        empty = _EMPTY_LINES.match(data, self._at)
        if empty is not None and empty.end() > self._at:
            self._at = empty.end()
            self._searched = 0
        searched = self._at + self._searched
        end = data.find(b"\r\n\r\n", max(searched - 3, self._at)) + 4
        if (end if end > 3 else len(data)) - self._at > MAX_HEAD_BYTES:
            raise MalformedRequest(f"The request's head has more than {MAX_HEAD_BYTES} bytes.", 431)
        if end < 4:
            if _BARE_LINE_FEED.search(data, searched):
                raise MalformedRequest("Lines end with CR LF.")
            self._searched = len(data) - self._at
            self._look_in(self._limits.head_timeout_s)
            return False
        raw = data[self._at : end]
        self._at = end
        self._searched = 0
        known = self._known(raw)
        if known is not None:
            self._start_request(True, False, True)
            self._body_began, self._body_came = 0.0, 0
            self._body = DISCARD
            self._body_left = known.body_bytes
            self._begin(known.open(self))
            return True
        self._body_began, self._body_came = 0.0, 0
        head = parse_head(raw)
        keep_alive = head.keep_alive and not self._server.draining
        self._start_request(keep_alive, head.method == "HEAD", head.chunks)
        self._body = DISCARD
        self._awaits_continue = head.expects_continue
        if head.body_bytes is None:
            self._chunks = ChunkedBody()
        else:
            self._body_left = head.body_bytes
        self._begin(self._app.open(head, self))
        return True

    def _start_request(self, keep_alive: bool, is_head: bool, takes_chunks: bool) -> None:
        self._busy = True
        self._answered = False
        self._keep_alive = keep_alive
        self._is_head = is_head
        self._takes_chunks = takes_chunks

    def _begin(self, exchange: Exchange) -> None:
        self._body = exchange
        if not self._answered:
            self._exchange = exchange
        if not self._body_left and self._chunks is None:
            self._end_body()

    def _take_body(self) -> bool:
        data, at = self._input, self._at
        began_at = at
        if self._chunks is None:
            if at or len(data) > self._body_left:
                data = data[at : at + self._body_left]
            self._at += len(data)
            self._body_left -= len(data)
            complete = not self._body_left
        else:
            pieces: list[bytes] = []
            for _ in range(CHUNKS_A_STEP):
                piece, self._at = self._chunks.take(self._input, at)
                if self._at == at or self._chunks.complete:
                    break
                at = self._at
                pieces.append(piece)
            data, complete = b"".join(pieces), self._chunks.complete
        progress = self._at != began_at
        self._body_came += self._at - began_at
        if self._at == len(self._input):
            self._input, self._at = b"", 0
        if data and self._body is not None and not self._answered:
            self._body.body_piece(data)
        if complete:
            self._chunks = None
            self._end_body()
        elif self._answered and self.is_stranger and self._body_came > STRANGER_BODY_BYTES:
            self._end_connection()
            return False
        else:
            if not self._body_began:
                self._body_began = self._loop.time()
            self._look_in(self._limits.body_timeout_s)
        return progress

    def _end_body(self) -> None:
        body, self._body = self._body, None
        self._awaits_continue = False
        if not self._answered:
            assert body is not None
            body.body_end()
        elif not self._streaming:
            self._end_request()

    def want_body(self) -> None:
        """Tell a client that waits for it to send the body. An exchange says so when it is going to read it."""
        if self._awaits_continue and not self._lost:
            self._awaits_continue = False
            if self._at < len(self._input):  # it has not waited
                return
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_body(self, paused: bool) -> None:
        """The exchange has enough of the body for now, or takes more again."""
        now = self._loop.time()
        if self._body_paused and self._body_began:
            self._body_began += now - self._paused_at
        self._body_paused = paused
        self._since = self._paused_at = now
        self._update_reading()

    def _update_reading(self) -> None:
        ahead = len(self._input) - self._at
        wanted = not (self._body_paused or self._advancing or ahead > MAX_AHEAD_BYTES)
        if wanted is not self._reading and not self._lost:
            self._reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def _abandon(self) -> None:
        """The client of the current request gets no answer of its exchange."""
        exchange, self._exchange = self._exchange, None
        self._body = None
        self._answered = True
        if exchange is not None:
            exchange.disconnected()

    # Answers

    def reply(self, status: int, headers: bytes, body: Sequence[bytes | memoryview]) -> int:
        """Answer the current request, and return the size of the body. Raises nothing.

        `headers` are whole lines in lower case, without Content-Length. Without effect where it is answered already,
        or the client has left.
        """
        size = len(body[0]) if len(body) == 1 else sum(memoryview(part).nbytes for part in body)
        if self._answered:
            return size
        self._answered = True
        self._exchange = None
        self._app.answers[status] += 1
        if self._awaits_continue:
            self._keep_alive = False
        head = b"%b%b%bcontent-length: %d\r\n%b\r\n" % (
            _STATUS_LINE[status],
            self._server.common_lines(),
            headers,
            size,
            b"" if self._keep_alive else b"connection: close\r\n",
        )
        try:
            if self._is_head:
                self._write(head)
            elif size <= _JOINED_BELOW:
                self._write(b"".join((head, *body)))
            else:
                self.transport.writelines((head, *body))
        except Exception:  # whatever it is: those who share its batch wait for their answers behind this one
            log.exception("an answer could not be written")
            self.transport.abort()
            return size
        self._answer_ends()
        return size

    def reply_error(self, error: Exception, request_id: bytes) -> None:
        status, headers, body = self._app.error_answer(error, request_id)
        self.reply(status, headers, (body,))

    def send_result(self, call: HasRequestId, encoded: tuple[bytes, Sequence[bytes | memoryview]]) -> int:
        """As the Responder of an inference."""
        return self.reply(200, *encoded)

    def send_error(self, call: HasRequestId, error: Exception) -> None:
        self.reply_error(error, call.request_id)

    def start_stream(self, status: int, headers: bytes) -> None:
        """Begin an answer whose length is not known: `send_chunk` follows, and `end_stream`."""
        if self._answered:
            return
        self._answered = self._streaming = True
        self._stream_status = status  # counted when the stream ends
        if not self._takes_chunks or self._awaits_continue:
            self._keep_alive = False
        framing = b"transfer-encoding: chunked\r\n" if self._takes_chunks else b""
        close = b"" if self._keep_alive else b"connection: close\r\n"
        self._write(b"".join((_STATUS_LINE[status], self._server.common_lines(), headers, framing, close, b"\r\n")))

    async def send_chunk(self, data: bytes) -> None:
        """Send a part of the answer, and wait where the client reads slower than is written."""
        if self._streaming and data and not self._lost and not self._is_head:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._takes_chunks else data)
        await self.drain()

    async def drain(self) -> None:
        if self._write_paused and not self._lost:
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def end_stream(self) -> None:
        if not self._streaming:
            return
        self._streaming = False
        self._exchange = None
        self._app.answers[self._stream_status] += 1
        if self._lost:
            return
        if self._takes_chunks and not self._is_head:
            self._write(b"0\r\n\r\n")
        self._answer_ends()

    def break_stream(self) -> None:
        """End a stream in the middle, if there is one, so that the client sees that it is not whole."""
        if not self._streaming:
            return
        self._streaming = False
        self._exchange = None
        self._app.answers[BROKEN] += 1
        self.transport.abort()

    def _refuse_request(self, status: int, message: str) -> None:
        """Answer a request that is malformed or late, where it is not answered yet, and close the connection."""
        answered = self._busy and self._answered
        self._abandon()
        if answered:
            self._end_connection()
        else:
            self.refuse(status, message, "too_large" if status == 431 else "invalid_argument")

    def refuse(self, status: int, message: str, code: str) -> None:
        """Answer without an exchange, and close the connection."""
        self._busy = True
        self._answered = self._keep_alive = self._is_head = False
        body = msgspec.json.encode({"error": message, "code": code})
        self.reply(status, b"content-type: application/json\r\n", (body,))

    def _answer_ends(self) -> None:
        self._since = self._loop.time()
        if self._body_paused:
            self.pause_body(False)
        if self._body is None or self._awaits_continue:
            self._end_request()
        else:
            # The rest of the body is read, and thrown away: closed before that, the connection would be reset, and a
            # client that still sends would lose the answer. What has come of it is let go with the exchange.
            self._body = DISCARD

    def _end_request(self) -> None:
        if not self._keep_alive:
            self._end_connection()
            return
        self._busy = False
        if self._at < len(self._input):
            self._go_on()

    @property
    def address(self) -> str:
        """The caller's."""
        return self._place.address

    @property
    def scheme(self) -> str:
        return "http" if self.transport.get_extra_info("sslcontext") is None else "https"

    # Ends

    def trust(self, guest: bool = False) -> None:
        """A request's head came that needed a token and had it: the connection is not closed for another one, or as a
        guest's only where there are many."""
        self.is_stranger = False
        if self._known is not _none_known:
            self._known = self._app.known
        self._place.trust(guest)

    def _known_of_stranger(self, raw: bytes) -> KnownHead | None:
        """Until the first head that is known, which had the token when it came before."""
        known = self._app.known(raw)
        if known is not None:
            self.trust(known.guest)
        return known

    def _make_room(self) -> None:
        """Another connection needs this one's place."""
        if self._busy or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif not self.transport.is_closing():
            self._write(TOO_MANY)
            self.transport.close()

    def token_replaced(self) -> None:
        """End what needs a token that is valid: a request that is not whole, and a streamed answer."""
        if not self.is_stranger:
            self.is_stranger = True
            self._place.distrust()
            if self._known is not _none_known:
                self._known = self._known_of_stranger
        if self.end_unfinished():
            return
        if self._streaming and self._exchange is not None:
            self._exchange.disconnected()  # so that it ends the stream as it does when its client has left

    def end_unfinished(self) -> bool:
        """Fail a request that is not whole where its caller is revoked; whether there is one that is not whole."""
        if self._body is None or self._answered:
            return False
        self._body.token_replaced()
        return True

    def _end_connection(self) -> None:
        """Close it so that the client can read its answer, whatever it still sends."""
        if self._streaming:
            self.transport.abort()
            return
        if self._ended or self.transport.is_closing():
            return
        self._ended = self._busy = True
        self._body = None
        self._input, self._at = b"", 0
        if self._timer is not None and not self._write_paused:
            self._timer.cancel()
        LingeringClose(self.transport, self, self._limits.idle_timeout_s)

    def begin_drain(self) -> None:
        """Make the answer to the current request, or to the next one, the last."""
        self._known = _none_known
        self._keep_alive = False

    def shutdown(self) -> None:
        """Close the connection once the current request is answered; at once where there is none."""
        self.begin_drain()
        if self._busy:
            if self._answered and not self._streaming:
                self._end_connection()
        elif self._at < len(self._input):
            self.refuse(503, "The service is shutting down; call again once another runs.", "draining")
        else:
            self.transport.close()

    def _check_reader(self, unread: int) -> None:
        """A client that reads has all the time it takes, unless it is far too slow or others need the room."""
        now = self._loop.time()
        if unread > self._unread or self._unread - unread > LEAST_BYTES_PER_S * (now - self._read_at):
            self._unread = unread
            self._since = self._read_at = now
        if self._write_paused:
            self._server.unread.count(self, unread)
        left_s = self._read_at + self._limits.idle_timeout_s - now
        if left_s <= 0 and not self._ended:
            self.transport.abort()
        else:
            self._look_in(STALLED_S / 4 if self._ended else min(left_s, STALLED_S / 4))

    def reset(self) -> None:
        """As a Reader: others need the room that its unread answers take."""
        self.transport.abort()

    def _look_in(self, seconds: float) -> None:
        """Check the time in `seconds` at the latest.

        A timer for each request would cost more than looking, when one is over, whether there were any.
        """
        due = self._loop.time() + seconds
        if self._timer is None or self._timer_at > due + 0.001:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._loop.call_at(due, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        if self._lost:
            return
        limits = self._limits
        unread = self.transport.get_write_buffer_size()
        if unread and (self._write_paused or not self._busy):
            self._check_reader(unread)
            return
        self._unread = 0
        if self._ended:
            self._server.unread.count(self, 0)
            return
        waits_for_head = not self._busy and self._at < len(self._input)
        if self._busy and (self._body is None or not self._reading):
            self._look_in(limits.idle_timeout_s)  # it is our turn, not the client's
            return
        limit_s = limits.body_timeout_s if self._busy else limits.idle_timeout_s
        if waits_for_head:
            limit_s = limits.head_timeout_s
        ends_at = self._since + limit_s
        if self._busy and self._body_began:
            ends_at = min(ends_at, self._body_began + limit_s + self._body_came / LEAST_BYTES_PER_S)
        left_s = ends_at - self._loop.time()
        if left_s > 0:
            self._look_in(left_s)
        else:
            if waits_for_head or self._busy:
                self._refuse_request(408, f"The request did not come whole within {limit_s:g} s.")
            else:
                self.transport.close()
