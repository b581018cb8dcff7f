"""Frames and streams by RFC 9113: what a client may do, and what ends a stream or the whole connection.

The cases follow h2spec's list. They run against a connection in this process; some of them, and with `-m long` all,
also against the real service over a socket.
"""

from __future__ import annotations

import struct

import pytest

from tests.http2.cases import CALL, EMPTY, END, MALFORMED, OK, OPEN, WATCHING, Case, calls, check
from tests.http2.in_process import echo_peer
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

LAST = END_HEADERS | END_STREAM
RANKED = END_HEADERS | HAS_PRIORITY
WATCHED = headers(1, WATCHING), END
PART = headers(1, CALL[:30], 0)
WIDEST = window_update(1, LARGEST - WINDOW)

CASES: list[Case] = [
    # 4.1 Frame format
    ("unknown types are ignored", [Frame(0x16, 0xFF, 0, b"?" * 100), Frame(0xFF, 0, 7, b""), *calls()], OK),
    ("an unknown flag of a ping is ignored", [ping(flags=0x16), *calls()], OK),
    ("unknown flags of headers are ignored", [headers(1, CALL, END_HEADERS | 0xD2), END], OK),
    ("unknown flags of data are ignored", [OPEN, Frame(DATA, 0xF6 | END_STREAM, 1, EMPTY)], OK),
    ("the reserved bit of a stream is ignored", [headers(1 | 1 << 31, CALL), data(1 | 1 << 31, EMPTY, end=True)], OK),
    ("the reserved bit of a window is ignored", [OPEN, window_update(1, 5 | 1 << 31), END], OK),
    # 4.2 Frame size
    ("DATA over MAX_FRAME_SIZE", [OPEN, data(1, bytes(1 << 24)[: (1 << 24) - 1])], "GOAWAY FRAME_SIZE"),
    (
        "HEADERS over MAX_FRAME_SIZE",
        [headers(1, CALL + literal(b"x", b"1" * ((1 << 24) - 1 - len(CALL) - 8)))],
        "GOAWAY FRAME_SIZE",
    ),
    (
        "SETTINGS over MAX_FRAME_SIZE",
        [Frame(SETTINGS, 0, 0, struct.pack(">HI", 99, 0) * 2_796_202)],
        "GOAWAY FRAME_SIZE",
    ),
    # 5.1 Stream states
    ("DATA on an idle stream", [END], "GOAWAY PROTOCOL"),
    ("RST_STREAM on an idle stream", [reset(1)], "GOAWAY PROTOCOL"),
    ("WINDOW_UPDATE on an idle stream", [window_update(1, 5)], "GOAWAY PROTOCOL"),
    ("CONTINUATION on an idle stream", [continuation(1, CALL)], "GOAWAY PROTOCOL"),
    ("PRIORITY on an idle stream", [Frame(PRIORITY, 0, 1, bytes(5))], "nothing"),
    ("DATA on an idle stream after a higher one", [*calls(5), data(7, b"")], "GOAWAY PROTOCOL"),
    ("DATA after END_STREAM, while the answer goes on", [*WATCHED, data(1, EMPTY)], "RST_STREAM 1 STREAM_CLOSED"),
    (
        "HEADERS after END_STREAM, while the answer goes on",
        [*WATCHED, headers(1, CALL, LAST)],
        "RST_STREAM 1 STREAM_CLOSED",
    ),
    ("CONTINUATION after END_STREAM", [*WATCHED, continuation(1, CALL)], "GOAWAY PROTOCOL"),
    (
        "HEADERS that end the stream, then DATA",
        [headers(1, WATCHING, LAST), data(1, EMPTY)],
        OK,
    ),
    ("HEADERS after RST_STREAM", [OPEN, reset(1), OPEN], "GOAWAY STREAM_CLOSED"),
    ("CONTINUATION after RST_STREAM", [OPEN, reset(1), continuation(1, CALL)], "GOAWAY PROTOCOL"),
    ("RST_STREAM twice", [OPEN, reset(1), reset(1), *calls(3)], "stream 3: 200"),
    ("WINDOW_UPDATE after RST_STREAM", [OPEN, reset(1), window_update(1, 5), *calls(3)], "stream 3: 200"),
    ("PRIORITY after RST_STREAM", [OPEN, reset(1), Frame(PRIORITY, 0, 1, bytes(5)), *calls(3)], "stream 3: 200"),
    # 5.1.1 Stream identifiers
    ("an even stream", calls(2), "GOAWAY PROTOCOL"),
    ("HEADERS on stream 0", calls(0), "GOAWAY PROTOCOL"),
    ("a stream below an earlier one", [*calls(5), *calls(3)], "GOAWAY STREAM_CLOSED"),
    ("the highest stream there is", calls(LARGEST), "stream 2147483647: 200"),
    # 5.3 Priority
    ("HEADERS with a priority", [headers(1, bytes(5) + CALL, RANKED), END], OK),
    ("HEADERS that depend on themselves", [headers(1, b"\0\0\0\1\1" + CALL, RANKED), END], "GOAWAY PROTOCOL"),
    ("HEADERS whose priority is cut off", [headers(1, b"\0\0\0\0", RANKED)], "GOAWAY FRAME_SIZE"),
    ("PRIORITY of a stream on itself", [OPEN, Frame(PRIORITY, 0, 1, b"\0\0\0\1\1"), END], "GOAWAY PROTOCOL"),
    ("PRIORITY on stream 0", [Frame(PRIORITY, 0, 0, bytes(5))], "GOAWAY PROTOCOL"),
    ("PRIORITY of four bytes", [OPEN, Frame(PRIORITY, 0, 1, bytes(4))], "GOAWAY FRAME_SIZE"),
    ("PRIORITY of six bytes", [OPEN, Frame(PRIORITY, 0, 1, bytes(6))], "GOAWAY FRAME_SIZE"),
    # 6.1 DATA
    ("DATA on stream 0", [OPEN, data(0, EMPTY)], "GOAWAY PROTOCOL"),
    ("DATA with padding", [OPEN, Frame(DATA, PADDED | END_STREAM, 1, b"\7" + EMPTY + bytes(7))], OK),
    ("DATA with nothing but padding", [OPEN, Frame(DATA, PADDED, 1, b"\7" + bytes(7)), END], OK),
    ("DATA with padding of length 0", [OPEN, Frame(DATA, PADDED | END_STREAM, 1, b"\0" + EMPTY)], OK),
    (
        "DATA with padding as long as the frame",
        [OPEN, Frame(DATA, PADDED | END_STREAM, 1, b"\6" + EMPTY)],
        "GOAWAY PROTOCOL",
    ),
    ("padded DATA, empty", [OPEN, Frame(DATA, PADDED | END_STREAM, 1)], "GOAWAY PROTOCOL"),
    # 6.2 HEADERS
    ("HEADERS with padding", [headers(1, b"\3" + CALL + bytes(3), END_HEADERS | PADDED), END], OK),
    (
        "HEADERS with padding and a priority",
        [headers(1, b"\3" + bytes(5) + CALL + bytes(3), END_HEADERS | PADDED | HAS_PRIORITY), END],
        OK,
    ),
    (
        "HEADERS with padding as long as the frame",
        [headers(1, bytes([200]) + CALL[:150], END_HEADERS | PADDED)],
        "GOAWAY PROTOCOL",
    ),
    (
        "HEADERS whose padding leaves no room for the priority",
        [headers(1, b"\4" + bytes(8), END_HEADERS | PADDED | HAS_PRIORITY)],
        "GOAWAY FRAME_SIZE",
    ),
    ("padded HEADERS, empty", [headers(1, b"", END_HEADERS | PADDED)], "GOAWAY PROTOCOL"),
    ("HEADERS of another stream within a block", [headers(1, CALL[:9], 0), headers(3, CALL)], "GOAWAY PROTOCOL"),
    # 6.4 RST_STREAM
    ("RST_STREAM on stream 0", [reset(0)], "GOAWAY PROTOCOL"),
    ("RST_STREAM of three bytes", [OPEN, Frame(RST_STREAM, 0, 1, bytes(3))], "GOAWAY FRAME_SIZE"),
    ("RST_STREAM of five bytes", [OPEN, Frame(RST_STREAM, 0, 1, bytes(5))], "GOAWAY FRAME_SIZE"),
    ("RST_STREAM with an unknown code", [OPEN, reset(1, 0xFFFFFFFF), *calls(3)], "stream 3: 200"),
    # 6.5 SETTINGS
    ("empty SETTINGS", [settings(), *calls()], OK),
    ("unknown SETTINGS", [settings({0x99: 1, 0xFFFF: LARGEST, 0: 7, 8: 1}), *calls()], OK),
    ("SETTINGS on a stream", [Frame(SETTINGS, 0, 1)], "GOAWAY PROTOCOL"),
    ("SETTINGS of five bytes", [Frame(SETTINGS, 0, 0, bytes(5))], "GOAWAY FRAME_SIZE"),
    ("SETTINGS of seven bytes", [Frame(SETTINGS, 0, 0, bytes(7))], "GOAWAY FRAME_SIZE"),
    ("an acknowledgement with settings", [Frame(SETTINGS, ACK, 0, bytes(6))], "GOAWAY FRAME_SIZE"),
    ("an acknowledgement on a stream", [Frame(SETTINGS, ACK, 1)], "GOAWAY PROTOCOL"),
    ("ENABLE_PUSH of 2", [settings({ENABLE_PUSH: 2})], "GOAWAY PROTOCOL"),
    ("ENABLE_PUSH of 0 and 1", [settings([(ENABLE_PUSH, 0), (ENABLE_PUSH, 1)]), *calls()], OK),
    ("INITIAL_WINDOW_SIZE of 2^31", [settings({INITIAL_WINDOW_SIZE: LARGEST + 1})], "GOAWAY FLOW_CONTROL"),
    ("INITIAL_WINDOW_SIZE of the maximum", [settings({INITIAL_WINDOW_SIZE: LARGEST}), *calls()], OK),
    (
        "INITIAL_WINDOW_SIZE that makes a window too large",
        [OPEN, WIDEST, settings({INITIAL_WINDOW_SIZE: WINDOW + 1})],
        "GOAWAY FLOW_CONTROL",
    ),
    ("MAX_FRAME_SIZE below 2^14", [settings({MAX_FRAME_SIZE: FRAME - 1})], "GOAWAY PROTOCOL"),
    ("MAX_FRAME_SIZE over 2^24 - 1", [settings({MAX_FRAME_SIZE: 1 << 24})], "GOAWAY PROTOCOL"),
    ("MAX_FRAME_SIZE of the maximum", [settings({MAX_FRAME_SIZE: (1 << 24) - 1}), *calls()], OK),
    ("MAX_CONCURRENT_STREAMS of 0, which limits pushes only", [settings({MAX_CONCURRENT_STREAMS: 0}), *calls()], OK),
    ("MAX_HEADER_LIST_SIZE, which is advice", [settings({MAX_HEADER_LIST_SIZE: 1}), *calls()], OK),
    (
        "many settings, the last of which holds",
        [settings([(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 9_000)]), *calls()],
        OK,
    ),
    # 6.6 PUSH_PROMISE
    (
        "PUSH_PROMISE from a client",
        [OPEN, Frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + CALL)],
        "GOAWAY PROTOCOL",
    ),
    # 6.7 PING
    ("PING of seven bytes", [ping(bytes(7))], "GOAWAY FRAME_SIZE"),
    ("PING of nine bytes", [ping(bytes(9))], "GOAWAY FRAME_SIZE"),
    ("PING on a stream", [OPEN, ping(stream=1)], "GOAWAY PROTOCOL"),
    ("an unsolicited pong", [ping(flags=ACK), *calls()], OK),
    # 6.8 GOAWAY
    ("GOAWAY on a stream", [OPEN, Frame(GOAWAY, 0, 1, bytes(8))], "GOAWAY PROTOCOL"),
    ("GOAWAY of seven bytes", [Frame(GOAWAY, 0, 0, bytes(7))], "GOAWAY FRAME_SIZE"),
    # 6.9 WINDOW_UPDATE
    ("WINDOW_UPDATE of 0", [window_update(0, 0)], "GOAWAY PROTOCOL"),
    ("WINDOW_UPDATE of 0 on a stream", [OPEN, window_update(1, 0)], MALFORMED),
    ("WINDOW_UPDATE of three bytes", [Frame(WINDOW_UPDATE, 0, 0, bytes(3))], "GOAWAY FRAME_SIZE"),
    ("WINDOW_UPDATE of five bytes on a stream", [OPEN, Frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1\0")], "GOAWAY FRAME_SIZE"),
    ("windows of the maximum", [OPEN, window_update(0, LARGEST - WINDOW), WIDEST, END], OK),
    (
        "a connection's window beyond the maximum",
        [window_update(0, LARGEST - WINDOW), window_update(0, 1)],
        "GOAWAY FLOW_CONTROL",
    ),
    ("a stream's window beyond the maximum", [OPEN, WIDEST, window_update(1, 1)], "RST_STREAM 1 FLOW_CONTROL"),
    # 6.10 CONTINUATION
    (
        "a block in many parts",
        [
            headers(1, CALL[:1], 0),
            *(continuation(1, CALL[at : at + 9], end=False) for at in range(1, len(CALL), 9)),
            continuation(1, b""),
            END,
        ],
        OK,
    ),
    (
        "a block in many parts, some empty",
        [
            headers(1, b"", 0),
            continuation(1, b"", end=False),
            continuation(1, CALL, end=False),
            continuation(1, b""),
            END,
        ],
        OK,
    ),
    (
        "padding in the first part of a block",
        [headers(1, b"\2" + CALL[:30] + bytes(2), PADDED), continuation(1, CALL[30:]), END],
        OK,
    ),
    (
        "END_STREAM on a block in parts",
        [headers(1, WATCHING[:50], END_STREAM), continuation(1, WATCHING[50:]), data(1, b"")],
        OK,
    ),
    ("CONTINUATION without HEADERS", [*calls(), continuation(1, CALL)], "GOAWAY PROTOCOL"),
    ("CONTINUATION after the block's end", [OPEN, continuation(1, CALL)], "GOAWAY PROTOCOL"),
    ("CONTINUATION of another stream", [PART, continuation(3, CALL[30:])], "GOAWAY PROTOCOL"),
    ("CONTINUATION on stream 0", [PART, continuation(0, CALL[30:])], "GOAWAY PROTOCOL"),
    ("DATA within a block", [PART, data(1, EMPTY)], "GOAWAY PROTOCOL"),
    ("PING within a block", [PART, ping()], "GOAWAY PROTOCOL"),
    ("SETTINGS within a block", [PART, settings()], "GOAWAY PROTOCOL"),
    ("PRIORITY within a block", [PART, Frame(PRIORITY, 0, 1, bytes(5))], "GOAWAY PROTOCOL"),
    ("an unknown frame within a block", [PART, Frame(0x16, 0, 1)], "GOAWAY PROTOCOL"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_what_comes_of(case: Case) -> None:
    check(case, echo_peer())


OVER_A_SOCKET = {
    "DATA on an idle stream",
    "DATA after END_STREAM, while the answer goes on",
    "RST_STREAM twice",
    "HEADERS with padding and a priority",
    "SETTINGS over MAX_FRAME_SIZE",
    "ENABLE_PUSH of 2",
    "PING of seven bytes",
    "a stream's window beyond the maximum",
    "a block in many parts",
    "PING within a block",
}


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in OVER_A_SOCKET], ids=lambda case: case[0])
def test_the_service_does_the_same_over_a_socket(case: Case, address: str) -> None:
    with Peer(address) as peer:
        check(case, peer)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_service_does_all_the_same_over_a_socket(case: Case, address: str) -> None:
    with Peer(address) as peer:
        check(case, peer)


def test_streams_beyond_the_maximum_are_refused_and_the_others_go_on() -> None:
    peer = echo_peer()
    most = peer.theirs[MAX_CONCURRENT_STREAMS]
    held = range(1, 2 * most, 2)
    peer.send(*(headers(number, CALL) for number in held))
    beyond = held[-1] + 2
    kept = literal(b"x-kept", b"1", 0x40)
    for number in (beyond, beyond + 2):
        peer.send(*calls(number, CALL + kept))
        assert peer.answer(number).reset == 7  # REFUSED_STREAM
    assert not any(peer.streams[number].done for number in held)
    peer.send(reset(held[50]))
    # There is room again, and the table holds what refused streams put there.
    peer.send(*calls(beyond + 4, CALL + b"\xbe"))
    assert peer.answer(beyond + 4).grpc_status == 0
    for number in (*held[:50], *held[51:]):
        peer.send(data(number, EMPTY, end=True))
        assert peer.answer(number).grpc_status == 0


def test_a_client_that_sends_goaway_still_gets_its_answers() -> None:
    peer = echo_peer()
    peer.send(headers(1, CALL), headers(3, WATCHING), data(3, EMPTY, end=True))
    peer.send(Frame(GOAWAY, 0, 0, bytes(8) + b"that was all"), data(1, EMPTY, end=True))
    assert peer.answer(1).grpc_status == 0
    peer.until(lambda: peer.streams[3].data)
    assert peer.pong()


def test_a_ping_comes_back_as_it_was() -> None:
    peer = echo_peer()
    sent = [bytes(8), b"\xff" * 8, b"8 bytes."]
    peer.send(*(ping(payload) for payload in sent))
    peer.until(lambda: len(peer.pongs) == 3)
    assert peer.pongs == sent
