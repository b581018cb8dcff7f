"""The way of an inference over gRPC: decode, have the engine run it, encode. A stream is many of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.errors import Cancelled, Draining, WorkbenchError
from workbench.protocols.oip_grpc import (
    Decoder,
    GrpcAnswer,
    encode_response,
    encode_stream_error,
    encode_stream_response,
    named_in,
)
from workbench.protocols.region_params import write_shared
from workbench.protocols.trace_headers import REQUEST_ID
from workbench.server.gate.auth import Caller
from workbench.server.gate.request_ids import RequestIds
from workbench.server.grpc.methods import CallHead, Context, UnaryResponder, unforeseen
from workbench.server.inference import LARGE_BODY, SHUTTING_DOWN, in_classes, note_failed
from workbench.server.service import Service
from workbench.server.shared_memory import RegionLease
from workbench.telemetry.request_record import RequestRecord

STREAM_DEPTH = 128
"""Requests of one stream that are under way at once; the next is read when the first of them is answered."""

Encode = Callable[[InferResponse, GrpcAnswer, Limits], bytes]
Item = TypeVar("Item")


class Infer:
    """ModelInfer and ModelStreamInfer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = service.engine
        self._limits = service.config.limits
        self._bodies = service.bodies
        self._metrics = service.metrics
        self._shared = service.shared
        self._ids = RequestIds()
        self._decode = Decoder(service.config.limits).decode

    def begin(self, head: CallHead, message: bytes, call: UnaryResponder) -> bool:
        """One inference, without a task; False for what needs a thread."""
        size = len(message)
        if self._shared is not None or size > LARGE_BODY:
            return False
        now = self._engine.clock()
        request_id = head.request_id or self._ids.new()
        underway = _Underway(
            "", "", request_id, now, now, trace=head.trace, infer=self, call=call, named=bool(head.request_id)
        )
        try:
            self._service.used_at = time.monotonic()
            if self._service.draining.is_set():
                raise Draining(SHUTTING_DOWN)
            head.caller.enter()
            underway.caller = head.caller
            self._bodies.take(size)
            underway.request_bytes = size
            request, underway.answer = self._decode(message, now, None)
            underway.decoded_at = self._engine.clock()
            underway.model, underway.version, underway.id = request.model, request.version or "", request.id
            if head.timeout_s is not None:
                _hurry(request, call, now)
            request.trace = head.trace
            call.on_lost(underway.left)
            self._engine.submit(request, underway)
        except Exception as error:
            if not underway.decoded_at:
                _name(underway, message, self._limits)
            self._fail(underway, error)
        return True

    def _reply(self, underway: _Underway, response: InferResponse) -> None:
        clock, answer, call = self._engine.clock, underway.answer, underway.call
        assert answer is not None and call is not None
        try:
            underway.answered_at = clock()
            underway.version, underway.timings = response.version, response.timings
            if answer.classes:
                response = in_classes(self._engine, response, answer.classes)
            encoded = encode_response(response, answer, self._limits)
        except Exception as error:
            self._fail(underway, error)
            return
        underway.encoded_at = clock()
        underway.response_bytes = len(encoded)
        self._leave(underway)
        if underway.named:
            call.tell(REQUEST_ID, underway.request_id)
        call.reply(encoded)
        underway.sent_at = clock()
        self._metrics.exchange_done(underway)

    def _fail(self, underway: _Underway, error: Exception) -> None:
        call = underway.call
        assert call is not None
        self._leave(underway)
        underway.sent_at = self._engine.clock()
        note_failed(self._service, underway, error)
        call.tell(REQUEST_ID, underway.request_id)
        call.fail(error)

    def _lose(self, underway: _Underway) -> None:
        self._leave(underway)
        underway.sent_at = self._engine.clock()
        note_failed(self._service, underway, _left())

    def _leave(self, underway: _Underway) -> None:
        """Nothing of it is held any more; what telemetry keeps of it is to keep nothing else alive."""
        if underway.caller is not None:
            underway.caller.leave()
        self._bodies.give_back(underway.request_bytes)
        underway.caller = underway.answer = underway.call = underway.infer = None

    async def infer(self, head: CallHead, message: bytes, context: Context) -> bytes:
        """One inference. When the caller cancels or its deadline passes, the task that awaits this is cancelled."""
        exchange = self._exchange(head)
        try:
            answer = await self._answer(head.caller, message, context, exchange, encode_response)
        except Exception:
            context.tell(REQUEST_ID, exchange.request_id)
            raise
        if head.request_id:
            context.tell(REQUEST_ID, exchange.request_id)
        return answer

    async def stream(
        self, head: CallHead, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncGenerator[bytes, None]:
        """An answer for each message, in the order of the messages; one that fails harms no other."""

        async def answer(message: bytes) -> bytes:
            exchange = self._exchange(head)
            try:
                return await self._answer(head.caller, message, context, exchange, encode_stream_response)
            except Exception as error:
                known = error if isinstance(error, WorkbenchError) else unforeseen()
                return encode_stream_error(known, exchange.id)

        async with aclosing(in_order(messages, answer, STREAM_DEPTH, self._service.draining)) as answers:
            async for each in answers:
                yield each
        if self._service.draining.is_set():
            raise Draining(SHUTTING_DOWN)

    async def _answer(
        self, caller: Caller, message: bytes, context: Context, exchange: RequestRecord, encode: Encode
    ) -> bytes:
        clock = self._engine.clock
        limits = self._limits
        try:
            self._service.used_at = time.monotonic()
            if self._service.draining.is_set():
                raise Draining(SHUTTING_DOWN)
            caller.enter()
            held = 0
            shared = RegionLease(self._shared) if self._shared is not None else None
            try:
                self._bodies.take(len(message))
                exchange.request_bytes = held = len(message)
                exchange.received_at = now = clock()
                if held <= LARGE_BODY:
                    request, answer = self._decode(message, now, shared)
                else:
                    request, answer = await asyncio.to_thread(self._decode, message, now, shared)
                exchange.decoded_at = clock()
                exchange.model, exchange.version, exchange.id = request.model, request.version or "", request.id
                _hurry(request, context, now)
                request.trace = exchange.trace
                response = await self._engine.infer(request)
                exchange.answered_at = clock()
                exchange.version, exchange.timings = response.version, response.timings
                if answer.places and shared is not None:
                    await asyncio.to_thread(write_shared, shared, answer.places, response.outputs)
                if answer.classes:
                    response = in_classes(self._engine, response, answer.classes)
                encoded = encode(response, answer, limits)
                exchange.encoded_at = exchange.sent_at = clock()
                exchange.response_bytes = len(encoded)
            finally:
                caller.leave()
                self._bodies.give_back(held)
                if shared is not None:
                    shared.give_back()
        except asyncio.CancelledError:
            exchange.sent_at = clock()
            note_failed(self._service, exchange, _left())
            raise
        except Exception as error:
            exchange.sent_at = clock()
            if not exchange.decoded_at:
                _name(exchange, message, limits)
            note_failed(self._service, exchange, error)
            raise
        self._metrics.exchange_done(exchange)
        return encoded

    def _exchange(self, head: CallHead) -> RequestRecord:
        return RequestRecord("", "", head.request_id or self._ids.new(), self._engine.clock(), trace=head.trace)


class _Underway(RequestRecord, kw_only=True, gc=False):
    """One inference from its message to its answer, and the promise that the engine keeps."""

    infer: Infer | None
    call: UnaryResponder | None
    named: bool = False
    """Its caller called it by its `request_id`."""
    answer: GrpcAnswer | None = None
    caller: Caller | None = None
    """None: it is not counted as one of its caller's."""

    def left(self) -> None:
        """Its caller cancelled, or its connection is gone."""
        if self.infer is not None:
            self.infer._lose(self)

    def done(self) -> bool:
        return self.call is None

    def set_result(self, result: InferResponse) -> None:
        assert self.infer is not None
        self.infer._reply(self, result)

    def set_exception(self, exception: WorkbenchError) -> None:
        assert self.infer is not None
        self.infer._fail(self, exception)


def _left() -> Cancelled:
    return Cancelled("the caller cancelled, or its deadline passed")


def _hurry(request: InferRequest, context: Context, now: float) -> None:
    """Its deadline is the call's where that is sooner."""
    left_s = context.time_remaining()
    if left_s is not None and (request.deadline is None or now + left_s < request.deadline):
        request.deadline = now + left_s


def _name(exchange: RequestRecord, message: bytes, limits: Limits) -> None:
    """A message that was refused counts for the model that it names, as over HTTP the path does."""
    exchange.model, exchange.version, name = named_in(message)
    exchange.id = name[: limits.max_name_length]  # which may be what was refused, and is kept for a while


async def in_order(
    items: AsyncIterator[Item], do: Callable[[Item], Awaitable[bytes]], depth: int, stop: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """`do` of each item, `depth` of them under way at once, the results in the items' order. Once `stop` is set no
    further item is read.

    Ends every task that it started, however it is left; raises what `items` raises, after the results before.
    """
    under_way: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue(depth)
    tasks: set[asyncio.Future[bytes]] = set()

    async def read() -> None:
        try:
            async for item in items:
                task = asyncio.ensure_future(do(item))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await under_way.put(task)
        finally:
            await under_way.put(None)

    reading = asyncio.ensure_future(read())
    stopping = asyncio.ensure_future(stop.wait())
    stopping.add_done_callback(lambda _: reading.cancel())
    try:
        while (task := await under_way.get()) is not None:
            yield await task
        if not stop.is_set():
            await reading
    finally:
        left: list[asyncio.Future[Any]] = [reading, stopping, *tasks]
        for each in left:
            each.cancel()
        while not under_way.empty():
            under_way.get_nowait()
        await asyncio.gather(*left, return_exceptions=True)
