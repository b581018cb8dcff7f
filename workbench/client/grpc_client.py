"""`GrpcClient`: an asyncio client of one service over gRPC.

It implements `core.ports.Inference` as `AsyncClient` does, for any server of the Open Inference Protocol. The control
plane exists over HTTP only. An error of the service is raised as the class of `workbench.errors` that it raised.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workbench.client.fork_safety import keep_from_children
from workbench.client.token_source import TokenSource
from workbench.client.trusted_certificates import pem_of
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import ModelStatus, Signature
from workbench.errors import DeadlineExceeded, InvalidInput, Unauthenticated, Unavailable, Unsupported, WorkbenchError
from workbench.protocols.status_codes import GRPC_CODE_KEY, error_from_grpc

if TYPE_CHECKING:
    import grpc

DEADLINE_GRACE_S = 1.0
"""Seconds after a request's deadline in which the service's own answer is still awaited."""

CONTROL_S = 30.0
"""What a call for metadata may take."""

KEEPALIVE_S = 30
_REFUSED_AT_ONCE = "Internal error from Core"
"""What grpc.aio says, in place of the status, of a stream that was refused while its head was being sent. No message of
it was sent then."""

_SERVICE = "inference.GRPCInferenceService"


class GrpcClient:
    """A client of the service at `url`: grpc://HOST:PORT, or grpcs://HOST:PORT with TLS.

    `ca_file` is PEM with the authorities that may have signed the service's certificate, or that certificate itself;
    `credentials`, in its place, are grpc.ssl_channel_credentials(...), for a client certificate. It holds one
    connection from the first call until `close()`, and belongs to the event loop that calls it first; on another loop,
    or in a forked child, it opens a new one.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        ca_file: str | Path | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("grpc", "grpcs")
            or not parts.netloc
            or parts.path.strip("/")
            or parts.username is not None
        ):
            raise InvalidInput("the gRPC address must look like grpc://127.0.0.1:8081, or grpcs://... with TLS")
        if parts.scheme == "grpc" and credentials is not None:
            raise InvalidInput("credentials need TLS: use an address grpcs://HOST:PORT")
        self.url = url.rstrip("/")
        self._target = parts.netloc
        self._secure = parts.scheme == "grpcs"
        self._credentials = credentials
        self._ca_file = str(ca_file or "")
        self._source = TokenSource(token, token_file)
        self._channel: grpc.aio.Channel | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._methods: dict[str, Any] = {}

    async def __aenter__(self) -> GrpcClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. A later call opens a new one."""
        channel, self._channel = self._channel, None
        if channel is not None and self._owner == (os.getpid(), asyncio.get_running_loop()):
            await channel.close()

    async def infer(self, request: InferRequest) -> InferResponse:
        """Run one request. Its `deadline` is on time.monotonic; cancelling this call cancels the request."""
        from workbench.protocols import oip_grpc

        timeout_s = None
        if request.deadline is not None:
            timeout_s = max(request.deadline - time.monotonic(), 0.0) + DEADLINE_GRACE_S
        return oip_grpc.decode_response(await self._call("ModelInfer", oip_grpc.encode_request(request), timeout_s))

    async def exchange(self, message: bytes, timeout_s: float | None = None) -> bytes:
        """Send an encoded ModelInferRequest, and return the encoded ModelInferResponse."""
        return await self._call("ModelInfer", message, timeout_s)

    async def stream(self, requests: AsyncIterable[InferRequest]) -> AsyncIterator[InferResponse | WorkbenchError]:
        """Yield the response or the error of each request, in order; many are sent at once."""
        import grpc

        from workbench.protocols import oip_grpc

        messages = _Messages(requests)
        try:
            while True:
                token = self._source.token
                try:
                    call = self._connected("ModelStreamInfer")(messages.unanswered(), metadata=_metadata(token))
                    async for message in call:
                        messages.sent.popleft()
                        yield oip_grpc.decode_stream_response(message)
                    return
                except grpc.aio.AioRpcError as error:
                    meant = self._meant(error)
                    # Before a service ends a stream it answers each message that it has read, and it runs no other.
                    refused = isinstance(meant, Unauthenticated) or error.details() == _REFUSED_AT_ONCE
                    if not refused or not await self._source.renewed(token):
                        raise meant from None
        finally:
            messages.close()

    async def ready(self) -> bool:
        """Return whether the service takes requests: False while it starts or drains.

        Raises Unavailable without one.
        """
        from workbench.protocols import grpc_metadata

        return grpc_metadata.decode_ready("ServerReady", await self._control("ServerReady", b""))

    async def signature(self, model: str, version: str | None = None) -> Signature:
        """Return the model's signature. Raises ModelNotFound."""
        from workbench.protocols import grpc_metadata

        asked = grpc_metadata.encode_named("ModelMetadata", model, version)
        return grpc_metadata.decode_signature(await self._control("ModelMetadata", asked))

    async def status(self, model: str, version: str | None = None) -> ModelStatus:
        """Return what an inference needs: the model's signature, newest version, largest batch and epoch. Raises
        ModelNotFound."""
        from workbench.protocols import grpc_metadata

        try:
            # Before the metadata: of a model that is replaced in between, the epoch is then the old one, which the
            # answers contradict.
            config = await self._control("ModelConfig", grpc_metadata.encode_named("ModelConfig", model, version))
        except Unsupported:  # a server without Triton's extensions
            config = b""
        asked = grpc_metadata.encode_named("ModelMetadata", model, version)
        metadata = await self._control("ModelMetadata", asked)
        return grpc_metadata.decode_status(metadata, config, version)

    async def server_metadata(self) -> dict[str, Any]:
        """Return the server's metadata: name, version, extensions. Raises Unauthenticated."""
        from workbench.protocols import grpc_metadata

        return grpc_metadata.decode_server_metadata(await self._control("ServerMetadata", b""))

    async def _control(self, method: str, message: bytes) -> bytes:
        """A call that the server answers from memory."""
        try:
            return await self._call(method, message, CONTROL_S)
        except DeadlineExceeded as error:
            raise Unavailable(f"the service at {self.url} did not answer {method} within {CONTROL_S:g} s") from error

    async def _call(self, method: str, message: bytes, timeout_s: float | None = None) -> bytes:
        token = self._source.token
        try:
            return await self._sent(method, message, timeout_s)
        except Unauthenticated:
            if not await self._source.renewed(token):
                raise
        return await self._sent(method, message, timeout_s)

    async def _sent(self, method: str, message: bytes, timeout_s: float | None) -> bytes:
        import grpc

        metadata = _metadata(self._source.token)
        try:
            answer: bytes = await self._connected(method)(message, metadata=metadata, timeout=timeout_s)
            return answer
        except grpc.aio.AioRpcError as error:
            raise self._meant(error) from None

    def _connected(self, method: str) -> Any:
        """Return the callable of `method`, which takes and returns bytes."""

        owner = os.getpid(), asyncio.get_running_loop()
        if self._channel is None or self._owner != owner:
            self._owner = owner
            self._channel = self._opened()
            keep_from_children(self._channel)
            self._methods = {}
        found = self._methods.get(method)
        if found is None:
            make = self._channel.stream_stream if method == "ModelStreamInfer" else self._channel.unary_unary
            found = self._methods[method] = make(f"/{_SERVICE}/{method}")
        return found

    def _opened(self) -> grpc.aio.Channel:
        import grpc

        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ]
        if self._secure:
            credentials = self._credentials or grpc.ssl_channel_credentials(pem_of(self._ca_file))
            return grpc.aio.secure_channel(self._target, credentials, options)
        return grpc.aio.insecure_channel(self._target, options)

    def _meant(self, error: grpc.aio.AioRpcError) -> WorkbenchError:
        code = str(dict(error.trailing_metadata() or ()).get(GRPC_CODE_KEY, ""))
        meant = error_from_grpc(error.code().value[0], error.details() or "", code)
        if isinstance(meant, Unavailable) and not code:
            return Unavailable(f"the service at {self.url} does not answer: {meant.message[:300]}")
        return meant


def _metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    return () if token is None else (("authorization", f"Bearer {token}"),)


class _Messages:
    """The messages of a stream that may have to be opened a second time."""

    def __init__(self, requests: AsyncIterable[InferRequest]) -> None:
        self.sent: deque[bytes] = deque()
        """Those that are not answered yet, in order."""
        self._requests = aiter(requests)
        self._next: asyncio.Future[InferRequest | None] | None = None
        self._opened = 0

    async def unanswered(self) -> AsyncIterator[bytes]:
        """What was sent before and is unanswered, and then the rest."""
        from workbench.protocols import oip_grpc

        self._opened = this = self._opened + 1
        for message in list(self.sent):
            yield message
        while True:
            # A call that ends cancels who waits here, and must not cancel whoever makes the requests.
            if self._next is None:
                self._next = asyncio.ensure_future(self._following())
            request = await asyncio.shield(self._next)
            if request is None or this != self._opened:  # gRPC's library may still read for the call that has ended
                return
            self._next = None
            self.sent.append(oip_grpc.encode_request(request))
            yield self.sent[-1]

    async def _following(self) -> InferRequest | None:
        return await anext(self._requests, None)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
