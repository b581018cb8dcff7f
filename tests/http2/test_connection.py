"""A connection without a socket: frames in, frames out, and the hooks of its streams."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable

import hypothesis
import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hypothesis import strategies as st

from tests.http2.in_process import END, HEAD, REQUEST, Frame, Noted, Server
from workbench.http2 import frames
from workbench.http2.abuse_guard import CAPACITY
from workbench.http2.connection import CONNECTION_WINDOW, MAX_STREAMS
from workbench.http2.frame_reader import FRAMES_A_TURN
from workbench.http2.frames import ErrorCode, frame, settings, window_update
from workbench.http2.headers import H2RequestHead, block_of
from workbench.http2.stream import STREAM_WINDOW


def long(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.long(pytest.mark.timeout(900)(test))


class Early(Noted):
    """Answers at once."""

    def on_headers(self, head: H2RequestHead, ended: bool) -> None:
        super().on_headers(head, ended)
        self.answer(HEAD, b"early", END)


class Refuses(Noted):
    """Answers before it has read anything."""

    def on_headers(self, head: H2RequestHead, ended: bool) -> None:
        super().on_headers(head, ended)
        self.end(block_of((b":status", b"415")))


def opening(number: int, flags: int = frames.END_HEADERS, block: bytes = REQUEST) -> bytes:
    return frame(frames.HEADERS, flags, number, block)


def data(number: int, payload: bytes, flags: int = 0) -> bytes:
    return frame(frames.DATA, flags, number, payload)


# Turns


def test_many_frames_at_once_are_handled_in_turns_and_in_order() -> None:
    server = Server()
    pings = [frame(frames.PING, 0, 0, b"%08d" % number) for number in range(2 * FRAMES_A_TURN + 10)]
    assert server.connection.receive(b"".join(pings[:-1]) + pings[-1][:5])
    assert len(server.told()) == FRAMES_A_TURN
    assert server.connection.receive(pings[-1][5:9])  # more comes meanwhile
    assert not server.connection.receive(b"")
    assert server.told()[-1][3] == b"%08d" % (len(pings) - 2)
    assert not server.connection.receive(pings[-1][9:])
    assert [payload for _, _, _, payload in server.told()] == [b"%08d" % (len(pings) - 1)]


def test_a_peer_that_is_refused_again_and_again_is_disconnected() -> None:
    class Refusing(Noted):
        def on_headers(self, head: H2RequestHead, ended: bool) -> None:
            self.refuse(block_of((b":status", b"415")))

    server = Server(Refusing)
    for number in range(1, 4 * int(CAPACITY), 2):
        server.send(opening(number))
    assert server.closed == 1
    assert ErrorCode.ENHANCE_YOUR_CALM in [payload[7] for kind, _, _, payload in server.told() if kind == frames.GOAWAY]


# Settings


def test_of_a_setting_repeated_in_one_frame_only_the_last_is_applied() -> None:
    server = Server()
    server.send(*(opening(1 + 2 * i) for i in range(MAX_STREAMS)))
    server.send(settings_of(*((frames.INITIAL_WINDOW_SIZE, i) for i in range(20_000))))
    assert not server.closed  # it would be, had each of them moved all windows
    assert {stream.window_out for stream in server.streams.values()} == {19_999}


def test_settings_that_move_many_windows_cost_their_peer_more() -> None:
    server = Server()
    server.send(*(opening(1 + 2 * i) for i in range(MAX_STREAMS)))
    times = 0
    while not server.closed:
        server.send(settings({frames.INITIAL_WINDOW_SIZE: times}))
        times += 1
    assert times < CAPACITY / 16
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM
    assert {stream.losses for stream in server.streams.values()} == {1}


def settings_of(*each: tuple[int, int]) -> bytes:
    return frame(frames.SETTINGS, 0, 0, b"".join(frames.SETTING.pack(*one) for one in each))


# Streams


def test_a_request_that_breaks_http_s_rules_never_becomes_a_stream() -> None:
    server = Server()
    server.send(opening(1, block=block_of((b":method", b"POST"))))
    assert server.told() == [(frames.RST_STREAM, 0, 1, struct.pack(">L", ErrorCode.PROTOCOL_ERROR))]
    promised = REQUEST + block_of((b"content-length", b"1"))
    server.send(opening(3, frames.END_HEADERS | frames.END_STREAM, promised))
    assert server.told() == [(frames.RST_STREAM, 0, 3, struct.pack(">L", ErrorCode.PROTOCOL_ERROR))]
    while not server.closed:  # nor where that ends the connection
        server.send(opening(server.connection._last_stream + 2, block=b""))
    assert not server.streams


def test_a_header_block_has_a_limit_also_in_one_frame() -> None:
    server = Server()
    block = REQUEST + block_of((b"x", b"y" * 1000)) * 70
    server.send(opening(1, block=block))
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM


def test_decoding_is_paid_for_by_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    spent_s = iter(x * 0.01 for x in range(100_000))  # a hundredth of a second of computing for each block
    monkeypatch.setattr("workbench.http2.connection.thread_time", lambda: next(spent_s))
    charged: list[float] = []
    server = Server(charge_address=lambda cost: charged.append(cost) is None)
    blocks = 0
    while not server.closed:
        # Blocks that differ, of a stream that is not served any more.
        server.send(
            frame(frames.HEADERS, frames.END_HEADERS, 2 * blocks + 1, REQUEST + block_of((b"x", b"%d" % blocks)))
        )
        blocks += 1
    assert CAPACITY / 101 - 1 <= blocks <= CAPACITY / 100 + 1
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM
    assert sum(charged) >= CAPACITY - 200


def test_data_in_flight_to_refused_streams_is_tolerated() -> None:
    server = Server(Refuses)
    for number in range(1, 600, 2):
        server.send(opening(number), *(data(number, bytes(16384)) for _ in range(STREAM_WINDOW // 16384)))
    assert not server.closed
    while not server.closed:  # but not useless frames
        server.send(data(599, b"a"))
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM


def test_an_answer_before_the_whole_request_tells_the_client_to_stop_sending() -> None:
    for make in (Refuses, Early):
        server = Server(make)
        server.send(opening(1))
        *_, (kind, flags, _, _), last = server.told()
        assert (kind, flags & frames.END_STREAM) == (frames.HEADERS, frames.END_STREAM)
        assert last == (frames.RST_STREAM, 0, 1, struct.pack(">L", ErrorCode.NO_ERROR))
        server.send(data(1, b"rest", frames.END_STREAM), window_update(1, 5))
        assert server.told() == []
        assert server.streams[1].losses == 0


def resets(server: Server, number: int) -> list[int]:
    return [
        struct.unpack(">L", payload)[0]
        for kind, _, each, payload in server.told()
        if (kind, each) == (frames.RST_STREAM, number)
    ]


@pytest.mark.parametrize(
    "more",
    [
        [data(1, b"too much", frames.END_STREAM)],
        [data(1, b"li", 0), data(1, b"", frames.END_STREAM)],
        [data(1, b"li"), opening(1, frames.END_HEADERS | frames.END_STREAM, block_of((b"x", b"1")))],
        [data(1, b"full"), opening(1, frames.END_HEADERS, block_of((b"x", b"1")))],
        [data(1, b"full"), opening(1, frames.END_HEADERS | frames.END_STREAM)],
    ],
    ids=["longer", "shorter", "shorter, with trailers", "trailers that do not end it", "trailers that begin another"],
)
def test_a_body_that_does_not_match_its_head_resets_the_stream(more: list[bytes]) -> None:
    server = Server()
    server.send(opening(1, block=REQUEST + block_of((b"content-length", b"4"))), *more)
    assert resets(server, 1) == [ErrorCode.PROTOCOL_ERROR]
    assert (server.streams[1].losses, server.streams[1].whole, server.closed) == (1, False, 0)


def test_a_body_may_end_with_trailers() -> None:
    server = Server()
    server.send(opening(1, block=REQUEST + block_of((b"content-length", b"4"))), data(1, b"full"))
    server.send(opening(1, frames.END_HEADERS | frames.END_STREAM, block_of((b"x", b"1"))))
    assert (server.streams[1].whole, server.streams[1].body) == (True, b"full")
    server.send(data(1, b"more"))
    assert resets(server, 1) == [ErrorCode.STREAM_CLOSED]
    assert server.streams[1].losses == 1


# Windows


class Keeps(Noted):
    """Frees nothing."""

    def on_data(self, data: bytes, ended: bool) -> None:
        self.body += data


def test_data_beyond_the_window_of_a_stream_resets_it() -> None:
    server = Server(Keeps)
    server.send(opening(1), *(data(1, bytes(1 << 16)) for _ in range(STREAM_WINDOW >> 16)))
    assert server.told() == []
    server.send(data(1, b"a"))
    assert resets(server, 1) == [ErrorCode.FLOW_CONTROL_ERROR]
    assert (len(server.streams[1].body), server.streams[1].losses) == (STREAM_WINDOW, 1)


def test_windows_open_by_halves_for_freed_data_and_for_padding() -> None:
    server = Server(Keeps)
    server.send(opening(1))
    stream = server.streams[1]
    padded = data(1, b"\xff" + bytes(256), frames.PADDED)  # one byte of a body, and 256 around it
    for _ in range(STREAM_WINDOW // 2 // 256 - 1):
        server.send(padded)
    assert server.told() == []
    server.send(padded)
    assert server.told() == [(frames.WINDOW_UPDATE, 0, 1, struct.pack(">L", STREAM_WINDOW // 2))]
    assert stream.window_in == STREAM_WINDOW - len(stream.body)
    for _ in range(STREAM_WINDOW // 2 // 256):
        server.send(padded)
    assert server.told() == [(frames.WINDOW_UPDATE, 0, 1, struct.pack(">L", STREAM_WINDOW // 2))]
    assert stream.window_in == STREAM_WINDOW - len(stream.body)


def test_the_window_of_the_connection_is_refilled_whether_or_not_streams_read() -> None:
    server = Server(Refuses)
    server.send(opening(1))
    server.told()
    for _ in range(CONNECTION_WINDOW // 2 // (1 << 17)):
        server.send(data(1, bytes(1 << 17)))
    server.send(data(1, b"a"))
    assert server.told() == [(frames.WINDOW_UPDATE, 0, 0, struct.pack(">L", CONNECTION_WINDOW // 2 + 1))]


def test_streams_that_wait_for_the_connection_s_window_take_turns() -> None:
    server = Server(Noted, {frames.INITIAL_WINDOW_SIZE: 1 << 20})
    for number in (1, 3):
        server.send(opening(number, frames.END_HEADERS | frames.END_STREAM))
    server.connection.out.window = 0
    for number in (1, 3):
        server.streams[number].answer(HEAD, bytes(1 << 20), END)
    server.told()
    server.send(window_update(0, 1 << 20))
    sent = [number for kind, _, number, _ in server.told() if kind == frames.DATA]
    assert sent == [1] * 16 + [3] * 16 + [1] * 16 + [3] * 16
    server.send(window_update(0, 1 << 20))
    assert sum(bool(flags & frames.END_STREAM) for _, flags, _, _ in server.told()) == 2


# How it ends


def test_after_goaway_and_the_last_answer_nothing_is_read() -> None:
    server = Server()
    server.send(opening(1))
    server.connection.send_goaway()
    server.told()
    server.send(frames.rst_stream(1, ErrorCode.CANCEL), frame(frames.PING, 0, 0, bytes(8)))
    assert (server.closed, server.streams[1].losses) == (1, 1)
    server.send(frame(frames.PING, 0, 0, bytes(8)))
    assert server.told() == []


def test_a_stranger_has_few_streams_until_a_token_comes() -> None:
    server = Server(stranger_streams=2)
    server.send(*map(opening, (1, 3, 5)))
    assert list(server.streams) == [1, 3]
    assert server.told() == [(frames.RST_STREAM, 0, 5, struct.pack(">L", ErrorCode.REFUSED_STREAM))]
    server.connection.trust()
    server.send(*map(opening, range(7, 7 + 2 * MAX_STREAMS, 2)))
    assert len(server.connection.open_streams) == MAX_STREAMS


def test_after_an_announced_goaway_calls_are_served_until_the_peer_has_seen_it() -> None:
    server = Server()
    server.send(opening(1))
    server.connection.announce_goaway()
    (goaway, ping) = server.told()
    assert goaway[0] == frames.GOAWAY
    assert goaway[3] == struct.pack(">LL", frames.STREAM_BITS, ErrorCode.NO_ERROR)
    assert ping[:3] == (frames.PING, 0, 0)
    server.send(opening(3))
    assert list(server.streams) == [1, 3]
    assert not server.connection.leaving
    server.send(frame(frames.PING, frames.ACK, 0, ping[3]))
    assert server.left() == (3, ErrorCode.NO_ERROR)
    assert server.connection.leaving
    server.send(opening(5))
    assert server.told() == [(frames.RST_STREAM, 0, 5, struct.pack(">L", ErrorCode.REFUSED_STREAM))]


def test_a_second_goaway_names_no_later_stream() -> None:
    server = Server()
    server.send(opening(1))
    server.connection.send_goaway()
    assert server.left() == (1, ErrorCode.NO_ERROR)
    server.send(opening(3), frame(frames.PING, 0, 1, bytes(8)))
    assert server.left() == (1, ErrorCode.PROTOCOL_ERROR)
    assert (server.closed, server.streams[1].losses, list(server.streams)) == (1, 1, [1])


# A client that keeps the rules


class Talk:
    """A random conversation with `h2` as the client, which checks windows, frame sizes and states. Bytes travel in
    pieces of any size."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.server = Server(greeted=False)
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.client.initiate_connection()
        self.sent: dict[int, bytearray] = {}
        self.done: set[int] = set()
        """Streams that the client has ended or cancelled."""
        self.cancelled: set[int] = set()
        self.answers: dict[int, bytes] = {}
        self.got: dict[int, bytearray] = {}
        self.ended: Counter[int] = Counter()
        self.unread: list[tuple[int, int]] = []
        """(bytes, stream) that the client has not acknowledged yet."""
        self.travel()
        self.server.wrote = self.wrote

    def step(self) -> None:
        weights = {
            self.begins: 3,
            self.sends: 6,
            self.ends_with_trailers: 1,
            self.cancels: 0.5,
            self.pings: 0.5,
            self.changes_settings: 1,
            self.makes_room: 5,
            self.answers_one: 4,
            self.server.connection.pause: 1,
            self.server.connection.resume: 2,
            self.travel: 6,
        }
        (action,) = self.chance.choices(list(weights), list(weights.values()))
        action()

    # What the client does

    def some(self) -> int | None:
        """A request that is not finished."""
        open_ = [number for number in self.sent if number not in self.done]
        return self.chance.choice(open_) if open_ else None

    def size(self) -> int:
        return self.chance.choice([0, 1, 100, 5000, 16_384, 20_000, 70_000, 200_000])

    def begins(self) -> None:
        number = self.client.get_next_available_stream_id()
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"me")]
        ended = self.chance.random() < 0.3
        self.client.send_headers(number, [*fields, (b"name", self.chance.choice([b"a", b"b", b"c" * 40]))], ended)
        self.sent[number], self.got[number] = bytearray(), bytearray()
        if ended:
            self.done.add(number)

    def sends(self) -> None:
        if (number := self.some()) is None:
            return
        room = min(self.client.local_flow_control_window(number), self.client.max_outbound_frame_size)
        padding = self.chance.choice([None, None, 0, 255])
        if padding is not None and padding >= room:
            padding = None
        payload = self.chance.randbytes(min(self.size(), room - (0 if padding is None else padding + 1)))
        ended = self.chance.random() < 0.3
        self.client.send_data(number, payload, ended, padding)
        self.sent[number] += payload
        if ended:
            self.done.add(number)

    def ends_with_trailers(self) -> None:
        if (number := self.some()) is not None:
            self.client.send_headers(number, [(b"x-checksum", b"1")], True)
            self.done.add(number)

    def cancels(self) -> None:
        left = [number for number in self.sent if number not in self.cancelled and not self.ended[number]]
        if left:
            number = self.chance.choice(left)
            self.client.reset_stream(number)
            self.cancelled.add(number)
            self.done.add(number)

    def pings(self) -> None:
        self.client.ping(b"12345678")

    def changes_settings(self) -> None:
        change = {
            SettingCodes.INITIAL_WINDOW_SIZE: self.chance.choice([0, 1, 100, 65_535, 1 << 20]),
            SettingCodes.MAX_FRAME_SIZE: self.chance.choice([1 << 14, 1 << 15, 1 << 20]),
            SettingCodes.HEADER_TABLE_SIZE: self.chance.choice([0, 100, 4096, 1 << 16]),
        }
        self.client.update_settings(change)

    def makes_room(self) -> None:
        most = self.chance.randint(0, 8)
        for size, number in self.unread[:most]:
            self.client.acknowledge_received_data(size, number)
        del self.unread[:most]

    # What the server does

    def answers_one(self) -> None:
        """Possibly before the whole request has come."""
        left = [each for each in self.server.streams.values() if each.number not in self.answers and not each.losses]
        if not left:
            return
        stream = self.chance.choice(left)
        bodies = [self.chance.randbytes(self.size()) for _ in range(self.chance.randint(0, 4))]
        self.answers[stream.number] = b"".join(bodies)
        if self.chance.random() < 0.5:
            stream.answer(HEAD, b"".join(bodies), END)
            return
        stream.send_head(HEAD)
        for body in bodies:
            stream.send((body,))
        stream.end(END)

    # What lies between them

    def wrote(self) -> None:
        """The transport's buffer is full, or (with TLS, at once) has room again."""
        connection = self.server.connection
        if not connection.out.paused:
            if self.chance.random() < 0.1:
                connection.pause()
        elif self.chance.random() < 0.3:
            connection.resume()

    def travel(self) -> None:
        out, step = self.client.data_to_send(), self.chance.choice([1, 7, 100, 1 << 14, 1 << 20])
        step = max(step, len(out) // 200)
        for at in range(0, len(out), step):
            self.server.send(out[at : at + step])
        # One by one: `h2` applies the frame sizes of settings only from its next call on.
        for written in self.server.written:
            for event in self.client.receive_data(written):
                self.told(event)
        self.server.written.clear()

    def told(self, event: object) -> None:
        assert not isinstance(event, events.ConnectionTerminated), event
        if isinstance(event, events.DataReceived):
            self.got[event.stream_id] += event.data
            self.unread.append((event.flow_controlled_length, event.stream_id))
        elif isinstance(event, events.StreamEnded):
            self.ended[event.stream_id] += 1
        elif isinstance(event, events.StreamReset):
            assert (event.error_code, self.ended[event.stream_id]) == (ErrorCode.NO_ERROR, 1)
            self.done.add(event.stream_id)

    def finish(self) -> None:
        connection = self.server.connection
        self.server.wrote = None
        connection.resume()
        while (number := self.some()) is not None:
            self.client.end_stream(number)
            self.done.add(number)
        self.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        for _ in range(1000):
            self.travel()
            self.answers_one()
            if not (connection._streams or self.unread or self.client._data_to_send or self.server.written):
                break
            self.makes_room()
        assert not connection._streams
        assert not connection.out._blocked
        assert not self.server.closed
        assert connection._window_in == self.client.outbound_flow_control_window
        assert connection.out.window == self.client._inbound_flow_control_window_manager.current_window_size
        assert set(self.server.streams) == set(self.sent)
        for number, stream in self.server.streams.items():
            assert stream.ended
            assert not stream.blocked
            assert len(stream.heads) == 1
            assert self.sent[number].startswith(stream.body)
            if number in self.cancelled:
                assert stream.losses <= 1
                continue
            assert stream.losses == 0
            assert self.ended[number] == 1
            assert self.got[number] == self.answers[number]


def converse(chance: random.Random) -> None:
    talk = Talk(chance)
    for _ in range(chance.randint(1, 200)):
        talk.step()
    talk.finish()


RANDOMS = hypothesis.given(st.randoms(use_true_random=True))

test_a_client_that_keeps_the_rules_gets_each_answer_once = hypothesis.settings(max_examples=50)(RANDOMS(converse))
test_such_a_client_for_longer = long(hypothesis.settings(max_examples=1_000)(RANDOMS(converse)))


class Mixed(Noted):
    """By its number, answers a whole request, at once, or never."""

    def on_headers(self, head: H2RequestHead, ended: bool) -> None:
        super().on_headers(head, ended)
        if self.number % 8 == 5 or (ended and self.number % 8 != 7):
            self.answer(HEAD, bytes(100), END)

    def on_data(self, data: bytes, ended: bool) -> None:
        super().on_data(data, ended)
        if ended and self.number % 8 == 1:
            self.answer(HEAD, bytes(self.body) * 100, END)
        elif self.number % 8 == 3:
            if not self.blocked and len(self.body) == len(data):
                self.send_head(HEAD)
            self.send((data, data))
            if ended:
                self.end(END)


numbers = st.sampled_from([0, 1, 3, 5, 7, 9, 11, 2, (1 << 31) + 1, (1 << 31) - 1])
payloads = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            REQUEST,
            REQUEST + block_of((b"content-length", b"10")),
            REQUEST + block_of((b"Odd", b"name")),
            REQUEST[:-1],
            block_of((b"x", b"trailer")),
            b"\x40\x01a\x01b" + REQUEST,
            b"\x20" + REQUEST,
            b"\x03" + REQUEST + bytes(3),
            bytes(5) + REQUEST,
            bytes(4),
            bytes(8),
            bytes(10),
            bytes(20_000),
            struct.pack(">L", 1),
            struct.pack(">L", frames.LARGEST_WINDOW),
            struct.pack(">HL", frames.INITIAL_WINDOW_SIZE, 0),
            struct.pack(">HLHL", frames.INITIAL_WINDOW_SIZE, 1 << 20, frames.MAX_FRAME_SIZE, 1 << 15),
            struct.pack(">HLHL", frames.HEADER_TABLE_SIZE, 0, frames.INITIAL_WINDOW_SIZE, 100),
            struct.pack(">HL", frames.INITIAL_WINDOW_SIZE, 1 << 31),
        ]
    ),
)
right = st.one_of(
    st.tuples(st.just(frames.HEADERS), st.sampled_from([4, 5]), numbers, st.just(REQUEST)),
    st.tuples(st.just(frames.DATA), st.sampled_from([0, 1]), numbers, st.binary(max_size=40)),
    st.tuples(st.just(frames.WINDOW_UPDATE), st.just(0), numbers, st.sampled_from([bytes((0, 0, 4, 0)), bytes(4)])),
    st.tuples(st.just(frames.RST_STREAM), st.just(0), numbers, st.just(bytes(4))),
)
anything = st.tuples(st.integers(0, 11), st.sampled_from([0, 1, 4, 5, 8, 9, 12, 0x24, 0x2D, 255]), numbers, payloads)
edits = st.tuples(st.sampled_from(["flip", "insert", "delete", "double"]), st.floats(0, 1), st.binary(max_size=8))


def edited(data: bytes, how: str, where: float, what: bytes) -> bytes:
    at = int(where * len(data))
    before, after = data[:at], data[at:]
    if how == "insert":
        return before + what + after
    if how == "delete":
        return before + after[len(what) :]
    if how == "double":
        return data + after[: 100 * len(what)]
    return before + bytes(a ^ b for a, b in zip(after, what, strict=False)) + after[len(what) :]


def held_to(server: Server, parts: list[bytes]) -> None:
    """Whatever is received, nothing is raised, and each stream that began ends exactly once."""
    connection = server.connection
    ends: Counter[int] = Counter()
    for part in parts:
        server.send(part)
        assert all(not stream.ended for stream in connection._streams.values())
        assert set(connection.out._blocked) <= set(connection._streams)
        assert connection.closed == bool(server.closed) <= 1
        assert connection.out.window <= frames.LARGEST_WINDOW or connection.closed
        if b"".join(server.written).endswith(b"first byte on.\n"):
            assert not server.streams
            return
        for kind, flags, number, _ in server.told():
            ends[number] += kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM
            last = kind
        assert not server.closed or last == frames.GOAWAY
    connection.connection_lost()
    assert not connection._streams
    for number, stream in server.streams.items():
        assert len(stream.heads) == 1
        assert stream.ended
        assert ends[number] + stream.losses == 1


def in_pieces(each: list[Frame], chance: random.Random) -> None:
    parts = []
    for frame_ in each:
        data = frame(*frame_)
        at = chance.randint(0, len(data))
        parts += [data[:at], data[at:]]
    held_to(Server(Mixed), parts)


def damaged(each: list[Frame], damage: list[tuple[str, float, bytes]], chance: random.Random) -> None:
    data = frames.PREFACE + settings({frames.INITIAL_WINDOW_SIZE: 50}) + b"".join(frame(*one) for one in each)
    for one in damage:
        data = edited(data, *one)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(5))
    held_to(Server(Mixed, greeted=False), [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])


FRAMES = hypothesis.given(st.lists(st.one_of(right, right, anything), max_size=40), st.randoms())
DAMAGE = hypothesis.given(
    st.lists(right, min_size=3, max_size=20), st.lists(edits, min_size=1, max_size=4), st.randoms()
)

test_frames_of_any_kind_harm_nothing = hypothesis.settings(max_examples=100)(FRAMES(in_pieces))
test_frames_of_any_kind_harm_nothing_for_longer = long(hypothesis.settings(max_examples=3_000)(FRAMES(in_pieces)))
test_damaged_bytes_harm_nothing = hypothesis.settings(max_examples=80)(DAMAGE(damaged))
test_damaged_bytes_harm_nothing_for_longer = long(hypothesis.settings(max_examples=3_000)(DAMAGE(damaged)))
