"""The gate in front of every gRPC method, the table behind it, and every error as a status.

A call is let in, or refused, by its head alone: what a refused caller sends is never read.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import grpc

from workbench.errors import Unsupported, WorkbenchError
from workbench.protocols.errors import GRPC_CODE_KEY, UNFORESEEN, grpc_status
from workbench.protocols.headers import request_id as checked_request_id
from workbench.protocols.headers import traceparent
from workbench.server.auth import Caller, Gate

log = logging.getLogger("workbench.server")

Context: TypeAlias = Any
"""A grpc.aio.ServicerContext."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a call before its message is read."""

    caller: Caller
    request_id: bytes = b""
    """What the caller calls it, checked; empty: nothing."""
    trace: str = ""
    """The caller's traceparent, checked; empty: none came."""


Unary: TypeAlias = Callable[[Head, bytes, Context], Awaitable[bytes]]
Watch: TypeAlias = Callable[[Head, bytes, Context], AsyncIterator[bytes]]
Stream: TypeAlias = Callable[[Head, AsyncIterator[bytes], Context], AsyncIterator[bytes]]

_STATUS = {status.value[0]: status for status in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Method:
    """What serves one method. Messages are bytes both ways: whoever reads them says what is wrong with them."""

    unary: Unary | None = None
    watch: Watch | None = None
    """One message in, a stream out."""
    stream: Stream | None = None
    """Streams both ways."""
    public: bool = False
    """Needs no token."""


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """`table`: full name ("/package.Service/Method") -> Method."""

    def __init__(self, gate: Gate, table: Mapping[str, Method]) -> None:
        self.table = table
        """All there are, for whoever wants to walk them."""
        self._gate = gate
        self._public = frozenset(name for name, method in table.items() if method.public)
        self._handlers: dict[tuple[Caller, str], Any] = {}
        """Of calls that bring nothing but their token."""

    def service(self, details: Any) -> Any:
        """Called by grpc with a call's method and metadata, before its first message is read."""
        name = details.method
        authorization = None
        request_id, trace = b"", ""
        for key, value in details.invocation_metadata:
            if key == "authorization":
                authorization = value
            elif key == "x-request-id":
                request_id = checked_request_id(value.encode()) or b""
            elif key == "traceparent":
                trace = traceparent(value.encode())
        try:
            caller = self._gate.admit_token(authorization, public=name in self._public)
            if name not in self.table:
                raise Unsupported(f"there is no method {name[:120]!r}; reflection lists those that there are")
        except WorkbenchError as error:
            return _refusal(error)
        if request_id or trace:
            return _handler(self.table[name], Head(caller, request_id, trace))
        handler = self._handlers.get((caller, name))
        if handler is None:
            handler = self._handlers[caller, name] = _handler(self.table[name], Head(caller))
        return handler


async def refuse(context: Context, error: Exception) -> NoReturn:
    """End the call with what its caller is told. Of an error that nobody foresaw nothing but that."""
    metadata = tuple(context.trailing_metadata() or ())
    if not isinstance(error, WorkbenchError):
        log.error("a handler failed", exc_info=error, extra={"fields": dict(metadata)})
        error = unforeseen()
    message = error.message.encode("utf-8", "replace").decode()
    await context.abort(_STATUS[grpc_status(error)], message, (*metadata, (GRPC_CODE_KEY, error.code)))
    raise AssertionError("abort raises")


def unforeseen() -> WorkbenchError:
    return WorkbenchError(UNFORESEEN)


def _handler(method: Method, head: Head) -> Any:
    """For grpc: `method`, called with `head`."""
    if (unary := method.unary) is not None:

        async def call(message: bytes, context: Context) -> bytes:
            try:
                return await unary(head, message, context)
            except Exception as error:
                await refuse(context, error)

        return grpc.unary_unary_rpc_method_handler(call)
    if (watch := method.watch) is not None:

        async def call_watch(message: bytes, context: Context) -> AsyncIterator[bytes]:
            try:
                async for answer in watch(head, message, context):
                    yield answer
            except Exception as error:
                await refuse(context, error)

        return grpc.unary_stream_rpc_method_handler(call_watch)
    stream = method.stream
    assert stream is not None

    async def call_stream(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            async for answer in stream(head, messages, context):
                yield answer
        except Exception as error:
            await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(call_stream)


def _refusal(error: WorkbenchError) -> Any:
    """A handler that refuses. Of a stream, since a unary one would read the whole message first."""

    async def call(messages: AsyncIterator[bytes], context: Context) -> bytes:
        await refuse(context, error)

    return grpc.stream_unary_rpc_method_handler(call)
