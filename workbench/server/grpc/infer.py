"""Inference over gRPC: the codecs of its messages, and ModelInfer and ModelStreamInfer as `InferenceCall`s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.errors import Draining, WorkbenchError
from workbench.protocols.counted_request import CountedRequest
from workbench.protocols.grpc_wire import LARGE
from workbench.protocols.oip_grpc import (
    Decoder,
    GrpcAnswer,
    encode_response,
    encode_stream_error,
    encode_stream_response,
    named_in,
)
from workbench.protocols.oip_tensors import TensorsOf
from workbench.protocols.region_params import Shared
from workbench.protocols.routing_headers import with_routing
from workbench.server.grpc.methods import CallHead, Context, UnaryResponder, unforeseen
from workbench.server.inference import SHUTTING_DOWN, InferenceCall, InferencePath

STREAM_DEPTH = 128
"""Requests of one stream that are under way at once; the next is read when the first of them is answered."""

FIRST_MESSAGE_S = 0.5
"""Seconds that a stream which begins while the service drains has for its first message, before it is refused."""

_ON_LOOP: Final = 1024 * 1024
"""Bytes of a message of raw numbers up to which it is decoded on the event loop."""

Encode = Callable[[InferResponse, GrpcAnswer, Limits], bytes]
Decode = Callable[[bytes, float, Shared | None], tuple[InferRequest, GrpcAnswer]]
Item = TypeVar("Item")


class GrpcCodec:
    """ModelInferRequest, and the answer that `encode` makes of a response. Compression is the framing's business."""

    names_model: ClassVar[bool] = True
    content_encoding = accept_encoding = b""

    def __init__(self, limits: Limits, encode: Encode, tensors_of: TensorsOf) -> None:
        self._limits = limits
        self._encode = encode
        # As they are: each call saved counts.
        self._decoder = Decoder(limits, tensors_of)
        self.decode: Decode = self._decoder.decode
        self.named_in: Callable[[bytes], tuple[str, str, str]] = named_in

    def encode(self, call: InferenceCall, response: InferResponse) -> bytes:
        return self._encode(response, call.answer, self._limits)

    def takes_long(self, body: bytes) -> bool:
        size = len(body)
        return size > LARGE and (size > _ON_LOOP or self._decoder.takes_long(body))

    def count(self, body: bytes, now: float, shared: Shared | None) -> CountedRequest[GrpcAnswer]:
        return self._decoder.count(body, now, shared)

    async def compressed(self, encoded: Any) -> Any:
        return encoded


class RoutedGrpcCodec:
    """The same of a call with metadata of routing; a class of its own, so that other calls do not pay for it."""

    names_model: ClassVar[bool] = True
    content_encoding = accept_encoding = b""

    def __init__(self, codec: GrpcCodec, routing: Mapping[str, str]) -> None:
        self._codec = codec
        self._routing = routing
        self.encode, self.takes_long, self.named_in = codec.encode, codec.takes_long, codec.named_in
        self.compressed = codec.compressed

    def decode(self, body: bytes, now: float, shared: Shared | None) -> tuple[InferRequest, GrpcAnswer]:
        return with_routing(self._codec.decode(body, now, shared), self._routing)

    def count(self, body: bytes, now: float, shared: Shared | None) -> CountedRequest[GrpcAnswer]:
        counted = self._codec.count(body, now, shared)
        return replace(counted, decode=lambda: with_routing(counted.decode(), self._routing))


class GrpcInference:
    """ModelInfer and ModelStreamInfer."""

    def __init__(self, inference: InferencePath) -> None:
        self._inference = inference
        self._unary = GrpcCodec(inference.limits, encode_response, inference.engine.tensors_of)
        self._stream = GrpcCodec(inference.limits, encode_stream_response, inference.engine.tensors_of)

    def begin(self, head: CallHead, message: bytes, call: UnaryResponder) -> None:
        """One inference, without a task."""
        inference = self._inference
        now = inference.clock()
        infer = InferenceCall(
            "",
            "",
            head.request_id or inference.ids.new(),
            now,
            now,
            trace=head.trace,
            timeout_s=None if head.timeout_s is None else call.time_remaining(),
            inference=inference,
            codec=RoutedGrpcCodec(self._unary, head.routing) if head.routing else self._unary,
            responder=call,
        )
        call.on_lost = infer.disconnected
        infer.begin(message, head.caller)

    async def stream(
        self, head: CallHead, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncGenerator[bytes, None]:
        """An answer for each message, in the order of the messages; one that fails harms no other."""
        inference = self._inference
        codec = RoutedGrpcCodec(self._stream, head.routing) if head.routing else self._stream
        begun: InferenceCall | None = None

        async def in_turn() -> AsyncIterator[bytes]:
            async for message in messages:
                yield message
                # The next one must not overtake a large one, decoded on a thread: both may be steps of a sequence.
                if begun is not None and begun.task is not None and not begun.decoded_at:
                    await asyncio.wait([begun.task])

        def answer(message: bytes) -> asyncio.Future[bytes]:
            nonlocal begun
            now = inference.clock()
            pending = StreamedAnswer()
            begun = infer = InferenceCall(
                "",
                "",
                head.request_id or inference.ids.new(),
                now,
                now,
                trace=head.trace,
                timeout_s=context.time_remaining(),
                inference=inference,
                codec=codec,
                responder=pending,
            )
            pending.future.add_done_callback(lambda future: infer.disconnected() if future.cancelled() else None)
            infer.begin(message, head.caller)
            return pending.future

        draining = inference.draining
        if draining.is_set():
            # A client of grpc.aio whose first message finds the stream ended reports INTERNAL in place of the status.
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_MESSAGE_S):
                    await anext(messages, None)
            raise Draining(SHUTTING_DOWN)
        async with aclosing(in_order(in_turn(), answer, STREAM_DEPTH, draining)) as answers:
            async for each in answers:
                yield each
        if draining.is_set():
            raise Draining(SHUTTING_DOWN)


class StreamedAnswer:
    """The Responder of one message of a stream: it has an answer of its own, also where it failed."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def send_result(self, call: InferenceCall, encoded: bytes) -> int:
        self._settle(encoded)
        return len(encoded)

    def send_error(self, call: InferenceCall, error: Exception) -> None:
        known = error if isinstance(error, WorkbenchError) else unforeseen()
        self._settle(encode_stream_error(known, call.id))

    def _settle(self, message: bytes) -> None:
        # The stream may have ended on this turn of the loop, and the call be told of it on the next.
        if not self.future.done():
            self.future.set_result(message)


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
