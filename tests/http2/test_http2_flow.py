"""Flow control, both ways: the server sends exactly what the windows allow, and nobody overruns its own windows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.http2.cases import outcome
from tests.http2.in_process import echo_peer
from tests.http2.raw import (
    INITIAL_WINDOW_SIZE,
    LARGEST,
    MAX_FRAME_SIZE,
    WINDOW,
    Peer,
    data,
    message,
    reset,
    settings,
    window_update,
)
from tests.http2.service import INFER, LIVE, STREAM_INFER, answered, head, inference
from workbench.protocols.oip_grpc import decode_stream_response

WIDE = bytes(range(256)) * 1_200
"""300 kB, more than the windows that every connection begins with."""


def ask(peer: Peer, body: bytes = WIDE) -> int:
    stream = peer.open(head(LIVE))
    peer.say(stream, body)
    return stream


def received(peer: Peer, stream: int) -> int:
    """The bytes received, once only a wider window can bring more."""
    assert peer.pong()
    return len(peer.streams[stream].data)


# What the server sends


def test_an_answer_comes_byte_by_byte_as_its_window_opens() -> None:
    peer = echo_peer({INITIAL_WINDOW_SIZE: 0}, obliging=False)
    stream = ask(peer, b"hello world!")
    found = peer.streams[stream]
    for expected in range(12):
        assert received(peer, stream) == expected
        assert (found.headers[b":status"], found.ended) == (b"200", False)
        peer.send(window_update(stream, 1))
    peer.send(window_update(stream, 1000))
    assert bytes(peer.answer(stream).data) == b"hello world!"


def test_a_window_of_one_byte_for_all_streams() -> None:
    peer = echo_peer({INITIAL_WINDOW_SIZE: 1})
    streams = [ask(peer, b"call %d" % each) for each in range(5)]
    assert [bytes(peer.answer(stream).data) for stream in streams] == [b"call %d" % each for each in range(5)]


def test_an_answer_waits_where_the_window_ends_and_goes_on_from_there() -> None:
    peer = echo_peer(obliging=False)
    peer.send(window_update(0, 10_000_000))
    stream = ask(peer)
    assert received(peer, stream) == WINDOW
    peer.send(window_update(stream, 10))
    assert received(peer, stream) == WINDOW + 10
    peer.send(*[window_update(stream, 1)] * 90)
    assert received(peer, stream) == WINDOW + 100
    peer.send(window_update(stream, 10_000_000))
    assert bytes(peer.answer(stream).data) == WIDE


def test_settings_change_the_windows_of_open_streams_also_below_0() -> None:
    peer = echo_peer(obliging=False)
    peer.send(window_update(0, 10_000_000))
    stream = ask(peer)
    assert received(peer, stream) == WINDOW
    peer.send(settings({INITIAL_WINDOW_SIZE: 70_000}))
    assert received(peer, stream) == 70_000
    peer.send(settings({INITIAL_WINDOW_SIZE: 10}))
    assert received(peer, stream) == 70_000
    assert peer.streams[stream].window == 10 - 70_000
    peer.send(window_update(stream, 69_990))  # which makes it 0
    assert received(peer, stream) == 70_000
    peer.send(window_update(stream, 7))
    assert received(peer, stream) == 70_007
    other = ask(peer)  # a new stream has the new window
    assert received(peer, other) == 10
    peer.send(settings({INITIAL_WINDOW_SIZE: 400_000}))
    for each in (stream, other):
        assert bytes(peer.answer(each).data) == WIDE


def test_of_repeated_settings_in_one_frame_the_last_holds() -> None:
    peer = echo_peer({INITIAL_WINDOW_SIZE: 0}, obliging=False)
    stream = ask(peer)
    for first, last in ((100_000, 5), (0, 7)):
        peer.send(settings([(INITIAL_WINDOW_SIZE, first), (INITIAL_WINDOW_SIZE, last)]))
        assert received(peer, stream) == last


def test_a_stream_that_used_up_the_connection_s_window_holds_up_no_frame_but_data() -> None:
    peer = echo_peer({INITIAL_WINDOW_SIZE: LARGEST}, obliging=False)
    stream = ask(peer)
    assert received(peer, stream) == WINDOW
    peer.send(settings({0x99: 1}))
    peer.until(lambda: not peer.unacknowledged)
    refused = peer.open(head(LIVE)[:5], end=True)
    assert peer.answer(refused).headers[b":status"] == b"415"
    other = ask(peer)  # it waits for the connection, too, and both go on when that opens
    assert received(peer, other) == 0
    peer.send(window_update(0, 400_000))
    peer.until(lambda: peer.window == 0)
    assert len(peer.streams[stream].data) > WINDOW
    assert len(peer.streams[other].data) > 0
    peer.send(window_update(0, 400_000))
    for each in (stream, other):
        assert bytes(peer.answer(each).data) == WIDE


def test_a_stream_without_a_window_does_not_hold_up_another() -> None:
    peer = echo_peer({INITIAL_WINDOW_SIZE: 100}, obliging=False)
    peer.send(window_update(0, 10_000_000))
    held = [ask(peer) for _ in range(3)]
    assert [received(peer, stream) for stream in held] == [100] * 3
    assert bytes(peer.answer(ask(peer, b"small")).data) == b"small"


@pytest.mark.parametrize("most", [16_384, 16_385, 1 << 20, (1 << 24) - 1])
def test_no_frame_is_longer_than_the_client_allows(most: int) -> None:
    peer = echo_peer({MAX_FRAME_SIZE: most})  # which checks each frame
    assert bytes(peer.answer(ask(peer, WIDE * 7)).data) == WIDE * 7


def test_a_call_that_is_reset_while_its_answer_is_sent_makes_room_for_others() -> None:
    peer = echo_peer({INITIAL_WINDOW_SIZE: LARGEST}, obliging=False)
    stream = ask(peer)
    assert received(peer, stream) == WINDOW
    peer.send(reset(stream))
    other = ask(peer)
    peer.send(window_update(0, 400_000))
    assert bytes(peer.answer(other).data) == WIDE
    assert len(peer.streams[stream].data) == WINDOW


# The same with real calls


def test_requests_and_answers_larger_than_every_window(address: str, token: str) -> None:
    xs = [np.random.default_rng(seed).random((5, 250_000), np.float32) for seed in range(3)]  # 5 MB each
    with Peer(address) as peer:
        for x in xs[:2]:
            assert np.array_equal(answered(peer.call(head(INFER, token=token), inference(x))).outputs["y"], x)
        stream = peer.open(head(STREAM_INFER, token=token))
        peer.say(stream, b"".join(message(inference(x)) for x in xs))
        found = peer.answer(stream)
        assert found.grpc_status == 0
        answers = [decode_stream_response(each).outputs["y"] for each in found.messages]  # type: ignore[union-attr]
        assert all(np.array_equal(y, x) for y, x in zip(answers, xs, strict=True))


def test_a_client_that_exceeds_the_window_of_a_stream_is_reset(address: str, token: str) -> None:
    """A stream whose first request takes long is read only so far ahead, so its window stays shut."""
    slow = message(inference([0.0], "loop", n=np.int64(400_000)))
    rest = message(inference(np.zeros((1, 10_000), np.float32))) * 400  # 16 MB
    with Peer(address) as peer:
        stream = peer.open(head(STREAM_INFER, token=token))
        peer.send(data(stream, slow))
        for at in range(0, len(rest), 16_384):
            peer.send(data(stream, rest[at : at + 16_384]))
        assert outcome(peer) == f"RST_STREAM {stream} FLOW_CONTROL"


def test_a_hundred_requests_in_one_stream(address: str, token: str) -> None:
    body = b"".join(message(inference([[float(each)]], request_id=str(each))) for each in range(100))
    with Peer(address) as peer:
        for most in (16_384, 1_000, 7):
            stream = peer.open(head(STREAM_INFER, token=token))
            peer.say(stream, body, most=most)
            found = peer.answer(stream)
            assert found.grpc_status == 0
            answers = [decode_stream_response(each) for each in found.messages]
            assert [each.id for each in answers] == [str(each) for each in range(100)]  # type: ignore[union-attr]
            assert [each.outputs["y"].item() for each in answers] == list(range(100))  # type: ignore[union-attr]


def test_a_stream_whose_answers_are_not_read_is_read_only_so_far_ahead(address: str, token: str) -> None:
    one = message(inference(np.zeros((1, 10_000), np.float32)))
    with Peer(address, {INITIAL_WINDOW_SIZE: 0}, obliging=False) as peer:
        stream = peer.open(head(STREAM_INFER, token=token))
        sent = 0
        while sent < 64_000_000:
            room = min(peer.room, peer.streams[stream].room)
            if room < len(one):
                assert peer.pong()
                if min(peer.room, peer.streams[stream].room) == room:
                    break
                continue
            for at in range(0, len(one), 16_384):
                peer.send(data(stream, one[at : at + 16_384]))
            sent += len(one)
        # Some hundred requests are read ahead, and a window's worth lies unread.
        assert sent < 32_000_000, "all was read, though no answer could be sent"
