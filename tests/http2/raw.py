"""A client that speaks HTTP/2 frame by frame: it sends whatever a test asks for, and checks all that the server sends.

Received frames are checked against RFC 9113 as they arrive: windows and frame sizes are never exceeded, streams follow
their states, header blocks decode. A `Violation` is the server's fault.
"""

from __future__ import annotations

import itertools
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import hpack
from h2.errors import ErrorCodes
from hpack.hpack import encode_integer
from hyperframe.frame import FRAMES

LIMIT_S = 15.0
"""How long to wait for an expected frame."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_NAMES = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
]
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK = END_STREAM = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

ERRORS = [code.name for code in ErrorCodes]

WINDOW, FRAME, LARGEST = 65535, 16384, 2**31 - 1

Fields = Sequence[tuple[bytes, bytes]]

_OF_CONNECTIONS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


class Violation(AssertionError):
    """The server did what HTTP/2 forbids."""


class Frame(NamedTuple):
    kind: int
    flags: int = 0
    stream: int = 0
    payload: bytes = b""

    def encoded(self) -> bytes:
        head = len(self.payload).to_bytes(3, "big") + bytes([self.kind, self.flags])
        return head + self.stream.to_bytes(4, "big") + self.payload

    def __str__(self) -> str:
        name = FRAMES[self.kind].__name__ if self.kind in FRAMES else f"type {self.kind}"
        return f"{name} flags {self.flags:#x} stream {self.stream}, {len(self.payload)} bytes {self.payload[:32]!r}"


# Frames


def settings(values: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> Frame:
    pairs = values.items() if isinstance(values, Mapping) else values
    return Frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream: int, more: int) -> Frame:
    return Frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def reset(stream: int, code: int = 8) -> Frame:
    return Frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def ping(payload: bytes = b"8 bytes.", flags: int = 0, stream: int = 0) -> Frame:
    return Frame(PING, flags, stream, payload)


def headers(stream: int, block: bytes, flags: int = END_HEADERS) -> Frame:
    return Frame(HEADERS, flags, stream, block)


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> Frame:
    return Frame(DATA, END_STREAM if end else 0, stream, payload)


def continuation(stream: int, block: bytes, *, end: bool = True) -> Frame:
    return Frame(CONTINUATION, END_HEADERS if end else 0, stream, block)


def message(payload: bytes = b"", *, compressed: int = 0) -> bytes:
    """gRPC's prefix, and the message."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def messages(body: bytes) -> list[bytes]:
    """All of `body`'s, which must be whole."""
    found = []
    while body:
        compressed, length = struct.unpack_from(">BI", body)
        assert compressed == 0, "nothing that these tests ask for is answered compressed"
        assert len(body) >= 5 + length, f"a message of {length} bytes is cut off"
        found.append(body[5 : 5 + length])
        body = body[5 + length :]
    return found


# Header blocks without any state


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """A number with a prefix of so many bits (RFC 7541, 5.1)."""
    out = encode_integer(value, bits)
    out[0] |= first
    return bytes(out)


def text(value: bytes) -> bytes:
    return integer(len(value), 7) + value


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """`first`: 0 is not put into the table, 0x40 is, 0x10 never may be."""
    return bytes([first]) + text(name) + text(value)


def plain(fields: Fields) -> bytes:
    """A block of literals that neither reads nor changes the table."""
    return b"".join(literal(name, value) for name, value in fields)


# The client


@dataclass
class Stream:
    """What was received on a stream, and what both sides may still send on it."""

    window: int
    """Bytes that the server may send."""
    room: int
    """Bytes that we may send."""
    blocks: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """The server ended it in order."""
    reset: int | None = None
    """The server's code."""

    @property
    def done(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.blocks[0]) if self.blocks else {}

    @property
    def trailers(self) -> dict[bytes, bytes]:
        """The last block: of an answer without a body, the only one."""
        return dict(self.blocks[-1]) if self.blocks else {}

    @property
    def grpc_status(self) -> int | None:
        found = self.trailers.get(b"grpc-status")
        return None if found is None else int(found)

    @property
    def messages(self) -> list[bytes]:
        return messages(bytes(self.data))


class Wire(Protocol):
    """The way to a server: a socket, or a `Connection` in this process."""

    def send(self, content: bytes) -> None:
        """Takes all of it, unless the server has hung up."""

    def receive(self, end: float) -> bytes:
        """What has come, or b"" where the server has hung up; fails where nothing comes before `end`."""

    def close(self) -> None: ...


class SocketWire:
    def __init__(self, address: str, limit_s: float = LIMIT_S) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), limit_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.close = self.socket.close
        self._limit_s = limit_s
        self._arrived = bytearray()
        self._closed = False

    def send(self, content: bytes) -> None:
        """Reads meanwhile, so that neither side waits for the other. Once the server has hung up, the rest is dropped
        and what it said before can still be read."""
        rest = memoryview(content)
        end = time.monotonic() + self._limit_s
        while rest and not self._closed:
            readable, writable, _ = select.select([self.socket], [self.socket], [], max(0.0, end - time.monotonic()))
            assert readable or writable, "the server neither reads nor writes"
            if readable:
                self._take()
            if writable:
                try:
                    rest = rest[self.socket.send(rest) :]
                except BlockingIOError:
                    pass
                except OSError:
                    return

    def receive(self, end: float) -> bytes:
        while not self._arrived and not self._closed:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, end - time.monotonic()))
            assert ready, "nothing came in time"
            self._take()
        found = bytes(self._arrived)
        self._arrived.clear()
        return found

    def _take(self) -> None:
        try:
            content = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        self._arrived += content
        self._closed = not content


class Peer:
    """A connection. Where `greet`, the preface has been sent and the server's settings have been read.

    `obliging`: windows are opened again as they are used, and pings and settings acknowledged.
    """

    def __init__(
        self,
        wire: Wire | str,
        mine: Mapping[int, int] | None = None,
        *,
        greet: bool = True,
        obliging: bool = True,
        limit_s: float = LIMIT_S,
    ) -> None:
        """`wire` may be HOST:PORT."""
        self.wire = SocketWire(wire, limit_s) if isinstance(wire, str) else wire
        self.limit_s = limit_s
        self.obliging = obliging
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self.streams: dict[int, Stream] = {}
        self.theirs: dict[int, int] = {}
        """The server's settings."""
        self.mine = {INITIAL_WINDOW_SIZE: WINDOW, MAX_FRAME_SIZE: FRAME, HEADER_TABLE_SIZE: 4096}
        """Ours, as far as the server has acknowledged them."""
        self.unacknowledged: deque[Mapping[int, int]] = deque()
        self.window = WINDOW
        """Bytes that the server may send on the whole connection."""
        self.room = WINDOW
        """Bytes that we may send."""
        self.gone: int | None = None
        """The code of the server's GOAWAY."""
        self.last_stream: int | None = None
        self.closed = False
        self.lenient = False
        """Frames were sent with `send_bytes`, so answers to unknown streams are expected."""
        self.pongs: list[bytes] = []
        self.raw_blocks: list[bytes] = []
        """The server's header blocks as received."""
        self._arrived = bytearray()
        self._block: tuple[Frame, bytearray] | None = None
        self._next = itertools.count(1, 2)
        self._first = True
        if greet:
            self.send_bytes(PREFACE)
            self.send(settings(mine or {}))
            self.until(lambda: self.theirs or None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.wire.close()

    # Sending

    def send(self, *frames: Frame) -> None:
        """All in one segment, where they fit."""
        for each in frames:
            number = each.stream & LARGEST
            if each.kind == HEADERS and number % 2:
                initial = self.theirs.get(INITIAL_WINDOW_SIZE, WINDOW)
                self.streams.setdefault(number, Stream(self.mine[INITIAL_WINDOW_SIZE], initial))
            elif each.kind == DATA:
                self.room -= len(each.payload)
                if each.stream in self.streams:
                    self.streams[each.stream].room -= len(each.payload)
            elif each.kind == SETTINGS and not each.flags & ACK and len(each.payload) % 6 == 0:
                self.unacknowledged.append(dict(struct.iter_unpack(">HI", each.payload)))
            elif each.kind == WINDOW_UPDATE and len(each.payload) == 4:
                more = int.from_bytes(each.payload, "big")
                if not each.stream:
                    self.window += more
                elif each.stream in self.streams:
                    self.streams[each.stream].window += more
        self.send_bytes(b"".join(each.encoded() for each in frames))

    def send_bytes(self, content: bytes) -> None:
        """Sends bytes without noting what they mean."""
        self.wire.send(content)

    def open(self, fields: Fields, *, end: bool = False, huffman: bool = True, table: bool = True) -> int:
        """Opens a stream with these fields, encoded with the connection's table, and returns its number."""
        number = next(self._next)
        block = self.encoder.encode(fields, huffman) if table else plain(fields)
        self.send_block(number, block, end=end)
        return number

    def send_block(self, stream: int, block: bytes, *, end: bool = False) -> None:
        """Sends HEADERS, and CONTINUATION for what does not fit into one frame."""
        first, *rest = [block[at : at + FRAME] for at in range(0, len(block), FRAME)] or [b""]
        flags = (END_STREAM if end else 0) | (0 if rest else END_HEADERS)
        parts = [continuation(stream, each, end=each is rest[-1]) for each in rest]
        self.send(headers(stream, first, flags), *parts)

    def say(self, stream: int, body: bytes, *, end: bool = True, most: int = FRAME) -> None:
        """Sends `body` as DATA, no faster than the server's windows allow."""
        rest = memoryview(body)
        found = self.streams[stream]
        while len(rest) > (room := max(0, min(most, self.room, found.room))):
            if room > 0:
                self.send(data(stream, bytes(rest[:room])))
                rest = rest[room:]
            else:
                self.until(lambda: min(self.room, found.room) > 0 or found.done)
                if found.done:
                    return
        self.send(data(stream, bytes(rest), end=end))

    def call(self, fields: Fields, payload: bytes = b"") -> Stream:
        """Makes a whole unary call."""
        stream = self.open(fields)
        self.say(stream, message(payload))
        return self.answer(stream)

    # Reading

    def answer(self, stream: int) -> Stream:
        """Waits until the server has ended the stream."""
        self.until(lambda: self.streams[stream].done or self.closed)
        assert self.streams[stream].done, f"the connection closed before an answer; GOAWAY {self.gone}"
        return self.streams[stream]

    def until(self, look: Callable[[], object]) -> None:
        """Reads until `look` finds something, or the server has closed the connection."""
        end = time.monotonic() + self.limit_s
        while not look() and self.receive(end) is not None:
            pass

    def pong(self, payload: bytes = b"pingpong") -> bool:
        """Sends a ping and reads all that comes before its answer. False: the connection was closed instead."""
        before = len(self.pongs)
        self.send(ping(payload))
        self.until(lambda: payload in self.pongs[before:])
        return payload in self.pongs[before:]

    def receive(self, end: float) -> Frame | None:
        """The next frame, checked; None: the server has closed the connection. Fails where nothing comes."""
        while (frame := self._whole()) is None:
            if self.closed:
                return None
            content = self.wire.receive(end)
            self._arrived += content
            self.closed = not content
        self._check(frame)
        return frame

    def _whole(self) -> Frame | None:
        if len(self._arrived) < 9:
            return None
        length = int.from_bytes(self._arrived[:3], "big")
        _require(length <= self.mine[MAX_FRAME_SIZE], f"a frame of {length} bytes, over our MAX_FRAME_SIZE")
        if len(self._arrived) < 9 + length:
            return None
        kind, flags = self._arrived[3:5]
        number = int.from_bytes(self._arrived[5:9], "big")
        _require(number <= LARGEST, "the reserved bit is set")
        frame = Frame(kind, flags, number, bytes(self._arrived[9 : 9 + length]))
        del self._arrived[: 9 + length]
        return frame

    # The server's duties

    def _check(self, frame: Frame) -> None:
        if self._first:
            _require(frame.kind == SETTINGS and not frame.flags & ACK, f"the first frame is not SETTINGS but {frame}")
            self._first = False
        if self._block is not None:
            _require(
                frame.kind == CONTINUATION and frame.stream == self._block[0].stream, f"{frame} amid a header block"
            )
        kind = frame.kind
        if kind in (DATA, HEADERS, RST_STREAM, CONTINUATION):
            if self.lenient and frame.stream % 2:
                self.streams.setdefault(frame.stream, Stream(self.mine[INITIAL_WINDOW_SIZE], WINDOW))
            _require(frame.stream % 2 == 1 and frame.stream in self.streams, f"{frame}: we never opened that stream")
            stream = self.streams[frame.stream]
            _require(stream.reset is None, f"{frame} after RST_STREAM")
            _require(not stream.ended or kind in (RST_STREAM, CONTINUATION), f"{frame} after END_STREAM")
        elif kind in (SETTINGS, PING, GOAWAY):
            _require(frame.stream == 0, f"{frame} on a stream")
        if kind == DATA:
            self._on_data(frame)
        elif kind in (HEADERS, CONTINUATION):
            self._on_block(frame)
        elif kind == RST_STREAM:
            _require(len(frame.payload) == 4, str(frame))
            self.streams[frame.stream].reset = int.from_bytes(frame.payload, "big")
        elif kind == SETTINGS:
            self._on_settings(frame)
        elif kind == PING:
            _require(len(frame.payload) == 8, str(frame))
            if frame.flags & ACK:
                self.pongs.append(frame.payload)
            elif self.obliging:
                self.send(ping(frame.payload, ACK))
        elif kind == GOAWAY:
            _require(len(frame.payload) >= 8, str(frame))
            last, self.gone = struct.unpack_from(">II", frame.payload)
            _require(
                self.last_stream is None or last <= self.last_stream, "a GOAWAY that takes back what one before said"
            )
            self.last_stream = last
        elif kind == WINDOW_UPDATE:
            self._on_window_update(frame)
        else:
            _require(kind != PUSH_PROMISE, "a push that nobody allowed")

    def _on_data(self, frame: Frame) -> None:
        stream = self.streams[frame.stream]
        size = len(frame.payload)
        self.window -= size
        stream.window -= size
        if size:
            _require(self.window >= 0, f"{-self.window} bytes over the connection's window")
            _require(stream.window >= 0, f"{-stream.window} bytes over the window of stream {frame.stream}")
        payload = frame.payload
        if frame.flags & PADDED:
            _require(size > payload[0], "padding is all, and more")
            payload = payload[1 : size - payload[0]]
        _require(len(stream.blocks) == 1, f"DATA after {len(stream.blocks)} header blocks")
        stream.data += payload
        stream.ended = bool(frame.flags & END_STREAM)
        if self.obliging and size:
            updates = [window_update(0, size)]
            if not stream.ended:
                updates.append(window_update(frame.stream, size))
            self.send(*updates)

    def _on_block(self, frame: Frame) -> None:
        if frame.kind == HEADERS:
            payload = frame.payload
            if frame.flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if frame.flags & HAS_PRIORITY:
                payload = payload[5:]
            self._block = frame, bytearray(payload)
        else:
            _require(self._block is not None, "CONTINUATION of nothing")
            assert self._block is not None
            self._block[1].extend(frame.payload)
        if frame.flags & END_HEADERS:
            (first, block), self._block = self._block, None
            self.raw_blocks.append(bytes(block))
            try:
                fields = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(bytes(block), raw=True)]
            except hpack.HPACKError as error:
                raise Violation(f"a header block that cannot be decoded: {error!r}") from None
            self._on_fields(self.streams[first.stream], fields, bool(first.flags & END_STREAM))

    def _on_fields(self, stream: Stream, fields: list[tuple[bytes, bytes]], end: bool) -> None:
        names = [name for name, _ in fields]
        _require(all(name == name.lower() and name.strip() == name != b"" for name in names), f"names: {names}")
        _require(not _OF_CONNECTIONS & set(names), f"names of a connection: {names}")
        _require(
            all(value == value.strip(b" \t") and not set(value) & {0, 10, 13} for _, value in fields),
            f"values: {fields}",
        )
        if stream.blocks and b":status" not in dict(stream.blocks[-1]):
            raise Violation("headers after the trailers")
        if stream.blocks and not dict(stream.blocks[-1])[b":status"].startswith(b"1"):
            _require(end, "trailers that do not end the stream")
            _require(not any(name.startswith(b":") for name in names), f"a pseudo header among trailers: {names}")
        else:
            _require(names[:1] == [b":status"], f"headers that begin with {names[:1]}")
            _require(not any(name.startswith(b":") for name in names[1:]), f"pseudo headers: {names}")
        stream.blocks.append(fields)
        stream.ended = end

    def _on_settings(self, frame: Frame) -> None:
        if frame.flags & ACK:
            _require(not frame.payload, "an acknowledgement with settings")
            if self.lenient and not self.unacknowledged:
                return
            _require(bool(self.unacknowledged), "an acknowledgement of nothing")
            changed = self.unacknowledged.popleft()
            # From here on the server follows them.
            if INITIAL_WINDOW_SIZE in changed:
                for stream in self.streams.values():
                    stream.window += changed[INITIAL_WINDOW_SIZE] - self.mine[INITIAL_WINDOW_SIZE]
            self.mine |= changed
            if HEADER_TABLE_SIZE in changed:
                self.decoder.max_allowed_table_size = changed[HEADER_TABLE_SIZE]
            return
        _require(len(frame.payload) % 6 == 0, str(frame))
        for key, value in struct.iter_unpack(">HI", frame.payload):
            if key == INITIAL_WINDOW_SIZE:
                _require(value <= LARGEST, str(frame))
                for stream in self.streams.values():
                    stream.room += value - self.theirs.get(INITIAL_WINDOW_SIZE, WINDOW)
            elif key == MAX_FRAME_SIZE:
                _require(FRAME <= value < 1 << 24, str(frame))
            elif key == ENABLE_PUSH:
                _require(value == 0, "a server that asks for pushes")
            elif key == HEADER_TABLE_SIZE:
                self.encoder.header_table_size = min(value, 4096)
            self.theirs[key] = value
        self.theirs.setdefault(INITIAL_WINDOW_SIZE, WINDOW)
        if self.obliging:
            self.send(Frame(SETTINGS, ACK))

    def _on_window_update(self, frame: Frame) -> None:
        more = int.from_bytes(frame.payload, "big")
        _require(len(frame.payload) == 4 and 0 < more <= LARGEST, str(frame))
        if frame.stream == 0:
            self.room += more
            _require(self.room <= LARGEST, "our window has become too large")
            return
        _require(self.lenient or frame.stream in self.streams, f"{frame}: we never opened that stream")
        if frame.stream not in self.streams:
            return
        stream = self.streams[frame.stream]
        stream.room += more
        _require(stream.room <= LARGEST, "our window has become too large")


def _require(condition: object, said: str) -> None:
    if not condition:
        raise Violation(said)
