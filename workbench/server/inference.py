"""The one path of an inference, over HTTP and gRPC: checks, limits, decode, engine, encode, and the request record.

A transport gives an `InferenceCall` the body, and gets one `send_result` or `send_error` back, unless it says first
that its client has disconnected. What differs between transports is a `Codec` and a `Responder`. The engine calls the
InferenceCall when it has the answer, so that a small inference needs no task; a large body, compression and outputs in
shared memory are steps of it that run in one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeVar

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.ports import Outcome
from workbench.core.turns import in_turns
from workbench.engine import Engine
from workbench.engine.outcomes import outcome_of
from workbench.errors import Cancelled, Draining, Forbidden, LimitExceeded, TooLarge, Unauthenticated, WorkbenchError
from workbench.protocols.binary import string_bytes
from workbench.protocols.classification import classified
from workbench.protocols.control import BODY_BYTES
from workbench.protocols.counted_request import CountedRequest
from workbench.protocols.region_params import Shared, write_shared
from workbench.protocols.status_codes import UNFORESEEN
from workbench.server.compression import decompressed
from workbench.server.gate.auth import Caller
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.request_ids import RequestIds
from workbench.server.service import Service
from workbench.server.shared_memory import RegionLease
from workbench.telemetry.request_record import LONGEST_MESSAGE, RequestRecord

SMALL_BODY: Final = 4096
"""Bytes up to which it does not matter what decoding a body takes beside it."""

DECODERS: Final = 4
"""Requests decoded on threads at once, in turns."""

Result = TypeVar("Result")

_OF_CALLER: Final = (Forbidden, LimitExceeded, Unauthenticated)
"""Why a caller is refused, whatever model it names: such a call is in no model's figures."""

SHUTTING_DOWN: Final = "the service is shutting down; call again once another runs"


class Codec(Protocol):
    """Turns bodies into requests and responses into what a Responder sends. Shared by calls; keeps nothing of them."""

    names_model: ClassVar[bool]
    """The body says which model it is for; else the head did, and whether its caller may call it was asked then."""

    @property
    def content_encoding(self) -> bytes:
        """How the body is compressed; empty: it is not."""
        ...

    @property
    def accept_encoding(self) -> bytes:
        """How the answer is to be compressed; empty: it is not."""
        ...

    def decode(self, body: bytes, now: float, shared: Shared | None) -> tuple[InferRequest, Any]:
        """The request, and how it wants its answer: a value with `classes` and `places`. Raises errors of the tree."""
        ...

    def takes_long(self, body: bytes) -> bool:
        """Whether decoding would keep the event loop from its turns: then it is counted and decoded on a thread."""
        ...

    def count(self, body: bytes, now: float, shared: Shared | None) -> CountedRequest[Any]:
        """The request, of which nothing is decoded yet that its caps do not bound. Raises errors of the tree."""
        ...

    def named_in(self, body: bytes) -> tuple[str, str, str]:
        """(model, version, request id) that a body which cannot be decoded, or was not read, is about."""
        ...

    def encode(self, call: InferenceCall, response: InferResponse) -> Any:
        """What the Responder sends. Raises errors of the tree."""
        ...

    async def compressed(self, encoded: Any) -> Any:
        """The result of `encode` compressed as `accept_encoding` says. Called where that is not empty only."""
        ...


class Responder(Protocol):
    """Waits for the one answer of a call. Its methods raise nothing."""

    def send_result(self, call: InferenceCall, encoded: Any, /) -> int:
        """Send what the codec encoded; returns the bytes of the answer's body."""
        ...

    def send_error(self, call: InferenceCall, error: Exception, /) -> None: ...


class InferencePath:
    """What all inferences of a service have in common. Belongs to the event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.engine = service.engine
        self.rows_of = service.engine.rows_of
        self.clock = service.engine.clock
        self.limits: Limits = service.config.limits
        self.bodies = service.bodies
        self.guest_bodies = service.guest_bodies
        self.metrics = service.metrics
        self.shared = service.shared
        self.draining = service.draining
        self.ids = RequestIds()
        self.tasks: set[asyncio.Task[None]] = set()
        """Those of calls that decode, compress or write on a thread."""
        self._decoders = asyncio.Semaphore(DECODERS)

    async def on_thread(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, of at most DECODERS in turns; a caller that leaves does not make room for another."""
        await self._decoders.acquire()
        working = asyncio.get_running_loop().run_in_executor(None, in_turns, work)
        working.add_done_callback(self._worked)
        return await asyncio.shield(working)

    def _worked(self, working: asyncio.Future[Any]) -> None:
        self._decoders.release()
        if not working.cancelled():
            working.exception()  # whoever waited for it may have left


class InferenceCall(RequestRecord, kw_only=True, gc=False):
    """One inference from its head to its answer: its record, and the completion that the engine calls.

    `begin` with the caller for a body that is whole; else `enter`, `take` for each part, and `begin`. It ends once: by
    a result, an error, or `disconnected`. From then on it keeps nothing alive, since telemetry keeps it for a while.
    """

    inference: InferencePath | None
    """None: it has ended."""
    codec: Codec | None
    responder: Responder | None
    timeout_s: float | None = None
    """Seconds from `begin` to the transport's own deadline; None: it has none."""
    charged: int = 0
    """Bytes counted beside the body, for what was decoded from it."""
    pot: InFlightBytes | None = None
    """Counts both; None: its caller has not entered."""
    caller: Caller | None = None
    """None: it does not count as one of its caller's."""
    lease: RegionLease | None = None
    answer: Any = None
    task: asyncio.Task[None] | None = None

    # What the transport calls

    def enter(self, caller: Caller, size: int = 0) -> None:
        """Count the call as use, as one of its caller's, and `size` bytes of its body.

        Raises Draining, TooManyRequests.
        """
        inference = self.inference
        assert inference is not None
        inference.service.used_at = now = time.monotonic()
        if inference.draining.is_set():
            raise Draining(SHUTTING_DOWN)
        caller.enter(now)
        self.caller = caller
        pot = self.pot = inference.bodies if caller.models is None else inference.guest_bodies
        if size:
            pot.take(size)
            self.request_bytes = size

    def take(self, size: int) -> None:
        """Count more of the body. Raises TooManyRequests."""
        assert self.pot is not None
        self.pot.take(size)
        self.request_bytes += size

    def begin(self, body: bytes, caller: Caller | None = None) -> None:
        """Decode the body and submit the request. Raises nothing. With `caller` it also enters and takes the body."""
        inference, codec = self.inference, self.codec
        assert inference is not None and codec is not None
        try:
            if caller is not None:
                self.enter(caller, len(body))
            if self.caller is not None and self.caller.models is not None:
                if codec.names_model:
                    model, version, _ = codec.named_in(body)
                    self.caller.check_model(model, version or None)
            elif inference.shared is not None:
                self.lease = RegionLease(inference.shared)
            if len(body) > SMALL_BODY or codec.content_encoding:
                if codec.content_encoding or codec.takes_long(body):
                    self._start(inference, self._begin_in_task(inference, codec, body))
                    return
                request, self.answer = codec.decode(body, self.received_at, self.lease)
                self._charge(_own_bytes(request))
            else:
                request, self.answer = codec.decode(body, self.received_at, self.lease)
            self._submit(inference, request)
        except Exception as error:
            self.fail(error, body)

    def disconnected(self) -> None:
        """The caller left, or its deadline passed. Nothing is sent; the engine drops the request."""
        inference = self.inference
        if inference is None:
            return
        if self.task is not None:
            self.task.cancel()
        if not self.decoded_at:
            self._attribute(b"")
        self._end_failed(inference, Cancelled("the caller left before it was answered"))

    def fail(self, error: Exception, body: bytes = b"") -> None:
        """End it with an error. `body`: as far as it has been read, where it was not decoded."""
        inference, responder = self.inference, self.responder
        assert inference is not None and responder is not None
        if self.caller is not None and self.caller.models is not None:
            error = self.caller.told(error)
        if not self.decoded_at and not isinstance(error, _OF_CALLER):
            self._attribute(body)
        self._end_failed(inference, error)
        responder.send_error(self, error)

    # What the engine calls

    def done(self) -> bool:
        return self.inference is None

    def set_result(self, response: InferResponse) -> None:
        inference, codec, answer = self.inference, self.codec, self.answer
        assert inference is not None and codec is not None
        try:
            self.answered_at = inference.clock()
            self.version, self.timings = response.version, response.timings
            if answer.classes:
                response = _in_classes(inference.engine, response, answer.classes)
            if answer.places or codec.accept_encoding:
                self._start(inference, self._answer_in_task(inference, codec, response))
                return
            encoded = codec.encode(self, response)
        except Exception as error:
            self.fail(error)
            return
        self._send(inference, encoded)

    def set_exception(self, exception: WorkbenchError) -> None:
        self.fail(exception)

    # Steps

    def _submit(self, inference: InferencePath, request: InferRequest) -> None:
        self.decoded_at = inference.clock()
        if self.caller is not None and self.caller.models is not None:
            self.caller.confine(request, inference.rows_of)
        self.model, self.version, self.id = request.model, request.version or "", request.id
        if self.timeout_s is not None:
            deadline = self.received_at + self.timeout_s
            if request.deadline is None or deadline < request.deadline:
                request.deadline = deadline
        request.trace = self.trace
        inference.engine.submit(request, self)

    async def _begin_in_task(self, inference: InferencePath, codec: Codec, body: bytes) -> None:
        try:
            if codec.content_encoding:
                body = await self._inflated(inference, codec.content_encoding, body)
            if codec.takes_long(body):
                counted = await inference.on_thread(partial(codec.count, body, self.received_at, self.lease))
                self._charge(counted.memory_bytes)
                decoded = await inference.on_thread(counted.decode)
            else:
                decoded = codec.decode(body, self.received_at, self.lease)
                self._charge(_own_bytes(decoded[0]))
            self.task = None  # from here on the call ends without it
            request, self.answer = decoded
            self._submit(inference, request)
        except Exception as error:
            self.fail(error, body)

    async def _inflated(self, inference: InferencePath, coding: bytes, body: bytes) -> bytes:
        """The decompressed body. The larger of the two forms is counted."""
        limit, caller = inference.limits.max_body_bytes, self.caller
        if caller is not None and caller.max_body is not None:
            limit = min(limit, caller.max_body)

        def grown(size: int) -> None:
            if size > limit:
                raise TooLarge(f"the body has more than {limit} bytes, decompressed; {body_cap(limit, caller)}")
            if self.inference is not None and size > self.request_bytes:
                self.take(size - self.request_bytes)

        body = await decompressed(body, coding, grown)
        if len(body) < self.request_bytes and self.pot is not None:
            self.pot.give_back(self.request_bytes - len(body))
            self.request_bytes = len(body)
        return body

    def _charge(self, size: int) -> None:
        """Count what decoding takes beside the body. Raises TooManyRequests, and TooLarge where it can never be had."""
        pot = self.pot
        assert pot is not None
        if size + self.request_bytes > pot.most:
            raise TooLarge(
                f"a body of {self.request_bytes} bytes takes {size} more when it is decoded, and "
                f"{pot.cap} {pot.most}: send less at once, or binary data"
            )
        pot.take(size)
        self.charged += size

    async def _answer_in_task(self, inference: InferencePath, codec: Codec, response: InferResponse) -> None:
        answer = self.answer
        try:
            if answer.places and self.lease is not None:
                await asyncio.to_thread(write_shared, self.lease, answer.places, response.outputs)
            encoded = codec.encode(self, response)
            if codec.accept_encoding:
                encoded = await codec.compressed(encoded)
        except Exception as error:
            self.fail(error)
            return
        self._send(inference, encoded)

    def _send(self, inference: InferencePath, encoded: Any) -> None:
        responder = self.responder
        assert responder is not None
        self.encoded_at = inference.clock()
        usage = self.caller.usage if self.caller is not None else None
        self._leave(inference)
        self.response_bytes = responder.send_result(self, encoded)
        self.sent_at = inference.clock()
        moments = inference.metrics.exchange_done(self)
        if usage is not None:
            usage.answered(self, moments)

    def _start(self, inference: InferencePath, work: Coroutine[Any, Any, None]) -> None:
        task = self.task = asyncio.get_running_loop().create_task(work)
        inference.tasks.add(task)
        task.add_done_callback(inference.tasks.discard)

    def _attribute(self, body: bytes) -> None:
        """A body that was refused counts for the model that it, or its path, names."""
        assert self.codec is not None and self.inference is not None
        self.model, self.version, name = self.codec.named_in(body)
        self.id = name[: self.inference.limits.max_name_length]

    def _end_failed(self, inference: InferencePath, error: Exception) -> None:
        usage = self.caller.usage if self.caller is not None else None
        self._leave(inference)
        self.sent_at = inference.clock()
        note_failed(inference.service, self, error)
        if usage is not None and not isinstance(error, LimitExceeded):  # its share has counted that
            usage.failed(self, outcome_of(error) if isinstance(error, WorkbenchError) else Outcome.FAILED)

    def _leave(self, inference: InferencePath) -> None:
        if self.caller is not None and self.pot is not None:
            self.caller.leave()
            self.pot.give_back(self.request_bytes + self.charged)
        if self.lease is not None:
            self.lease.give_back()
            self.lease = None
        if self.task is not None:
            self.task = None
        self.inference = self.codec = self.responder = self.caller = self.pot = self.answer = None


def _own_bytes(request: InferRequest) -> int:
    """Memory of the inputs that are not part of the body. Those that are cannot be written to."""
    return sum(
        string_bytes(array.size, 0) if array.dtype.hasobject else array.nbytes
        for array in request.inputs.values()
        if array.flags.writeable
    )


def note_failed(service: Service, record: RequestRecord, error: Exception) -> None:
    """Count and record a failed inference.

    The engine counts what it was given; what never got there is counted here. Only models that exist become labels.
    """
    known = error if isinstance(error, WorkbenchError) else WorkbenchError(UNFORESEEN)
    record.error, record.message = known.code, known.message[:LONGEST_MESSAGE]
    try:
        record.version = service.engine.status(record.model, record.version or None).version
    except WorkbenchError:
        record.version = ""
    if record.version and not record.decoded_at:
        service.metrics.request_done(record.model, record.version, outcome_of(known), None)
    service.metrics.exchange_done(record)


def body_cap(max_bytes: int, caller: Caller | None = None) -> str:
    """What is said of a body over `max_bytes`, which are the service's cap or that of `caller`."""
    if caller is not None and caller.max_body == max_bytes:
        return f"this token's share takes {max_bytes}: send less at once"
    if max_bytes == BODY_BYTES:
        return f"requests of this kind, which hold no tensors, take {max_bytes}"
    return f"this service takes {max_bytes}: send less at once, or raise max_body_bytes"


def _in_classes(engine: Engine, response: InferResponse, classes: Mapping[str, int]) -> InferResponse:
    """`response` with its outputs as their largest elements where that was asked for; see `classified`."""
    batched, labels = engine.classes_of(response.epoch)
    return classified(response, classes, batched=batched, labels=labels)
