"""The way of an inference over gRPC: decode, await the engine, encode. A stream is many of them under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from workbench.config import Limits
from workbench.core.messages import InferResponse
from workbench.errors import Cancelled, Draining, WorkbenchError
from workbench.protocols.oip_grpc import (
    Decoder,
    GrpcAnswer,
    encode_response,
    encode_stream_error,
    encode_stream_response,
    named_in,
)
from workbench.protocols.shared import write_shared
from workbench.server.auth import Caller
from workbench.server.grpc_methods import Context, Head, unforeseen
from workbench.server.inferences import LARGE_BODY, SHUTTING_DOWN, in_classes, note_failed
from workbench.server.request_ids import RequestIds
from workbench.server.service import Service
from workbench.server.shared_memory import Borrowed
from workbench.telemetry.exchanges import Exchange

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

    async def infer(self, head: Head, message: bytes, context: Context) -> bytes:
        """One inference. When the caller cancels or its deadline passes, grpc cancels the task that awaits this."""
        exchange = self._exchange(head)
        try:
            answer = await self._answer(head.caller, message, context, exchange, encode_response)
        except Exception:
            context.set_trailing_metadata((("x-request-id", exchange.request_id.decode("ascii")),))
            raise
        if head.request_id:
            context.set_trailing_metadata((("x-request-id", exchange.request_id.decode("ascii")),))
        return answer

    async def stream(self, head: Head, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """An answer for each message, in the order of the messages; one that fails harms no other."""

        async def answer(message: bytes) -> bytes:
            exchange = self._exchange(head)
            try:
                return await self._answer(head.caller, message, context, exchange, encode_stream_response)
            except Exception as error:
                known = error if isinstance(error, WorkbenchError) else unforeseen()
                return encode_stream_error(known, exchange.id)

        async for each in in_order(messages, answer, STREAM_DEPTH, self._service.draining):
            yield each
        if self._service.draining.is_set():
            raise Draining(SHUTTING_DOWN)

    async def _answer(
        self, caller: Caller, message: bytes, context: Context, exchange: Exchange, encode: Encode
    ) -> bytes:
        clock = self._engine.clock
        limits = self._limits
        try:
            if self._service.draining.is_set():
                raise Draining(SHUTTING_DOWN)
            caller.enter()
            held = 0
            shared = Borrowed(self._shared) if self._shared is not None else None
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
                left_s = context.time_remaining()
                if left_s is not None and (request.deadline is None or now + left_s < request.deadline):
                    request.deadline = now + left_s
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
            note_failed(self._service, exchange, Cancelled("the caller cancelled, or its deadline passed"))
            raise
        except Exception as error:
            exchange.sent_at = clock()
            if not exchange.decoded_at:  # counted for the model that it names, as over HTTP the path does
                exchange.model, exchange.version, name = named_in(message)
                exchange.id = name[: limits.max_name_length]  # which may be what was refused, and is kept for a while
            note_failed(self._service, exchange, error)
            raise
        self._metrics.exchange_done(exchange)
        return encoded

    def _exchange(self, head: Head) -> Exchange:
        return Exchange("", "", head.request_id or self._ids.new(), self._engine.clock(), trace=head.trace)


async def in_order(
    items: AsyncIterator[Item], do: Callable[[Item], Awaitable[bytes]], depth: int, stop: asyncio.Event
) -> AsyncIterator[bytes]:
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
