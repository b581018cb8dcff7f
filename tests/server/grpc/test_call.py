"""Calls over a connection without a socket: what of them is held, and how each of them ends."""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from tests.helpers.waiting import until_async
from tests.server.grpc.frame_client import STATUS, TOKEN, FrameClient
from workbench.errors import InvalidInput
from workbench.http2 import frames
from workbench.http2.stream import STREAM_WINDOW
from workbench.http2.time_limits import Overdue, TimeLimits
from workbench.server.gate.auth import Caller, Gate
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.scopes import SHARE_SCOPES, Scope
from workbench.server.grpc.call import GrpcCalls
from workbench.server.grpc.framing import framed
from workbench.server.grpc.methods import MAX_UNAUTHENTICATED_MESSAGE_BYTES, CallHead, Context, Method, Methods
from workbench.share.share_token import PREFIX

MOST = 50_000


async def echo(head: CallHead, message: bytes, context: Context) -> bytes:
    return message


def port_of(settings: dict[int, int] | None = None, most: int = MOST, **table: Method) -> FrameClient:
    """`table`: each method under its name and a slash before it; `most`: bytes of a message."""
    methods = Methods(Gate(TOKEN, "127.0.0.1", 4), {f"/{name}": each for name, each in table.items()}, most)
    return FrameClient(GrpcCalls(methods, InFlightBytes(10 * most)), settings or {})


# What a stranger may have kept


async def test_a_stranger_s_message_is_small() -> None:
    port = port_of(public=Method(echo, scope=Scope.PUBLIC), own=Method(echo))
    port.begin(1, "/public", token=False)
    port.data(1, struct.pack(">BL", 0, MAX_UNAUTHENTICATED_MESSAGE_BYTES + 1))
    assert port.status(1) == "exhausted"
    port.begin(3, "/public", token=False)
    port.data(3, framed(bytes(MAX_UNAUTHENTICATED_MESSAGE_BYTES)), ended=True)
    await port.settled()
    assert port.status(3) == "ok"
    port.begin(5, "/own")
    port.data(5, framed(bytes(MOST)), ended=True)
    await port.settled()
    assert port.status(5) == "ok"


async def test_a_stranger_s_message_unpacks_to_little() -> None:
    port = port_of(public=Method(echo, scope=Scope.PUBLIC))
    packed = gzip.compress(bytes(MAX_UNAUTHENTICATED_MESSAGE_BYTES + 1))
    port.begin(1, "/public", (b"grpc-encoding", b"gzip"), token=False)
    port.data(1, b"\1" + framed(packed)[1:], ended=True)
    await port.settled()
    assert port.status(1) == "exhausted"


async def test_half_sent_messages_of_shares_leave_half_of_the_room_to_the_owner() -> None:
    gate = Gate(TOKEN, "127.0.0.1", 4)
    guest = Caller("team-a", 4, SHARE_SCOPES, models=frozenset({"digits"}))
    gate.share_of = lambda token: guest
    methods = Methods(gate, {"/own": Method(echo, scope=Scope.INFER, large=True)}, MOST)
    port = FrameClient(GrpcCalls(methods, InFlightBytes(20_000)), token=f"{PREFIX}team-a")
    half = struct.pack(">BL", 0, MOST) + bytes(5995)
    for number in (1, 3):
        port.begin(number, "/own")
        port.data(number, half)
    (head,) = [value for kind, value in port.told().pop(3) if kind == "head"]
    assert head["grpc-status"] == "8"  # type: ignore[index]
    port.token = TOKEN
    port.begin(5, "/own")
    port.data(5, half)
    assert (port.calls.held_guests.held, port.calls.held.held) == (6000, 12_000)
    for number in (1, 5):
        port.cancel(number)
    port.nothing_is_left()
    assert port.calls.held_guests.held == 0


async def test_strangers_share_a_pot_of_their_own() -> None:
    port = port_of(public=Method(echo, scope=Scope.PUBLIC))
    half = struct.pack(">BL", 0, MAX_UNAUTHENTICATED_MESSAGE_BYTES) + bytes(MAX_UNAUTHENTICATED_MESSAGE_BYTES - 1)
    port.calls.held_anonymous.most = 2 * len(half)
    for number in (1, 3, 5):
        port.begin(number, "/public", token=False)
        port.data(number, half)
    port.begin(7, "/public")
    port.data(7, half)
    assert (port.calls.held_anonymous.held, port.calls.held.held) == (2 * len(half), len(half))
    (head,) = [value for kind, value in port.told().pop(5) if kind == "head"]
    assert head["grpc-status"] == "8"  # type: ignore[index]
    assert set(port.connection._streams) == {1, 3, 7}
    for number in (1, 3, 7):
        port.cancel(number)
    port.nothing_is_left()


async def test_a_stranger_s_call_must_soon_be_whole_but_may_then_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch(head: CallHead, message: bytes, context: Context) -> AsyncGenerator[bytes, None]:
        yield message
        await go_on.wait()
        yield message

    monkeypatch.setattr("workbench.server.grpc.methods.ANONYMOUS_WHOLE_S", 0.05)
    go_on = asyncio.Event()
    port = port_of(public=Method(echo, scope=Scope.PUBLIC), watch=Method(watch=watch, scope=Scope.PUBLIC))
    port.begin(1, "/watch", token=False)
    port.data(1, framed(b"whole"), ended=True)
    port.begin(3, "/public", (b"grpc-timeout", b"1H"), token=False)
    port.begin(5, "/watch", token=False)
    port.data(5, framed(b"half")[:-1])
    port.begin(7, "/public")
    await until_async(lambda: set(port.connection._streams) == {1, 7})
    told = port.told()
    for number in (3, 5):
        assert told[number][0][1]["grpc-status"] == "4"  # type: ignore[index]
    port.cancel(7)
    go_on.set()
    await port.settled()
    assert port.status(1) == "ok"


# What may not stop in the middle


async def test_a_message_that_stays_half_sent_ends_its_call_but_a_stream_may_pause() -> None:
    async def talk(head: CallHead, messages: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes, None]:
        async for message in messages:
            yield message

    async def later(head: CallHead, message: bytes, context: Context) -> bytes:
        await go_on.wait()
        return message

    go_on = asyncio.Event()
    port = port_of(own=Method(echo), talk=Method(stream=talk), later=Method(later))
    now_s = port.calls.loop.time()
    overdue = Overdue(TimeLimits(message_s=30), now_s)
    for number, path, sent in [
        (1, "/own", b""),
        (3, "/own", framed(bytes(1000))[:500]),
        (5, "/talk", framed(b"whole") + framed(b"half")[:7]),
        (7, "/talk", framed(b"whole")),
        (9, "/talk", b""),
    ]:
        port.begin(number, path)
        port.data(number, sent)
    port.begin(11, "/later")
    port.data(11, framed(b"whole"), ended=True)
    answers: list[int] = []
    while len(answers) < 2:
        answers += [number for number, events in port.told().items() if ("data", framed(b"whole")) in events]
        await asyncio.sleep(0)
    assert sorted(answers) == [5, 7]
    for second in range(31):
        overdue.look(port.connection, now_s + second)
    told = port.told()
    assert list(told) == [1, 3, 5]
    for (_, head), (kind, code) in told.values():
        assert (head["grpc-status"], kind, code) == (STATUS["deadline"], "reset", 0)  # type: ignore[index]
        assert "did not come whole" in head["grpc-message"]  # type: ignore[index]
    assert set(port.connection._streams) == {7, 9, 11}
    go_on.set()
    port.data(7, b"", ended=True)
    port.data(9, b"", ended=True)
    await port.settled()
    port.nothing_is_left()


# What is held


async def test_a_compressed_message_is_held_until_it_is_unpacked() -> None:
    port = port_of(own=Method(echo))
    packed = b"\1" + framed(gzip.compress(bytes(MOST)))[1:]
    port.begin(1, "/own", (b"grpc-encoding", b"gzip"))
    port.data(1, packed, ended=True)
    assert port.calls.held.held == len(packed)
    await port.settled()
    assert port.status(1) == "ok"


async def test_what_comes_after_the_answer_s_end_is_not_held() -> None:
    async def fails(head: CallHead, messages: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes, None]:
        async for message in messages:
            yield message
            raise InvalidInput("no more")

    port = port_of({frames.INITIAL_WINDOW_SIZE: 3}, stream=Method(stream=fails))
    port.begin(1, "/stream")
    port.data(1, framed(b"hello"))
    await port.settled()
    assert port.connection._streams[1].blocked
    for _ in range(20):  # twice as much as the stream's window
        port.data(1, bytes(100_000))
    assert port.calls.held.held == 0
    port.send(frames.window_update(1, 1000))
    assert port.status(1) == "invalid"


# Long messages


async def test_one_message_may_be_longer_than_the_window() -> None:
    port = port_of({frames.INITIAL_WINDOW_SIZE: 1 << 30}, most=1 << 23, own=Method(echo, large=True))
    port.send(frames.window_update(0, 1 << 30))
    message = bytes(range(256)) * (3 << 12)
    port.begin(1, "/own")
    call, rest = port.connection._streams[1], framed(message)
    while rest:
        size = min(call.window_in, 16_384, len(rest))
        assert size, "nothing more may come"
        port.data(1, rest[:size], ended=size == len(rest))
        rest = rest[size:]
    await port.settled()
    assert b"".join(each for kind, each in port.told()[1] if kind == "data") == framed(message)  # type: ignore[misc]
    port.nothing_is_left()


async def test_messages_of_a_stream_may_be_longer_than_its_window() -> None:
    lengths: list[int] = []

    async def measure(head: CallHead, messages: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes, None]:
        async for message in messages:
            lengths.append(len(message))
            yield b""

    port = port_of(most=1 << 23, stream=Method(stream=measure, large=True))
    port.begin(1, "/stream")
    call = port.connection._streams[1]
    sent = [3 << 20, 10, 0, 1 << 20, (1 << 20) - 5, (1 << 20) - 4, 700_000, 700_000, 1]
    for length in sent:
        rest = framed(bytes(length))
        while rest:
            size = min(call.window_in, 16_384, len(rest))
            assert size, "nothing more may come"
            port.data(1, rest[:size])
            rest = rest[size:]
            await asyncio.sleep(0)
        await until_async(lambda: port.calls.held.held == 0)
        assert call.window_in + call._taken == STREAM_WINDOW
    port.data(1, b"", ended=True)
    await port.settled()
    assert lengths == sent
    assert port.status(1) == "ok"


async def test_who_sends_a_second_message_is_told_before_it_is_whole() -> None:
    port = port_of(own=Method(echo))
    port.begin(1, "/own")
    port.data(1, framed(b"one") + b"\0")
    assert port.status(1) == "invalid"


async def test_a_stream_that_would_hold_too_much_is_ended() -> None:
    watched = Watched()

    async def reads_nothing(
        head: CallHead, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncGenerator[bytes, None]:
        watched.begun = True
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            watched.left = True

    port = port_of(stream=Method(stream=reads_nothing))
    port.begin(1, "/stream")
    await until_async(lambda: watched.begun)
    for _ in range(10):
        port.data(1, bytes(MOST))
    assert port.calls.held.held == 10 * MOST
    port.data(1, b"a")
    assert port.status(1) == "exhausted"
    await port.settled()
    assert watched.left


# How calls end


class Watched:
    """A stream of answers that tells when it was left."""

    def __init__(self) -> None:
        self.begun = False
        self.left = False

    async def watch(self, head: CallHead, message: bytes, context: Context) -> AsyncGenerator[bytes, None]:
        try:
            self.begun = True
            for _ in range(10):
                yield b"again"
        finally:
            await asyncio.sleep(0)
            self.left = True


async def test_answers_that_wait_for_a_window_are_left_with_their_call() -> None:
    watched = Watched()
    port = port_of({frames.INITIAL_WINDOW_SIZE: 0}, watch=Method(watch=watched.watch))
    port.begin(1, "/watch")
    port.data(1, framed(b""), ended=True)
    await until_async(lambda: watched.begun)
    (task,) = port.calls.under_way
    port.cancel(1)
    await asyncio.wait([task])
    assert watched.left
    port.nothing_is_left()


async def test_a_deadline_ends_a_call_whose_answers_nobody_reads() -> None:
    watched = Watched()
    port = port_of({frames.INITIAL_WINDOW_SIZE: 0}, watch=Method(watch=watched.watch))
    port.begin(1, "/watch", (b"grpc-timeout", b"20m"))
    port.data(1, framed(b""), ended=True)
    await port.settled()
    assert ("reset", frames.ErrorCode.CANCEL) in port.told()[1]
    port.nothing_is_left()


async def test_a_deadline_is_told_where_there_is_room() -> None:
    async def never(head: CallHead, message: bytes, context: Context) -> bytes:
        await asyncio.Event().wait()
        return b""

    port = port_of(own=Method(never))
    port.begin(1, "/own", (b"grpc-timeout", b"20m"))
    port.data(1, framed(b""), ended=True)
    await port.settled()
    assert port.status(1) == "deadline"


# Who is refused


async def test_calls_that_are_refused_are_told_why_each_time() -> None:
    port = port_of(own=Method(echo))
    for number in (1, 3):
        port.begin(number, "/own", token=False)
        (head, reset) = port.told()[number]
        assert isinstance(head[1], dict)
        assert (head[1][":status"], head[1]["grpc-status"]) == ("200", "16")
        assert "authorization: Bearer TOKEN" in head[1]["grpc-message"]
        assert reset == ("reset", frames.ErrorCode.NO_ERROR)
    port.begin(5, "/own", (b"content-type", b"text/plain"))
    assert port.told()[5][0] == ("head", {":status": "415"})
    port.nothing_is_left()
