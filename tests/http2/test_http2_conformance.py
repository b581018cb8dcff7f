"""Frames and streams by RFC 9113: what a client may do, and what ends a stream or the whole connection.

The cases follow h2spec's list.
"""

from __future__ import annotations

import struct

import pytest

from tests.http2.cases import (
    ANSWERED,
    CALL,
    EMPTY,
    LIVES,
    MALFORMED,
    OTHER_END,
    WATCHING,
    Case,
    calls,
    check,
    connection,
    stream,
)
from tests.http2.raw import (
    ACK,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME,
    GOAWAY,
    HAS_PRIORITY,
    INITIAL_WINDOW_SIZE,
    LARGEST,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    WINDOW_UPDATE,
    Frame,
    Peer,
    continuation,
    data,
    headers,
    literal,
    ping,
    reset,
    settings,
    window_update,
)
from tests.http2.service import IS_LIVE

CASES = [
    # 4.1 Frame format
    Case(
        "an unknown type is passed over", [Frame(0x16, 0xFF, 0, b"?" * 100), Frame(0xFF, 0, 7, b""), *calls()], ANSWERED
    ),
    Case("an unknown flag of a ping is passed over", [ping(flags=0x16), *calls()], ANSWERED),
    Case(
        "unknown flags of headers are passed over",
        [headers(1, CALL, END_HEADERS | 0xD2), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    Case(
        "unknown flags of data are passed over", [headers(1, CALL), Frame(DATA, 0xF6 | END_STREAM, 1, EMPTY)], ANSWERED
    ),
    Case(
        "the reserved bit of a stream is passed over",
        [headers(1 | 1 << 31, CALL), data(1 | 1 << 31, EMPTY, end=True)],
        ANSWERED,
    ),
    Case(
        "the reserved bit of a window is passed over",
        [headers(1, CALL), window_update(1, 5 | 1 << 31), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    # 4.2 Frame size
    Case(
        "DATA over MAX_FRAME_SIZE",
        [headers(1, CALL), data(1, bytes(1 << 24)[: (1 << 24) - 1])],
        connection("FRAME_SIZE_ERROR") + stream("FRAME_SIZE_ERROR"),
    ),
    Case(
        "HEADERS over MAX_FRAME_SIZE",
        [headers(1, CALL + literal(b"x", b"1" * ((1 << 24) - 1 - len(CALL) - 8)))],
        connection("FRAME_SIZE_ERROR"),
    ),
    Case("SETTINGS over MAX_FRAME_SIZE", [settings([(99, 0)] * 2_796_202)], connection("FRAME_SIZE_ERROR")),
    # 5.1 Stream states
    Case("DATA on an idle stream", [data(1, EMPTY, end=True)], connection("PROTOCOL_ERROR")),
    Case("RST_STREAM on an idle stream", [reset(1)], connection("PROTOCOL_ERROR")),
    Case("WINDOW_UPDATE on an idle stream", [window_update(1, 5)], connection("PROTOCOL_ERROR")),
    Case("CONTINUATION on an idle stream", [continuation(1, CALL)], connection("PROTOCOL_ERROR")),
    Case("PRIORITY on an idle stream", [Frame(PRIORITY, 0, 1, bytes(5))], LIVES),
    Case("DATA on an idle stream after a higher one", [*calls(5), data(7, b"")], connection("PROTOCOL_ERROR")),
    Case(
        "DATA after END_STREAM, while the answer goes on",
        [headers(1, WATCHING), data(1, EMPTY, end=True), data(1, EMPTY)],
        stream("STREAM_CLOSED") + connection("STREAM_CLOSED"),
    ),
    Case(
        "HEADERS after END_STREAM, while the answer goes on",
        [headers(1, WATCHING), data(1, EMPTY, end=True), headers(1, CALL, OTHER_END)],
        stream("STREAM_CLOSED") + connection("STREAM_CLOSED"),
    ),
    Case(
        "CONTINUATION after END_STREAM",
        [headers(1, WATCHING), data(1, EMPTY, end=True), continuation(1, CALL)],
        connection("PROTOCOL_ERROR", "STREAM_CLOSED"),
    ),
    Case(
        "HEADERS that end the stream, then DATA",
        [headers(1, WATCHING, OTHER_END), data(1, EMPTY)],
        ANSWERED + stream("STREAM_CLOSED") + connection("STREAM_CLOSED"),
    ),
    Case(
        "HEADERS after RST_STREAM",
        [headers(1, CALL), reset(1), headers(1, CALL)],
        connection("STREAM_CLOSED", "PROTOCOL_ERROR") + stream("STREAM_CLOSED"),
    ),
    Case(
        "CONTINUATION after RST_STREAM",
        [headers(1, CALL), reset(1), continuation(1, CALL)],
        connection("PROTOCOL_ERROR", "STREAM_CLOSED"),
    ),
    Case("RST_STREAM twice", [headers(1, CALL), reset(1), reset(1), *calls(3)], ("stream 3 is answered 200",)),
    Case(
        "WINDOW_UPDATE after RST_STREAM",
        [headers(1, CALL), reset(1), window_update(1, 5), *calls(3)],
        ("stream 3 is answered 200",),
    ),
    Case(
        "PRIORITY after RST_STREAM",
        [headers(1, CALL), reset(1), Frame(PRIORITY, 0, 1, bytes(5)), *calls(3)],
        ("stream 3 is answered 200",),
    ),
    # 5.1.1 Stream identifiers
    Case("an even stream", calls(2), connection("PROTOCOL_ERROR")),
    Case("HEADERS on stream 0", calls(0), connection("PROTOCOL_ERROR")),
    Case("a stream below one before", [*calls(5), *calls(3)], connection("PROTOCOL_ERROR", "STREAM_CLOSED")),
    Case("the highest stream there is", calls(LARGEST), (f"stream {LARGEST} is answered 200",)),
    # 5.3 Priority
    Case(
        "HEADERS with a priority",
        [headers(1, bytes(5) + CALL, END_HEADERS | HAS_PRIORITY), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    Case(
        "HEADERS that depend on themselves",
        [headers(1, b"\0\0\0\1\1" + CALL, END_HEADERS | HAS_PRIORITY), data(1, EMPTY, end=True)],
        ANSWERED + MALFORMED + connection("PROTOCOL_ERROR"),
    ),
    Case(
        "HEADERS whose priority is cut off",
        [headers(1, b"\0\0\0\0", END_HEADERS | HAS_PRIORITY)],
        connection("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"),
    ),
    Case(
        "PRIORITY of a stream on itself",
        [headers(1, CALL), Frame(PRIORITY, 0, 1, b"\0\0\0\1\1"), data(1, EMPTY, end=True)],
        ANSWERED + MALFORMED + connection("PROTOCOL_ERROR"),
    ),
    Case("PRIORITY on stream 0", [Frame(PRIORITY, 0, 0, bytes(5))], connection("PROTOCOL_ERROR")),
    Case(
        "PRIORITY of four bytes",
        [headers(1, CALL), Frame(PRIORITY, 0, 1, bytes(4))],
        stream("FRAME_SIZE_ERROR") + connection("FRAME_SIZE_ERROR"),
    ),
    Case(
        "PRIORITY of six bytes",
        [headers(1, CALL), Frame(PRIORITY, 0, 1, bytes(6))],
        stream("FRAME_SIZE_ERROR") + connection("FRAME_SIZE_ERROR"),
    ),
    # 6.1 DATA
    Case("DATA on stream 0", [headers(1, CALL), data(0, EMPTY)], connection("PROTOCOL_ERROR")),
    Case(
        "DATA with padding", [headers(1, CALL), Frame(DATA, PADDED | END_STREAM, 1, b"\7" + EMPTY + bytes(7))], ANSWERED
    ),
    Case(
        "DATA with nothing but padding",
        [headers(1, CALL), Frame(DATA, PADDED, 1, b"\7" + bytes(7)), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    Case("DATA with padding of none", [headers(1, CALL), Frame(DATA, PADDED | END_STREAM, 1, b"\0" + EMPTY)], ANSWERED),
    Case(
        "DATA with padding as long as all",
        [headers(1, CALL), Frame(DATA, PADDED | END_STREAM, 1, b"\6" + EMPTY)],
        connection("PROTOCOL_ERROR"),
    ),
    Case(
        "padded DATA of no byte",
        [headers(1, CALL), Frame(DATA, PADDED | END_STREAM, 1)],
        connection("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"),
    ),
    # 6.2 HEADERS
    Case(
        "HEADERS with padding",
        [headers(1, b"\3" + CALL + bytes(3), END_HEADERS | PADDED), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    Case(
        "HEADERS with padding and a priority",
        [headers(1, b"\3" + bytes(5) + CALL + bytes(3), END_HEADERS | PADDED | HAS_PRIORITY), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    Case(
        "HEADERS with padding as long as all",
        [headers(1, bytes([200]) + CALL[:150], END_HEADERS | PADDED)],
        connection("PROTOCOL_ERROR"),
    ),
    Case(
        "HEADERS whose padding leaves no room for the priority",
        [headers(1, b"\4" + bytes(8), END_HEADERS | PADDED | HAS_PRIORITY)],
        connection("PROTOCOL_ERROR", "FRAME_SIZE_ERROR"),
    ),
    Case(
        "padded HEADERS of no byte",
        [headers(1, b"", END_HEADERS | PADDED)],
        connection("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"),
    ),
    Case(
        "HEADERS of another stream amid a block",
        [headers(1, CALL[:9], 0), headers(3, CALL)],
        connection("PROTOCOL_ERROR"),
    ),
    # 6.4 RST_STREAM
    Case("RST_STREAM on stream 0", [reset(0)], connection("PROTOCOL_ERROR")),
    Case(
        "RST_STREAM of three bytes",
        [headers(1, CALL), Frame(RST_STREAM, 0, 1, bytes(3))],
        connection("FRAME_SIZE_ERROR"),
    ),
    Case(
        "RST_STREAM of five bytes",
        [headers(1, CALL), Frame(RST_STREAM, 0, 1, bytes(5))],
        connection("FRAME_SIZE_ERROR"),
    ),
    Case(
        "RST_STREAM with an unknown code",
        [headers(1, CALL), reset(1, 0xFFFFFFFF), *calls(3)],
        ("stream 3 is answered 200",),
    ),
    # 6.5 SETTINGS
    Case("SETTINGS of none", [settings(), *calls()], ANSWERED),
    Case("SETTINGS that nobody knows", [settings({0x99: 1, 0xFFFF: LARGEST, 0: 7, 8: 1}), *calls()], ANSWERED),
    Case("SETTINGS on a stream", [Frame(SETTINGS, 0, 1)], connection("PROTOCOL_ERROR")),
    Case("SETTINGS of five bytes", [Frame(SETTINGS, 0, 0, bytes(5))], connection("FRAME_SIZE_ERROR")),
    Case("SETTINGS of seven bytes", [Frame(SETTINGS, 0, 0, bytes(7))], connection("FRAME_SIZE_ERROR")),
    Case("an acknowledgement with settings", [Frame(SETTINGS, ACK, 0, bytes(6))], connection("FRAME_SIZE_ERROR")),
    Case("an acknowledgement on a stream", [Frame(SETTINGS, ACK, 1)], connection("PROTOCOL_ERROR")),
    Case("ENABLE_PUSH of 2", [settings({ENABLE_PUSH: 2})], connection("PROTOCOL_ERROR")),
    Case("ENABLE_PUSH of 0 and 1", [settings([(ENABLE_PUSH, 0), (ENABLE_PUSH, 1)]), *calls()], ANSWERED),
    Case(
        "INITIAL_WINDOW_SIZE of 2^31", [settings({INITIAL_WINDOW_SIZE: LARGEST + 1})], connection("FLOW_CONTROL_ERROR")
    ),
    Case("INITIAL_WINDOW_SIZE of the most", [settings({INITIAL_WINDOW_SIZE: LARGEST}), *calls()], ANSWERED),
    Case(
        "INITIAL_WINDOW_SIZE that makes a window too large",
        [headers(1, CALL), window_update(1, LARGEST - WINDOW), settings({INITIAL_WINDOW_SIZE: WINDOW + 1})],
        connection("FLOW_CONTROL_ERROR"),
    ),
    Case("MAX_FRAME_SIZE below 2^14", [settings({MAX_FRAME_SIZE: FRAME - 1})], connection("PROTOCOL_ERROR")),
    Case("MAX_FRAME_SIZE over 2^24 - 1", [settings({MAX_FRAME_SIZE: 1 << 24})], connection("PROTOCOL_ERROR")),
    Case("MAX_FRAME_SIZE of the most", [settings({MAX_FRAME_SIZE: (1 << 24) - 1}), *calls()], ANSWERED),
    Case(
        "MAX_CONCURRENT_STREAMS of 0, which are ours to be pushed",
        [settings({MAX_CONCURRENT_STREAMS: 0}), *calls()],
        ANSWERED,
    ),
    Case("MAX_HEADER_LIST_SIZE, which is advice", [settings({MAX_HEADER_LIST_SIZE: 1}), *calls()], ANSWERED),
    Case(
        "many settings, the last of which holds",
        [settings([(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 9_000)]), *calls()],
        ANSWERED,
    ),
    # 6.6 PUSH_PROMISE
    Case(
        "PUSH_PROMISE from a client",
        [headers(1, CALL), Frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + CALL)],
        connection("PROTOCOL_ERROR"),
    ),
    # 6.7 PING
    Case("PING of seven bytes", [ping(bytes(7))], connection("FRAME_SIZE_ERROR")),
    Case("PING of nine bytes", [ping(bytes(9))], connection("FRAME_SIZE_ERROR")),
    Case("PING on a stream", [headers(1, CALL), ping(stream=1)], connection("PROTOCOL_ERROR")),
    Case("a pong that nobody asked for", [ping(flags=ACK), *calls()], ANSWERED),
    # 6.8 GOAWAY
    Case("GOAWAY on a stream", [headers(1, CALL), Frame(GOAWAY, 0, 1, bytes(8))], connection("PROTOCOL_ERROR")),
    Case("GOAWAY of seven bytes", [Frame(GOAWAY, 0, 0, bytes(7))], connection("FRAME_SIZE_ERROR")),
    # 6.9 WINDOW_UPDATE
    Case("WINDOW_UPDATE of 0", [window_update(0, 0)], connection("PROTOCOL_ERROR")),
    Case(
        "WINDOW_UPDATE of 0 on a stream",
        [headers(1, CALL), window_update(1, 0)],
        stream("PROTOCOL_ERROR") + connection("PROTOCOL_ERROR"),
    ),
    Case("WINDOW_UPDATE of three bytes", [Frame(WINDOW_UPDATE, 0, 0, bytes(3))], connection("FRAME_SIZE_ERROR")),
    Case(
        "WINDOW_UPDATE of five bytes on a stream",
        [headers(1, CALL), Frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1\0")],
        connection("FRAME_SIZE_ERROR"),
    ),
    Case(
        "windows of the most",
        [
            headers(1, CALL),
            window_update(0, LARGEST - WINDOW),
            window_update(1, LARGEST - WINDOW),
            data(1, EMPTY, end=True),
        ],
        ANSWERED,
    ),
    Case(
        "a connection's window beyond the most",
        [window_update(0, LARGEST - WINDOW), window_update(0, 1)],
        connection("FLOW_CONTROL_ERROR"),
    ),
    Case(
        "a stream's window beyond the most",
        [headers(1, CALL), window_update(1, LARGEST - WINDOW), window_update(1, 1)],
        stream("FLOW_CONTROL_ERROR") + connection("FLOW_CONTROL_ERROR"),
    ),
    # 6.10 CONTINUATION
    Case(
        "a block in many parts",
        [
            headers(1, CALL[:1], 0),
            *(continuation(1, CALL[at : at + 9], end=False) for at in range(1, len(CALL), 9)),
            continuation(1, b""),
            data(1, EMPTY, end=True),
        ],
        ANSWERED,
    ),
    Case(
        "a block in many parts, some empty",
        [
            headers(1, b"", 0),
            continuation(1, b"", end=False),
            continuation(1, CALL, end=False),
            continuation(1, b""),
            data(1, EMPTY, end=True),
        ],
        ANSWERED,
    ),
    Case(
        "padding in the first part of a block",
        [headers(1, b"\2" + CALL[:30] + bytes(2), PADDED), continuation(1, CALL[30:]), data(1, EMPTY, end=True)],
        ANSWERED,
    ),
    Case(
        "END_STREAM on a block in parts",
        [headers(1, WATCHING[:50], END_STREAM), continuation(1, WATCHING[50:]), data(1, b"")],
        ANSWERED + stream("STREAM_CLOSED") + connection("STREAM_CLOSED"),
    ),
    Case(
        "CONTINUATION without HEADERS", [*calls(), continuation(1, CALL)], connection("PROTOCOL_ERROR", "STREAM_CLOSED")
    ),
    Case("CONTINUATION after the block's end", [headers(1, CALL), continuation(1, CALL)], connection("PROTOCOL_ERROR")),
    Case(
        "CONTINUATION of another stream",
        [headers(1, CALL[:30], 0), continuation(3, CALL[30:])],
        connection("PROTOCOL_ERROR"),
    ),
    Case(
        "CONTINUATION on stream 0", [headers(1, CALL[:30], 0), continuation(0, CALL[30:])], connection("PROTOCOL_ERROR")
    ),
    Case("DATA amid a block", [headers(1, CALL[:30], 0), data(1, EMPTY)], connection("PROTOCOL_ERROR")),
    Case("PING amid a block", [headers(1, CALL[:30], 0), ping()], connection("PROTOCOL_ERROR")),
    Case("SETTINGS amid a block", [headers(1, CALL[:30], 0), settings()], connection("PROTOCOL_ERROR")),
    Case(
        "PRIORITY amid a block",
        [headers(1, CALL[:30], 0), Frame(PRIORITY, 0, 1, bytes(5))],
        connection("PROTOCOL_ERROR"),
    ),
    Case("an unknown frame amid a block", [headers(1, CALL[:30], 0), Frame(0x16, 0, 1)], connection("PROTOCOL_ERROR")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_of(case: Case, address: str) -> None:
    check(case, address)


def test_streams_beyond_the_most_are_refused_and_the_others_go_on(address: str) -> None:
    with Peer(address) as peer:
        most = peer.theirs[MAX_CONCURRENT_STREAMS]
        held = range(1, 2 * most, 2)
        for at in range(0, most, 200):
            peer.send(*(headers(number, CALL) for number in held[at : at + 200]))
        beyond = held[-1] + 2
        kept = literal(b"x-kept", b"1", 0x40)
        for number in (beyond, beyond + 2):
            peer.send(headers(number, CALL + kept), data(number, EMPTY, end=True))
            assert peer.answer(number).reset == 7  # REFUSED_STREAM
        assert not any(peer.streams[number].done for number in held)
        peer.send(*(data(number, EMPTY, end=True) for number in held[:50]))
        for number in held[:50]:
            assert peer.answer(number).grpc_status == 0
        peer.send(reset(held[50]))
        # There is room again, and what refused streams put into the table lies there.
        peer.send(*calls(beyond + 4, CALL + b"\xbe"))
        assert peer.answer(beyond + 4).grpc_status == 0
        peer.send(*(data(number, EMPTY, end=True) for number in held[51:]))
        for number in held[51:]:
            assert peer.answer(number).messages == [IS_LIVE]


def test_who_says_goodbye_still_has_its_answers(address: str) -> None:
    with Peer(address) as peer:
        peer.send(headers(1, CALL), headers(3, WATCHING), data(3, EMPTY, end=True))
        peer.send(Frame(GOAWAY, 0, 0, bytes(8) + b"that was all"))
        peer.send(data(1, EMPTY, end=True))
        assert peer.answer(1).messages == [IS_LIVE]
        peer.until(lambda: peer.streams[3].data)
        assert peer.pong()


@pytest.mark.parametrize("payload", [bytes(8), b"\xff" * 8, b"8 bytes."])
def test_a_ping_comes_back_as_it_was(address: str, payload: bytes) -> None:
    with Peer(address) as peer:
        peer.send(ping(payload), ping(payload[::-1]))
        peer.until(lambda: len(peer.pongs) == 2)
        assert peer.pongs == [payload, payload[::-1]]
