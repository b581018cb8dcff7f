"""A connection without a socket: frames in, frames out, and what its streams are told."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from workbench.http2 import frames
from workbench.http2.connection import MAX_STREAMS, STREAM_WINDOW, Connection, Stream
from workbench.http2.frames import ErrorCode, frame, settings
from workbench.http2.headers import Head, block_of
from workbench.http2.patience import MOST

REQUEST = block_of((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"))
HEAD = block_of((b":status", b"200"))
END = block_of((b"grpc-status", b"0"))


@pytest.fixture(autouse=True)
def _the_service_lives_on() -> None:
    """There is none: the one of the tests beside these is not begun for them."""


class Noted(Stream):
    """Keeps what it is told, and takes it at once."""

    def __init__(self, connection: Connection, number: int) -> None:
        super().__init__(connection, number)
        self.heads: list[tuple[Head, bool]] = []
        self.body = bytearray()
        self.whole = False
        self.losses = 0
        self.unblockings = 0

    def begun(self, head: Head, ended: bool) -> None:
        self.heads.append((head, ended))
        self.whole = ended

    def received(self, data: bytes, ended: bool) -> None:
        assert not self.whole
        self.body += data
        self.whole = ended
        self.took(len(data))

    def lost(self) -> None:
        self.losses += 1

    def unblocked(self) -> None:
        self.unblockings += 1


class Echo(Noted):
    """Answers with what came."""

    def begun(self, head: Head, ended: bool) -> None:
        super().begun(head, ended)
        if ended:
            self.answer(HEAD, b"", END)

    def received(self, data: bytes, ended: bool) -> None:
        super().received(data, ended)
        if ended:
            self.answer(HEAD, bytes(self.body), END)


class Refuses(Noted):
    """Answers before it has read anything."""

    def begun(self, head: Head, ended: bool) -> None:
        super().begun(head, ended)
        self.end(block_of((b":status", b"415")))


Frame = tuple[int, int, int, bytes]


class Server:
    """A connection whose client has said hello, unless told otherwise."""

    def __init__(
        self,
        make: Callable[[Connection, int], Noted] = Noted,
        ours: dict[int, int] | None = None,
        *,
        greeted: bool = True,
    ) -> None:
        self.written: list[bytes] = []
        self.closed = 0
        self.streams: dict[int, Noted] = {}
        self.now_s = 0.0
        self._make = make
        self.connection = Connection(self.written.append, self._close, self._stream, lambda: self.now_s)
        self.connection.greet()
        if greeted:
            self.receive(frames.PREFACE + settings(ours or {}))
            self.told()

    def _close(self) -> None:
        self.closed += 1

    def _stream(self, connection: Connection, number: int) -> Noted:
        stream = self.streams[number] = self._make(connection, number)
        return stream

    def receive(self, *parts: bytes) -> None:
        self.connection.receive(b"".join(parts))

    def told(self) -> list[Frame]:
        """What it has written since this was last asked for."""
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


def opening(number: int, flags: int = frames.END_HEADERS, block: bytes = REQUEST) -> bytes:
    return frame(frames.HEADERS, flags, number, block)


def data(number: int, payload: bytes, flags: int = 0) -> bytes:
    return frame(frames.DATA, flags, number, payload)


# Settings


def test_of_a_setting_that_comes_very_often_in_one_frame_the_last_holds() -> None:
    server = Server()
    server.receive(*(opening(1 + 2 * i) for i in range(MAX_STREAMS)))
    server.receive(settings_of(*((frames.INITIAL_WINDOW_SIZE, i) for i in range(20_000))))
    assert not server.closed  # which it would be if each of them had moved all windows
    assert {stream.window_out for stream in server.streams.values()} == {19_999}


def test_settings_that_move_many_windows_cost_their_peer_more() -> None:
    server = Server()
    server.receive(*(opening(1 + 2 * i) for i in range(MAX_STREAMS)))
    times = 0
    while not server.closed:
        server.receive(settings({frames.INITIAL_WINDOW_SIZE: times}))
        times += 1
    assert times < MOST / 16
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM
    assert {stream.losses for stream in server.streams.values()} == {1}


def settings_of(*each: tuple[int, int]) -> bytes:
    return frame(frames.SETTINGS, 0, 0, b"".join(frames.SETTING.pack(*one) for one in each))


# Streams


def test_a_request_that_breaks_http_s_rules_never_becomes_a_stream() -> None:
    server = Server()
    server.receive(opening(1, block=block_of((b":method", b"POST"))))
    assert server.told() == [(frames.RST_STREAM, 0, 1, struct.pack(">L", ErrorCode.PROTOCOL_ERROR))]
    promised = REQUEST + block_of((b"content-length", b"1"))
    server.receive(opening(3, frames.END_HEADERS | frames.END_STREAM, promised))
    assert server.told() == [(frames.RST_STREAM, 0, 3, struct.pack(">L", ErrorCode.PROTOCOL_ERROR))]
    while not server.closed:  # nor where that ends the connection
        server.receive(opening(server.connection._last + 2, block=b""))
    assert not server.streams


def test_a_header_block_has_a_limit_also_in_one_frame() -> None:
    server = Server()
    block = REQUEST + block_of((b"x", b"y" * 1000)) * 70
    server.receive(opening(1, block=block))
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM


def test_header_blocks_that_take_long_to_read_cost_their_peer_more() -> None:
    def until_it_breaks(block: bytes) -> int:
        server = Server(Refuses)
        for times in range(1, 400):
            server.receive(opening(2 * times + 1, block=block + b"%c%c" % divmod(times, 256)))
            if server.closed:
                return times
        return 0

    many, long = b"\x90" * 1000 + b"\0\1x\2", REQUEST + block_of((b"x", b"y" * 12_000)) + b"\0\1x\2"
    assert 0 < until_it_breaks(many) < MOST / 12
    assert until_it_breaks(REQUEST + b"\0\1x\2") == 0
    assert until_it_breaks(long) == 0  # answered, which makes up for it


def test_what_was_on_its_way_to_streams_that_were_refused_is_borne() -> None:
    server = Server(Refuses)
    for number in range(1, 600, 2):
        server.receive(opening(number), *(data(number, bytes(16384)) for _ in range(STREAM_WINDOW // 16384)))
    assert not server.closed
    while not server.closed:  # but not whatever leads to nothing
        server.receive(data(599, b"a"))
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM


# How it ends


def test_the_last_stream_that_is_served_is_not_raised_by_a_later_goodbye() -> None:
    server = Server()
    server.receive(opening(1))
    server.connection.leave()
    assert server.left() == (1, ErrorCode.NO_ERROR)
    server.receive(opening(3), frame(frames.PING, 0, 1, bytes(8)))
    assert server.left() == (1, ErrorCode.PROTOCOL_ERROR)
    assert (server.closed, server.streams[1].losses, list(server.streams)) == (1, 1, [1])
