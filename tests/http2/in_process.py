"""A `H2Connection` without a socket: the server in tests that need no service, and streams that answer on their own."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.http2.raw import Peer
from workbench.http2 import frames
from workbench.http2.connection import MAX_STREAMS, H2Connection
from workbench.http2.frames import ErrorCode, settings
from workbench.http2.headers import H2RequestHead, block_of
from workbench.http2.stream import Stream

REQUEST = block_of((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"))
HEAD = block_of((b":status", b"200"))
END = block_of((b"grpc-status", b"0"))

Frame = tuple[int, int, int, bytes]


class Noted(Stream):
    """Records what it is told, and frees received data at once."""

    def __init__(self, connection: H2Connection, number: int) -> None:
        super().__init__(connection, number)
        self.heads: list[tuple[H2RequestHead, bool]] = []
        self.body = bytearray()
        self.whole = False
        self.losses = 0

    def on_headers(self, head: H2RequestHead, ended: bool) -> None:
        self.heads.append((head, ended))
        self.whole = ended

    def on_data(self, data: bytes, ended: bool) -> None:
        assert not self.whole
        self.body += data
        self.whole = ended
        self.ack_data(len(data))

    def on_reset(self) -> None:
        self.losses += 1


class Echo(Noted):
    """Answers a whole request with its body, and with trailers that say how its head was read.

    A Watch with a message is answered once and stays open; what is not gRPC is refused.
    """

    def on_headers(self, head: H2RequestHead, ended: bool) -> None:
        super().on_headers(head, ended)
        self.request = head.request
        if not self.request.get(b"content-type", b"").startswith(b"application/grpc"):
            self.refuse(block_of((b":status", b"415")))
        elif ended:
            self._answer()

    def on_data(self, data: bytes, ended: bool) -> None:
        super().on_data(data, ended)
        if ended:
            self._answer()

    def _answer(self) -> None:
        if self.request[b":path"].endswith(b"/Watch") and self.body:
            self.send_head(HEAD)
            self.send((bytes(self.body),))
            return
        told = [(name, self.request[name]) for name in (b"x-request-id", b"authorization") if name in self.request]
        self.answer(HEAD, bytes(self.body), END + block_of(*told))


class Server:
    """A connection whose client has sent its preface, unless told otherwise. A `Wire` for `Peer`."""

    def __init__(
        self,
        make: Callable[[H2Connection, int], Noted] = Noted,
        ours: dict[int, int] | None = None,
        *,
        greeted: bool = True,
        stranger_streams: int = MAX_STREAMS,
        charge_address: Callable[[float], bool] | None = None,
    ) -> None:
        self.written: list[bytes] = []
        self.closed = 0
        self.streams: dict[int, Noted] = {}
        self.now_s = 0.0
        self._make = make
        self.wrote: Callable[[], None] | None = None
        """Called after each write, where transports call their protocol."""
        self.connection = H2Connection(
            self._write, self._close, self._stream, lambda: self.now_s, stranger_streams, charge_address
        )
        self.connection.send_settings()
        if greeted:
            self.send(frames.PREFACE + settings(ours or {}))
            self.told()

    def _write(self, data: bytes) -> None:
        self.written.append(data)
        if self.wrote is not None:
            self.wrote()

    def _close(self) -> None:
        self.closed += 1

    def _stream(self, connection: H2Connection, number: int) -> Noted:
        stream = self.streams[number] = self._make(connection, number)
        return stream

    def send(self, *parts: bytes) -> None:
        data = b"".join(parts)
        while self.connection.receive(data):
            data = b""

    def receive(self, end: float = 0) -> bytes:
        data = b"".join(self.written)
        assert data or self.closed, "the server has nothing to say, and nothing can make it say more"
        self.written.clear()
        return data

    def close(self) -> None:
        self.connection.connection_lost()

    def told(self) -> list[Frame]:
        """The frames written since the last call."""
        data, found, at = b"".join(self.written), [], 0
        self.written.clear()
        while at < len(data):
            high, low, kind, flags, number = frames.HEAD.unpack_from(data, at)
            stop = at + frames.HEAD_BYTES + (high << 8 | low)
            assert stop <= len(data)
            found.append((kind, flags, number, data[at + frames.HEAD_BYTES : stop]))
            at = stop
        return found

    def left(self) -> tuple[int, int]:
        """(last stream, error) of the GOAWAY that it ended with."""
        kind, _, _, payload = self.told()[-1]
        assert kind == frames.GOAWAY
        last, code = struct.unpack_from(">LL", payload)
        return last, ErrorCode(code)


def echo_peer(mine: dict[int, int] | None = None, *, greet: bool = True, obliging: bool = True) -> Peer:
    """A client of a server whose streams echo."""
    return Peer(Server(Echo, greeted=False), mine, greet=greet, obliging=obliging)
