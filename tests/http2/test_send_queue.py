"""Answers that wait for their client: how much of them one connection may have."""

from __future__ import annotations

from tests.http2.in_process import END, HEAD, REQUEST, Noted, Server
from workbench.http2 import frames
from workbench.http2.frames import END_HEADERS, frame

ANSWER = bytes(100_000)
SIZE = len(ANSWER)


def asked(server: Server, number: int) -> Noted:
    server.send(frame(frames.HEADERS, END_HEADERS, number, REQUEST))
    server.streams[number].answer(HEAD, ANSWER, END)
    return server.streams[number]


def test_one_connection_may_leave_so_much_unread_and_a_single_answer_may_be_larger() -> None:
    server = Server(ours={frames.INITIAL_WINDOW_SIZE: 0})
    server.send(frames.window_update(0, 1 << 30))
    out = server.connection.out
    out.most_kept = SIZE // 2
    waiting, refused = asked(server, 1), asked(server, 3)
    assert (waiting.ended, refused.ended, out.kept) == (False, True, SIZE)
    server.send(frames.window_update(1, SIZE))
    assert waiting.ended
    assert not asked(server, 5).ended
    assert out.kept == SIZE
    server.send(frame(frames.HEADERS, END_HEADERS, 7, REQUEST), frames.window_update(7, SIZE))
    server.told()
    server.streams[7].answer(HEAD, ANSWER, END)  # which need not wait
    assert sum(len(payload) for kind, _, number, payload in server.told() if (kind, number) == (frames.DATA, 7)) == SIZE
