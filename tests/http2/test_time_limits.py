"""What a peer may take its time with, and for how long, with a clock moved by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2.in_process import END, HEAD, REQUEST, Noted, Server
from workbench.http2 import frames
from workbench.http2.frames import END_HEADERS, ErrorCode, frame
from workbench.http2.time_limits import LEAST_BYTES_PER_S, READ_WITHIN_S, Overdue, TimeLimits

LIMITS = TimeLimits(frame_s=10, message_s=20, unread_s=40, idle_s=60)
LOOK_S = 1.0

BEGUN = frame(frames.HEADERS, 0, 1, REQUEST[:5])
HEADERS = frame(frames.HEADERS, END_HEADERS, 1, REQUEST)


class Owing(Noted):
    """Its peer owes the rest of a message."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stalls = 0

    def owed(self) -> int | None:
        return None if self.whole else len(self.body)

    def on_stalled(self, limit_s: float) -> None:
        self.stalls += 1
        self.reset(ErrorCode.CANCEL)


class Looked(Server):
    """A server that looks every LOOK_S at what its client is late with."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.overdue = Overdue(LIMITS, self.now_s)

    def goes_on(self, seconds: float, every_s: float = 0, *sent: bytes, reads: bool = True) -> list[str]:
        """What was ended meanwhile. The client sends `sent` every `every_s`."""
        found = []
        for step in range(1, int(seconds / LOOK_S) + 1):
            self.now_s += LOOK_S
            if sent and step * LOOK_S % every_s == 0:
                self.send(*sent)
            found.append(self.overdue.look(self.connection, self.now_s, reads=reads))
        return [why for why in found if why]


def open_stream(server: Server, number: int = 1) -> Noted:
    server.send(frame(frames.HEADERS, END_HEADERS, number, REQUEST))
    return server.streams[number]


# Frames and header blocks


@pytest.mark.parametrize(
    ("begun", "drip"),
    [
        (BEGUN, b""),
        (BEGUN, frame(frames.CONTINUATION, 0, 1, b"")),
        (BEGUN, frame(frames.CONTINUATION, 0, 1, b"\x82")),
        (HEADERS[:5], b""),
        (HEADERS[:-4], b""),
        (frame(frames.PING, 0, 0, bytes(8))[:9], b""),
        (frames.HEAD.pack(1, 0, frames.DATA, 0, 1), b"x"),
    ],
    ids=["block", "block of nothing", "block, byte by byte", "frame's head", "headers", "ping", "data, byte by byte"],
)
def test_what_is_not_whole_in_time_ends_the_connection(begun: bytes, drip: bytes) -> None:
    server = Looked()
    server.send(begun)
    assert not server.goes_on(9, 1, drip)
    assert server.goes_on(1) == ["a frame or a header block did not come whole within 10 s"]
    assert server.left()[1] == ErrorCode.ENHANCE_YOUR_CALM
    assert server.closed == 1
    assert server.connection.abused


def test_each_frame_and_each_block_has_its_own_time() -> None:
    server = Looked()
    stream = open_stream(server)
    piece = frame(frames.DATA, 0, 1, b"x" * 100)
    server.send(piece[:50])
    assert not server.goes_on(100, 9, piece[50:] + piece[:50])
    assert len(stream.body) == 1100
    server.send(piece[50:] + frame(frames.HEADERS, 0, 3, REQUEST[:5]))
    assert not server.goes_on(9)
    server.send(frame(frames.CONTINUATION, END_HEADERS, 3, REQUEST[5:]))
    assert not server.goes_on(100)


def test_while_this_side_does_not_read_the_client_is_not_late() -> None:
    server = Looked(Owing)
    open_stream(server)
    server.send(BEGUN[:5])
    assert not server.goes_on(100, reads=False)
    server.connection.restart_time()
    assert not server.goes_on(9)


# Connections without calls


def test_a_connection_on_which_no_call_comes_is_told_to_go_and_one_with_a_token_may_stay() -> None:
    strange, trusted = Looked(), Looked()
    trusted.connection.trust()
    for server in (strange, trusted):
        assert not server.goes_on(50)
        open_stream(server).answer(HEAD, b"", END)
        assert not server.goes_on(59)
        server.told()
    assert strange.goes_on(2) == ["no call came for 60 s"]
    assert [kind for kind, _, _, _ in strange.told()] == [frames.GOAWAY, frames.PING]  # what is on its way is served
    strange.goes_on(1)
    assert strange.closed == 1
    assert not trusted.goes_on(10_000)
    assert not trusted.told()


def test_a_call_under_way_keeps_the_connection_of_a_stranger() -> None:
    server = Looked()
    open_stream(server)
    assert not server.goes_on(10_000)


# Messages


def test_a_message_of_which_too_little_comes_is_ended_and_others_go_on() -> None:
    server = Looked(Owing)
    dripping, steady, whole = (open_stream(server, number) for number in (1, 3, 5))
    server.send(frame(frames.DATA, frames.END_STREAM, 5, b"x"))
    enough = frame(frames.DATA, 0, 3, bytes(LEAST_BYTES_PER_S * 20))
    assert not server.goes_on(19, 19, frame(frames.DATA, 0, 1, b"x") + enough)
    (why,) = server.goes_on(2)
    assert why.startswith("a message did not come whole")
    assert [stream.stalls for stream in (dripping, steady, whole)] == [1, 0, 0]  # type: ignore[attr-defined]
    assert not server.goes_on(200, 10, enough)


# Answers


def test_an_answer_behind_its_closed_window_is_reset_and_others_go_on() -> None:
    server = Looked(ours={frames.INITIAL_WINDOW_SIZE: 0})
    server.send(frames.window_update(0, 1 << 24))
    shut, dripping, read, waiting = (open_stream(server, number) for number in (1, 3, 5, 7))
    for stream in (shut, dripping, read):
        stream.answer(HEAD, bytes(1 << 20), END)
    some = frames.window_update(5, 30_000)
    assert not server.goes_on(39, 3, frames.window_update(3, 1), some)
    (why,) = server.goes_on(2)
    assert why.startswith("an answer was not read")
    assert [stream.losses for stream in (shut, dripping, read, waiting)] == [1, 1, 0, 0]
    assert server.connection.out.kept == 1 << 20
    assert not server.goes_on(20)
    assert not server.goes_on(100, 10, some)
    server.send(frames.window_update(5, 1 << 20))
    assert read.ended
    assert server.connection.out.kept == 0
    assert not server.goes_on(1000)  # what waits for this side is not late


@pytest.mark.parametrize("more", [0, 1], ids=["shut", "byte by byte"])
def test_answers_behind_the_connection_s_closed_window_end_it(more: int) -> None:
    server = Looked(ours={frames.INITIAL_WINDOW_SIZE: 1 << 20})
    streams = [open_stream(server, number) for number in range(1, 20, 2)]
    for stream in streams:
        stream.answer(HEAD, bytes(1 << 20), END)
    update = frames.window_update(0, more) if more else b""
    assert not server.goes_on(39, 1, update)
    (why,) = server.goes_on(2, 1, update)
    assert why.startswith("answers were not read")
    assert server.closed == 1
    assert all(stream.losses == 1 for stream in streams)
    assert server.connection.out.kept == 0


def test_much_that_waits_must_be_read_faster_than_little() -> None:
    """Else a client could keep gigabytes for days."""
    for size, survives in ((1 << 20, True), (64 << 20, False)):
        server = Looked(ours={frames.INITIAL_WINDOW_SIZE: 1 << 30})
        open_stream(server).answer(HEAD, bytes(size), END)
        rate = max(LEAST_BYTES_PER_S, (1 << 20) / READ_WITHIN_S)
        ended = server.goes_on(300, 10, frames.window_update(0, int(rate * 12)))
        assert (not ended) is survives


def test_turning_windows_on_and_off_gains_no_time() -> None:
    server = Looked(ours={frames.INITIAL_WINDOW_SIZE: 1 << 20})
    stream = open_stream(server)
    stream.answer(HEAD, bytes(1 << 20), END)
    ended = []
    for window in (0, 1 << 20) * 30:
        ended += server.goes_on(1)
        server.send(frames.settings({frames.INITIAL_WINDOW_SIZE: window}))
    assert ended
    assert stream.losses == 1
