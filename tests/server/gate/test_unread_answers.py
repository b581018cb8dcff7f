"""Answers that nobody reads: what they count, and who makes room."""

from __future__ import annotations

import pytest

from tests.helpers.clock import Clock
from workbench.errors import TooManyRequests
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.unread_answers import STALLED_S, UnreadAnswers


class Client:
    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


def test_who_has_read_nothing_for_longest_makes_room_for_a_body() -> None:
    clock = Clock()
    bodies = InFlightBytes(100)
    unread = UnreadAnswers(bodies, clock)
    slow, stalled, reading = Client(), Client(), Client()
    for client in (stalled, slow, reading):
        unread.count(client, 30)
    with pytest.raises(TooManyRequests, match="have 90 bytes"):
        bodies.take(20)  # nobody is known to be stalled yet
    clock.now += STALLED_S
    unread.count(stalled, 30)
    unread.count(reading, 29)
    bodies.take(20)
    assert (stalled.resets, slow.resets, reading.resets) == (1, 0, 0)
    assert bodies.held == 20 + 30 + 29
    unread.count(stalled, 0)  # its connection is lost
    bodies.take(50)
    assert (stalled.resets, slow.resets, reading.resets) == (1, 1, 0)
    with pytest.raises(TooManyRequests):
        bodies.take(2)
    unread.count(slow, 0)
    unread.count(reading, 0)
    bodies.give_back(70)
    assert bodies.held == 0


def test_an_answer_too_many_is_counted_and_resets_who_is_stalled(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    bodies = InFlightBytes(100)
    unread = UnreadAnswers(bodies, clock)
    stalled = [Client() for _ in range(50)]
    for client in stalled:
        unread.count(client, 2)
    clock.now += STALLED_S
    last = Client()
    unread.count(last, 200)
    assert [client.resets for client in stalled] == [1] * 50
    assert last.resets == 0
    assert bodies.held == 200
    assert len(caplog.records) == 1
    assert "did not read their answers" in caplog.text
