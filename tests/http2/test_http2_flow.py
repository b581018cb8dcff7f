"""Flow control, both ways: the server sends exactly what the windows allow, and no window of its own is overrun."""

from __future__ import annotations

import numpy as np
import pytest

from tests.http2.cases import outcome
from tests.http2.raw import (
    DATA,
    INITIAL_WINDOW_SIZE,
    LARGEST,
    MAX_FRAME_SIZE,
    PADDED,
    WINDOW,
    Frame,
    Peer,
    data,
    message,
    ping,
    reset,
    settings,
    window_update,
)
from tests.http2.service import INFER, LIVE, STREAM_INFER, answered, head, inference
from workbench.protocols.oip_grpc import decode_stream_response

WIDE = np.arange(75_000, dtype=np.float32).reshape(1, -1)
"""300 kB, more than the windows that every connection begins with."""


def ask(peer: Peer, token: str, x: object = WIDE) -> int:
    stream = peer.open(head(INFER, token=token))
    peer.say(stream, message(inference(x)))
    return stream


def settled(peer: Peer, stream: int) -> int:
    """The bytes that have come, once nothing but a wider window can bring more."""
    found = peer.streams[stream]
    peer.until(lambda: found.done or min(found.window, peer.window) <= 0)
    assert peer.pong()
    return len(found.data)


def test_an_answer_comes_byte_by_byte_as_its_window_opens(address: str, token: str) -> None:
    with Peer(address, {INITIAL_WINDOW_SIZE: 0}, obliging=False) as peer:
        stream = ask(peer, token, [[1.0, 2.0]])
        found = peer.streams[stream]
        peer.until(lambda: found.blocks)
        assert found.headers[b":status"] == b"200"
        for expected in range(12):
            assert peer.pong()
            assert len(found.data) == expected
            assert not found.ended
            peer.send(window_update(stream, 1))
            peer.until(lambda: found.window == 0)
        peer.send(window_update(stream, 1000))
        assert answered(peer.answer(stream)).outputs["y"].tolist() == [[1.0, 2.0]]


def test_a_window_of_one_byte_for_all_streams(address: str, token: str) -> None:
    with Peer(address, {INITIAL_WINDOW_SIZE: 1}) as peer:
        streams = [ask(peer, token, [[float(each)]]) for each in range(5)]
        assert [answered(peer.answer(stream)).outputs["y"].item() for stream in streams] == [0, 1, 2, 3, 4]


def test_an_answer_waits_where_the_window_ends_and_goes_on_from_there(address: str, token: str) -> None:
    with Peer(address, obliging=False) as peer:
        peer.send(window_update(0, 10_000_000))
        stream = ask(peer, token)
        assert settled(peer, stream) == WINDOW
        peer.send(window_update(stream, 10))
        assert settled(peer, stream) == WINDOW + 10
        peer.send(*[window_update(stream, 1)] * 90)
        assert settled(peer, stream) == WINDOW + 100
        peer.send(window_update(stream, 10_000_000))
        assert np.array_equal(answered(peer.answer(stream)).outputs["y"], WIDE)


def test_a_window_that_settings_change_amid_an_answer_also_below_nothing(address: str, token: str) -> None:
    with Peer(address, obliging=False) as peer:
        peer.send(window_update(0, 10_000_000))
        stream = ask(peer, token)
        assert settled(peer, stream) == WINDOW
        peer.send(settings({INITIAL_WINDOW_SIZE: 70_000}))
        assert peer.pong()
        assert settled(peer, stream) == 70_000
        peer.send(settings({INITIAL_WINDOW_SIZE: 10}))
        assert peer.pong()
        assert peer.streams[stream].window == 10 - 70_000
        peer.send(window_update(stream, 69_990))  # which makes it 0
        assert settled(peer, stream) == 70_000
        peer.send(window_update(stream, 7))
        assert settled(peer, stream) == 70_007
        # What begins now has the new window.
        other = ask(peer, token)
        assert settled(peer, other) == 10
        peer.send(settings({INITIAL_WINDOW_SIZE: 400_000}))
        for each in (stream, other):
            assert np.array_equal(answered(peer.answer(each)).outputs["y"], WIDE)


def test_settings_that_open_and_close_a_window_at_once_leave_what_the_last_one_says(address: str, token: str) -> None:
    with Peer(address, {INITIAL_WINDOW_SIZE: 0}, obliging=False) as peer:
        stream = ask(peer, token)
        peer.until(lambda: peer.streams[stream].blocks)
        peer.send(settings([(INITIAL_WINDOW_SIZE, 100_000), (INITIAL_WINDOW_SIZE, 5)]))
        assert peer.pong()
        assert settled(peer, stream) == 5
        peer.send(settings([(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 7)]))
        assert peer.pong()
        assert settled(peer, stream) == 7


def test_one_stream_that_used_up_the_connection_s_window_holds_up_no_frame_but_data(address: str, token: str) -> None:
    with Peer(address, {INITIAL_WINDOW_SIZE: LARGEST}, obliging=False) as peer:
        stream = ask(peer, token)
        assert settled(peer, stream) == WINDOW
        peer.send(settings({0x99: 1}))
        peer.until(lambda: not peer.unacknowledged)
        refused = peer.open(head(INFER), end=True)
        assert peer.answer(refused).grpc_status == 16
        # A second answer waits for the connection, too, and both get on when it opens.
        other = ask(peer, token)
        peer.until(lambda: peer.streams[other].blocks)
        assert peer.pong()
        assert len(peer.streams[other].data) == 0
        peer.send(window_update(0, 400_000))
        peer.until(lambda: peer.window == 0)
        assert len(peer.streams[stream].data) > WINDOW
        assert len(peer.streams[other].data) > 0
        peer.send(window_update(0, 400_000))
        for each in (stream, other):
            assert np.array_equal(answered(peer.answer(each)).outputs["y"], WIDE)


def test_a_stream_without_a_window_does_not_hold_up_another(address: str, token: str) -> None:
    with Peer(address, {INITIAL_WINDOW_SIZE: 100}, obliging=False) as peer:
        peer.send(window_update(0, 10_000_000))
        held = [ask(peer, token) for _ in range(3)]
        assert [settled(peer, stream) for stream in held] == [100] * 3
        small = ask(peer, token, [[1.0]])
        assert answered(peer.answer(small)).outputs["y"].item() == 1.0


@pytest.mark.parametrize("most", [16_384, 16_385, 1 << 20, (1 << 24) - 1])
def test_no_frame_is_longer_than_the_client_has_it(address: str, token: str, most: int) -> None:
    big = np.zeros((1, 500_000), np.float32)
    with Peer(address, {MAX_FRAME_SIZE: most}) as peer:
        stream = ask(peer, token, big)
        assert answered(peer.answer(stream)).outputs["y"].shape == big.shape


def test_a_call_that_is_reset_amid_its_answer_gives_its_place_to_others(address: str, token: str) -> None:
    with Peer(address, {INITIAL_WINDOW_SIZE: LARGEST}, obliging=False) as peer:
        stream = ask(peer, token)
        assert settled(peer, stream) == WINDOW
        peer.send(reset(stream))
        assert peer.pong()
        other = ask(peer, token)
        peer.send(window_update(0, 400_000))
        assert np.array_equal(answered(peer.answer(other)).outputs["y"], WIDE)
        assert len(peer.streams[stream].data) == WINDOW


def test_a_request_larger_than_every_window(address: str, token: str) -> None:
    x = np.random.default_rng(0).random((5, 250_000), np.float32)  # 5 MB
    with Peer(address) as peer:
        for _ in range(2):
            stream = ask(peer, token, x)
            assert np.array_equal(answered(peer.answer(stream)).outputs["y"], x)


def test_messages_of_a_stream_that_are_larger_than_every_window(address: str, token: str) -> None:
    xs = [np.random.default_rng(seed).random((5, 250_000), np.float32) for seed in range(3)]
    with Peer(address) as peer:
        stream = peer.open(head(STREAM_INFER, token=token))
        peer.say(stream, b"".join(message(inference(x)) for x in xs))
        found = peer.answer(stream)
        assert found.grpc_status == 0
        answers = [decode_stream_response(each).outputs["y"] for each in found.messages]  # type: ignore[union-attr]
        assert all(np.array_equal(y, x) for y, x in zip(answers, xs, strict=True))


def test_padding_is_given_back_to_the_windows_too(address: str, token: str) -> None:
    """A message whose every byte comes with 255 of it, which are more than the windows of a stream by far."""
    x = np.ones((1, 2_000), np.float32)
    content = message(inference(x))
    with Peer(address) as peer:
        stream = peer.open(head(INFER, token=token))
        found = peer.streams[stream]
        assert min(peer.room, found.room) < 257 * len(content)
        frames = [
            Frame(DATA, PADDED, stream, b"\xff" + content[at : at + 1] + bytes(255)) for at in range(len(content))
        ]
        for at in range(0, len(frames), 50):
            peer.until(lambda: min(peer.room, found.room) >= 50 * 257)
            peer.send(*frames[at : at + 50])
        peer.send(data(stream, end=True))
        assert np.array_equal(answered(peer.answer(stream)).outputs["y"], x)


def test_data_of_streams_that_are_over_is_given_back_to_the_connection(address: str) -> None:
    """A refused call's message is on its way already; the calls after it need the window that it took."""
    junk = bytes(16_384)
    with Peer(address) as peer:
        sent, most = 0, 4 * max(peer.room, 1 << 16) if peer.room < 1 << 24 else 1 << 24
        while sent < most:
            stream = peer.open(head(INFER))
            for _ in range(4):
                peer.until(lambda s=stream: peer.room >= len(junk))  # type: ignore[misc]
                if peer.streams[stream].room >= len(junk):
                    peer.send(data(stream, junk))
                    sent += len(junk)
            peer.until(lambda s=stream: peer.streams[s].done)  # type: ignore[misc]
            sent += 1
        assert peer.call(head(LIVE)).grpc_status == 0


def test_who_sends_more_than_the_window_of_a_stream_is_told_so(address: str, token: str) -> None:
    """A stream whose first request takes long is not read beyond a number of requests, so its window stays shut."""
    x = np.zeros((1, 10_000), np.float32)
    slow = message(inference([0.0], "loop", n=np.int64(400_000)))
    rest = message(inference(x)) * 400  # 16 MB
    with Peer(address) as peer:
        stream = peer.open(head(STREAM_INFER, token=token))
        peer.send(data(stream, slow))
        for at in range(0, len(rest), 16_384):
            peer.send(data(stream, rest[at : at + 16_384]))
        assert outcome(peer) in (
            f"stream {stream} is reset with FLOW_CONTROL_ERROR",
            "the connection ends with FLOW_CONTROL_ERROR",
        )


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


def test_a_stream_whose_answers_nobody_takes_is_not_read_without_end(address: str, token: str) -> None:
    x = np.zeros((1, 10_000), np.float32)
    one = message(inference(x))
    with Peer(address, {INITIAL_WINDOW_SIZE: 0}, obliging=False) as peer:
        stream = peer.open(head(STREAM_INFER, token=token))
        sent = 0
        while sent < 64_000_000:
            room = min(peer.room, peer.streams[stream].room)
            if room < len(one):
                peer.send(ping(b"any more"))
                before = len(peer.pongs)
                peer.until(lambda n=before: len(peer.pongs) > n)  # type: ignore[misc]
                if min(peer.room, peer.streams[stream].room) == room:
                    break
                continue
            for at in range(0, len(one), 16_384):
                peer.send(data(stream, one[at : at + 16_384]))
            sent += len(one)
        # Some hundred requests are read ahead, and a window's worth lies unread.
        assert sent < 32_000_000, "all was read, though no answer could be sent"
