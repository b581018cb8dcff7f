"""What many connections have sent ahead is taken apart a little at a time, over all of them together."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.conftest import House
from tests.server.driver import connect
from workbench.server.gate.connection_caps import ConnectionCaps
from workbench.server.http import shared_turns
from workbench.server.http.h1_connection import CHUNKS_A_STEP, STEPS_A_TURN
from workbench.server.http.h1_server import H1Server
from workbench.server.http.shared_turns import SharedTurns

TINY = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


class Worker:
    def __init__(self, name: str, steps: int, done: list[str]) -> None:
        self.name = name
        self.steps = steps
        self._done = done

    def take_turn(self) -> bool:
        self._done.append(self.name)
        self.steps -= 1
        return self.steps > 0


async def test_connections_take_turns_and_others_are_served_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_turns, "TURN_S", 0.0)
    turns, done = SharedTurns(), list[str]()
    for name, steps in (("a", 3), ("b", 1), ("c", 2)):
        turns.add(Worker(name, steps, done))
    for count in range(1, 7):
        await asyncio.sleep(0)
        assert len(done) == count
    await asyncio.sleep(0)
    assert "".join(done) == "abcaca"
    turns.add(Worker("d", 1, done))
    await asyncio.sleep(0)
    assert done[-1] == "d"


async def test_in_its_time_a_turn_of_the_loop_has_many_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_turns, "TURN_S", 1000.0)
    turns, done = SharedTurns(), list[str]()
    for name in "abc":
        turns.add(Worker(name, 2, done))
    await asyncio.sleep(0)
    assert "".join(done) == "abc"


async def test_a_connection_that_fails_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_turns, "TURN_S", 0.0)
    failed = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context["exception"]))
    turns, done = SharedTurns(), list[str]()

    class Bad:
        def take_turn(self) -> bool:
            raise ZeroDivisionError

    turns.add(Bad())
    turns.add(Worker("a", 1, done))
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == ["a"]
    assert [type(each) for each in failed] == [ZeroDivisionError]


async def test_requests_ahead_of_many_connections_have_one_budget(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_turns, "TURN_S", 0.0)
    server = H1Server(house.app, ConnectionCaps(50, 50), house.service.unread)
    opened = [connect(house.app, server) for _ in range(30)]
    for connection, _ in opened:
        connection.data_received(TINY * 20)

    def answered() -> int:
        return sum(wire.written.count(b"HTTP/1.1 401") for _, wire in opened)

    assert answered() <= STEPS_A_TURN * len(opened)  # as they came
    before = answered()
    for _ in range(100):
        await asyncio.sleep(0)
        assert answered() - before <= STEPS_A_TURN
        before = answered()
    monkeypatch.undo()
    for connection, wire in opened:
        while not wire.reading:
            await asyncio.sleep(0)
        connection.connection_lost(None)
    assert answered() == 20 * len(opened)


async def test_chunks_of_many_connections_have_one_budget(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a body whose request is refused already."""
    monkeypatch.setattr(shared_turns, "TURN_S", 0.0)
    server = H1Server(house.app, ConnectionCaps(50, 50), house.service.unread)
    opened = [connect(house.app, server)[0] for _ in range(30)]
    for connection in opened:
        connection.data_received(CHUNKED)
        connection.data_received(b"1\r\nx\r\n" * 10_000)

    def left() -> int:
        return sum(len(connection._input) - connection._at for connection in opened)

    before = left()
    for _ in range(100):
        await asyncio.sleep(0)
        assert 0 < before - left() <= STEPS_A_TURN * CHUNKS_A_STEP * 6
        before = left()
    for connection in opened:
        connection.connection_lost(None)
