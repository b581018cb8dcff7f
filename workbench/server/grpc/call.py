"""One gRPC call: from the frames of its stream to the method that serves it, and its answer back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from workbench.errors import DeadlineExceeded, InvalidInput, TooManyRequests, WorkbenchError
from workbench.http2.connection import H2Connection
from workbench.http2.frames import ErrorCode
from workbench.http2.headers import H2RequestHead as HttpHead
from workbench.http2.stream import Stream
from workbench.protocols.trace_headers import REQUEST_ID
from workbench.server.gate.connection_caps import UNNAMED
from workbench.server.gate.in_flight import ANONYMOUS_WHOLE_S, GuestBytes, InFlightBytes, anonymous_bytes
from workbench.server.gate.request_ids import HasRequestId
from workbench.server.grpc import framing
from workbench.server.grpc.framing import PREFIX_BYTES
from workbench.server.grpc.methods import CallHead, CallSpec, Method, Methods, Refused, one_message, unforeseen

log = logging.getLogger("workbench.server")


def _untold(refused: Refused, address: str) -> None:
    pass


class GrpcCalls:
    """What all calls of one port have in common."""

    def __init__(
        self,
        methods: Methods,
        held: InFlightBytes,
        refused: Callable[[Refused, str], object] = _untold,
        held_guests: InFlightBytes | None = None,
    ) -> None:
        """`refused` is told of each call of the control plane that the gate refused, and the caller's address.
        `held_guests` counts for shares; None: what is theirs of `held` is counted here alone."""
        self.methods = methods
        self.refused = refused
        self.held = held
        """Counts what has come of messages that are not whole yet, or wait to be read."""
        self.held_guests = held_guests or GuestBytes(held)
        self.held_anonymous = anonymous_bytes()
        """The same for callers without a token."""
        self.loop = asyncio.get_running_loop()
        self.under_way: set[asyncio.Task[None]] = set()

    def call(self, connection: H2Connection, number: int) -> GrpcCall:
        return GrpcCall(self, connection, number)


class GrpcCall(Stream):
    """A Replier, and an iterator over the messages of a stream."""

    __slots__ = (
        "_arrived",
        "_asked",
        "_buffer",
        "_calls",
        "_came",
        "_deadline",
        "_granted",
        "_has_head",
        "_task",
        "_told",
        "_waiting",
        "on_lost",
    )

    _asked: CallSpec

    def __init__(self, calls: GrpcCalls, connection: H2Connection, number: int) -> None:
        Stream.__init__(self, connection, number)
        self._calls = calls
        self._buffer: bytearray | None = None
        """The bytes that came and were not read yet; the service's `held` counts them."""
        self._came = 0
        """Bytes of messages that came in parts, or on a stream."""
        self._granted = 0
        """Bytes at the buffer's front for which as many others may come already."""
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._arrived = 0.0
        self._has_head = False
        """Of its answer, the head has been sent."""
        self.on_lost: Callable[[], None] | None = None
        self._told: tuple[tuple[bytes, bytes], ...] = ()
        self._waiting: asyncio.Future[None] | None = None
        """Of a stream: until more has come, or there is room to send."""

    # What comes

    def on_headers(self, head: HttpHead, ended: bool) -> None:
        asked = head.known
        if asked is None:
            asked = head.known = self._calls.methods.asked(head)
            if asked.head is not None and not asked.head.caller.anonymous:
                self.connection.trust(guest=asked.head.caller.models is not None)
        self._asked = asked
        if asked.head is None:
            if (refused := asked.refused) is not None:
                self._calls.refused(refused, self.address)
            self.refuse(asked.refusal)
            return
        if asked.limit_s is not None:
            self._arrived = self._calls.loop.time()
            self._deadline = self._calls.loop.call_at(self._arrived + asked.limit_s, self._expire)
        stream = asked.method.stream
        if stream is not None:
            self._start(self._converse(stream(asked.head, self._messages(), self)))
        elif ended:
            self.fail(one_message(0))

    def on_data(self, data: bytes, ended: bool) -> None:
        if self._asked.method.stream is not None:
            if self.last_block is not None:  # how it ends is known, and waits only for room
                self.ack_data(len(data))
                return
            self._hold(data)
            self._wake()
        elif ended and self._buffer is None and len(data) >= PREFIX_BYTES and not data[0]:
            if int.from_bytes(data[1:PREFIX_BYTES], "big") == len(data) - PREFIX_BYTES <= self._asked.most:
                self._serve(data[PREFIX_BYTES:], False)  # mostly
            else:
                self._gather(data, True)
        else:
            self._gather(data, ended)

    def on_reset(self) -> None:
        self._drop()
        if self._task is not None:
            self._task.cancel()
        self._forget_deadline()
        if self.on_lost is not None:
            self.on_lost()

    def on_writable(self) -> None:
        self._wake()

    def on_full(self) -> None:
        self.fail(_too_much_unread())

    def on_reconsider(self) -> None:
        """Its token was replaced: a stream ends after the messages that it has read, and a request that is not whole
        fails."""
        head, method = self._asked.head, self._asked.method
        if head is None or not head.caller.revoked or self.ended:
            return
        if method.stream is not None:
            self._wake()
        elif method.watch is not None or not self.remote_ended:
            if self._task is not None:
                self._task.cancel()
            self.fail(head.caller.ended())

    def _gather(self, data: bytes, ended: bool) -> None:
        """Of a call that takes one message: what has come of it."""
        self._hold(data)
        buffer = self._buffer
        if self.ended or buffer is None:
            return
        self.ack_data(len(data))  # so that all of it may come; `held` and the cap bound it
        try:
            if len(buffer) >= PREFIX_BYTES:
                length = framing.message_length(bytes(buffer[:PREFIX_BYTES]), self._asked.most)
                if len(buffer) > PREFIX_BYTES + length:
                    raise one_message(2)
                if ended and len(buffer) == PREFIX_BYTES + length:
                    compressed, message = bool(buffer[0]), bytes(memoryview(buffer)[PREFIX_BYTES:])
                    if not compressed:  # else it is held until it is unpacked
                        self._drop()
                    self._serve(message, compressed)
                    return
            if ended:
                raise one_message(0) if not buffer else _cut_off()
        except WorkbenchError as error:
            self.fail(error)

    @property
    def _pot(self) -> InFlightBytes:
        head = self._asked.head
        if head is None:
            return self._calls.held
        if head.caller.anonymous:
            return self._calls.held_anonymous
        return self._calls.held if head.caller.models is None else self._calls.held_guests

    def _hold(self, data: bytes) -> None:
        try:
            self._pot.take(len(data))
        except WorkbenchError as error:
            if self._task is not None:
                self._task.cancel()
            self.fail(error)
            return
        if self._buffer is None:
            self._buffer = bytearray()
        self._buffer += data
        self._came += len(data)

    def owed(self) -> int | None:
        if self.remote_ended or self.last_block is not None or self._asked.head is None:
            return None
        if self._asked.method.stream is not None:  # it may pause, but not within a message
            waits = self._waiting is not None and not self.blocked
            return self._came if waits and self._buffer else None
        return self._came

    def on_stalled(self, limit_s: float) -> None:
        if self._task is not None:
            self._task.cancel()
        self.fail(DeadlineExceeded(f"the message did not come whole: hardly any of it came for {limit_s:g} s"))

    def _drop(self) -> None:
        if self._buffer is not None:
            self._pot.give_back(len(self._buffer))
            self._buffer = None

    # How it is served

    def _serve(self, message: bytes, compressed: bool) -> None:
        asked = self._asked
        assert asked.head is not None
        begin = asked.method.begin
        if begin is not None and not compressed:
            begin(asked.head, message, self)
        else:
            self._start(self._answer(asked.method, message, compressed))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._task = self._calls.loop.create_task(work)
        self._calls.under_way.add(task)
        task.add_done_callback(self._calls.under_way.discard)

    async def _answer(self, method: Method, message: bytes, compressed: bool) -> None:
        head = self._asked.head
        assert head is not None
        try:
            if compressed:
                asked, held = self._asked, self._pot
                message = await framing.inflated(message, asked.coding, asked.most, held)
                self._drop()
                held.give_back(len(message))
            if method.begin is not None:
                self._task = None  # from here on it ends without it
                method.begin(head, message, self)
                return
            head.caller.pay()
            if method.watch is not None:
                self._watches(head)
                await self._converse(method.watch(head, message, self))
                return
            assert method.unary is not None
            answer = await method.unary(head, message, self)
        except Exception as error:
            self.fail(head.caller.told(error))
        else:
            self.reply(answer)

    def _watches(self, head: CallHead) -> None:
        """It is whole, and may go on: from here on it has only the deadline that it asked for."""
        if head.caller.anonymous:
            self._forget_deadline()
            if (left_s := self.time_remaining()) is not None:
                self._deadline = self._calls.loop.call_later(left_s, self._expire)

    async def _converse(self, answers: AsyncGenerator[bytes, None]) -> None:
        """Send them one by one, each when the peer has room for it."""
        try:
            async with aclosing(answers):  # also where this task is cancelled between two of them
                async for answer in answers:
                    while self.blocked and not self.ended:
                        await self._wait()
                    framed = framing.framed(answer)
                    if self.connection.out.is_full(self, len(framed)):
                        raise _too_much_unread()
                    if not self._has_head:
                        self._has_head = True
                        self.send_head(framing.ANSWER_HEAD)
                    self.send((framed,))
        except Exception as error:
            self.fail(error)
        else:
            # Where nothing was answered, these trailers are all of the answer.
            head = b"" if self._has_head else framing.ANSWER_HEAD
            self._finish(head + framing.success(*self._told))

    async def _messages(self) -> AsyncIterator[bytes]:
        """The messages of a stream as they come."""
        most = self._asked.most
        assert self._asked.head is not None
        caller = self._asked.head.caller
        while True:
            if caller.revoked:
                raise caller.ended()
            buffer = self._buffer if self._buffer is not None else b""
            if len(buffer) >= PREFIX_BYTES:
                whole = PREFIX_BYTES + framing.message_length(bytes(buffer[:PREFIX_BYTES]), most)
                if len(buffer) >= whole:
                    compressed, message = bool(buffer[0]), bytes(memoryview(buffer)[PREFIX_BYTES:whole])
                    self._take(whole)
                    if compressed:
                        held = self._pot
                        message = await framing.inflated(message, self._asked.coding, most, held)
                        held.give_back(len(message))
                    yield message
                    continue
                if whole > len(buffer) + self.window_in:  # else the rest of a long message could never come
                    self._grant(len(buffer))
            if self.remote_ended:
                if buffer:
                    raise _cut_off()
                return
            await self._wait()

    def _take(self, size: int) -> None:
        assert isinstance(self._buffer, bytearray)
        del self._buffer[:size]
        self._pot.give_back(size)
        self._grant(size)
        self._granted -= size

    def _grant(self, size: int) -> None:
        if size > self._granted:
            self.ack_data(size - self._granted)
            self._granted = size

    async def _wait(self) -> None:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = self._calls.loop.create_future()
        await asyncio.shield(waiting)

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set_result(None)
            self._waiting = None

    # How it ends

    @property
    def address(self) -> str:
        peer = self.connection.peer
        return str(peer[0]) if isinstance(peer, tuple) else UNNAMED

    def time_remaining(self) -> float | None:
        asked = self._asked.head
        if asked is None or asked.timeout_s is None:
            return None
        return self._arrived + asked.timeout_s - self._calls.loop.time()

    def tell(self, name: bytes, value: bytes) -> None:
        self._told = (*self._told, (name, value))

    def send_result(self, call: HasRequestId, message: bytes) -> int:
        """As the Responder of an inference."""
        head = self._asked.head
        if head is not None and head.request_id:
            self.tell(REQUEST_ID, head.request_id)
        self.reply(message)
        return len(message)

    def send_error(self, call: HasRequestId, error: Exception) -> None:
        self.tell(REQUEST_ID, call.request_id)
        self.fail(error)

    def reply(self, message: bytes) -> None:
        if self._deadline is not None:
            self._forget_deadline()
        trailers = framing.success(*self._told) if self._told else framing.SUCCESS
        self.answer(framing.ANSWER_HEAD, framing.framed(message), trailers)

    def fail(self, error: Exception) -> None:
        if not isinstance(error, WorkbenchError):
            fields = {name.decode(): value.decode() for name, value in self._told}
            log.error("a handler failed", exc_info=error, extra={"fields": fields})
            error = unforeseen()
        self._finish(framing.failure(error, self._told, head=not self._has_head))

    def _finish(self, trailers: bytes) -> None:
        self._forget_deadline()
        self._drop()
        self.end(trailers)

    def _expire(self) -> None:
        self._deadline = None
        if self.ended:
            return
        if self._task is not None:
            self._task.cancel()
        if self.on_lost is not None:
            self.on_lost()
        if self.blocked:  # by answers that nobody reads, so that nothing behind them would be read either
            self._drop()
            self.reset(ErrorCode.CANCEL)
        else:
            why = "the call's deadline passed before it was answered"
            if self._asked.head is not None and self._asked.head.caller.anonymous:
                why += f"; a call without a token has to be whole within {ANONYMOUS_WHOLE_S:g} s"
            self.fail(DeadlineExceeded(why))

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _too_much_unread() -> TooManyRequests:
    return TooManyRequests(
        "the client has not read the answers before this one on its connection, and they may have half of "
        "max_body_bytes_in_flight; read them, or ask for less at once"
    )


def _cut_off() -> InvalidInput:
    return InvalidInput("the call ended in the middle of a message")
