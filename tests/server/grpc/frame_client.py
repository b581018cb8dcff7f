"""A gRPC client without a socket, which sends frames and reads those that came."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field

import hpack

from workbench.http2 import frames
from workbench.http2.connection import H2Connection
from workbench.http2.headers import block_of
from workbench.server.grpc.call import GrpcCalls

TOKEN = "secret"
STATUS = {"ok": "0", "invalid": "3", "deadline": "4", "exhausted": "8"}


@dataclass
class FrameClient:
    """A client that has said hello to the calls of a port."""

    calls: GrpcCalls
    settings: dict[int, int] = field(default_factory=dict)
    token: str = TOKEN

    def __post_init__(self) -> None:
        self.written: list[bytes] = []
        self.connection = H2Connection(self.written.append, lambda: None, self.calls.call, self.calls.loop.time)
        self.send(frames.PREFACE, frames.settings(self.settings))
        self.written.clear()
        self._decoder = hpack.Decoder()

    def send(self, *parts: bytes) -> None:
        data = b"".join(parts)
        while self.connection.receive(data):
            data = b""

    def begin(self, number: int, path: str, *more: tuple[bytes, bytes], token: bool = True) -> None:
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode())]
        fields.append((b"content-type", b"application/grpc"))
        if token:
            fields.append((b"authorization", f"Bearer {self.token}".encode()))
        self.send(frames.frame(frames.HEADERS, frames.END_HEADERS, number, block_of(*fields, *more)))

    def data(self, number: int, payload: bytes, *, ended: bool = False) -> None:
        self.send(frames.frame(frames.DATA, frames.END_STREAM if ended else 0, number, payload))

    def cancel(self, number: int) -> None:
        self.send(frames.rst_stream(number, frames.ErrorCode.CANCEL))

    def told(self) -> dict[int, list[tuple[str, object]]]:
        """What came on each stream since this was last asked for: "head", "data", "reset"."""
        found: dict[int, list[tuple[str, object]]] = {}
        data, at = b"".join(self.written), 0
        self.written.clear()
        while at < len(data):
            high, low, kind, _, number = frames.HEAD.unpack_from(data, at)
            stop = at + frames.HEAD_BYTES + (high << 8 | low)
            payload, at = data[at + frames.HEAD_BYTES : stop], stop
            events = found.setdefault(number, [])
            if kind == frames.HEADERS:
                events.append(("head", dict(self._decoder.decode(payload))))
            elif kind == frames.DATA:
                events.append(("data", payload))
            elif kind == frames.RST_STREAM:
                events.append(("reset", struct.unpack(">L", payload)[0]))
        return found

    def status(self, number: int) -> str:
        """That the stream ended with, and nothing of it is left."""
        (head,) = [value for kind, value in self.told()[number] if kind == "head" and "grpc-status" in value]  # type: ignore[operator]
        self.nothing_is_left()
        assert isinstance(head, dict)
        return next(name for name, code in STATUS.items() if code == head["grpc-status"])

    def nothing_is_left(self) -> None:
        assert not self.connection._streams
        assert self.calls.held.held == self.calls.held_anonymous.held == 0

    async def settled(self) -> None:
        """Until no call is under way."""
        while self.calls.under_way:
            await asyncio.wait(list(self.calls.under_way))
