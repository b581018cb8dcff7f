"""Frames that are lawful one by one and harmful in numbers: the connection ends, or they cost next to nothing.

Short floods run against a connection in this process. The marker `long` has them in full over a socket, with an eye on
the memory of the service's worker.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import NamedTuple

import numpy as np
import psutil
import pytest

from tests.helpers.waiting import until
from tests.http2.cases import CALL, EMPTY, WATCHING
from tests.http2.in_process import Echo, Server, echo_peer
from tests.http2.raw import (
    END_HEADERS,
    END_STREAM,
    ERRORS,
    GOAWAY,
    HAS_PRIORITY,
    INITIAL_WINDOW_SIZE,
    LARGEST,
    LIMIT_S,
    PREFACE,
    PRIORITY,
    Frame,
    Peer,
    SocketWire,
    continuation,
    data,
    headers,
    integer,
    literal,
    message,
    ping,
    plain,
    reset,
    settings,
    window_update,
)
from tests.http2.service import INFER, LIVE, STREAM_INFER, WATCH, answered, head, inference, is_live

MAY_GROW = 50_000_000
"""Bytes of the worker's memory."""

ODD = range(1, 40_001, 2)
CALM, SERVED = "ENHANCE_YOUR_CALM", None


@contextmanager
def bounded(worker: psutil.Process, most: int = MAY_GROW) -> Iterator[None]:
    before = worker.memory_info().rss
    yield
    grown = worker.memory_info().rss - before
    assert grown < most, f"the worker grew by {grown / 1e6:.0f} MB"


class Flood(NamedTuple):
    name: str
    ends: str | None
    """The error that the connection ends with, or None where it goes on."""
    first: Sequence[Frame]
    """Sent once."""
    then: Callable[[], Iterable[Frame]]
    """Makes the flood; it would be half a million frames in each process that collects the tests."""


def many(*frames: Frame, times: int = 20_000) -> Callable[[], Iterable[Frame]]:
    return lambda: [*frames] * times


def ranked(n: int) -> Frame:
    """HEADERS with a priority that is different each time."""
    return headers(n, n.to_bytes(4, "big").replace(b"\0", b"\1") + b"\1" + CALL, END_HEADERS | HAS_PRIORITY)


WINDOWS = [(INITIAL_WINDOW_SIZE, n) for n in range(2_500)]

FLOODS = [
    Flood("rapid reset", CALM, [], lambda: (f for n in ODD for f in (headers(n, CALL), reset(n)))),
    Flood(
        "rapid reset of watchers",
        CALM,
        [],
        lambda: (f for n in ODD for f in (headers(n, WATCHING), data(n, EMPTY, end=True), reset(n))),
    ),
    Flood("headers with priorities", CALM, [], lambda: (f for n in ODD for f in (ranked(n), reset(n)))),
    # Here the server is made to reset the streams.
    Flood("windows of nothing", CALM, [], lambda: (f for n in ODD for f in (headers(n, CALL), window_update(n, 0)))),
    Flood(
        "windows too large", CALM, [], lambda: (f for n in ODD for f in (headers(n, CALL), window_update(n, LARGEST)))
    ),
    Flood("malformed calls", CALM, [], lambda: (headers(n, CALL + literal(b"X", b"1")) for n in ODD)),
    Flood("calls that are no gRPC", CALM, [], lambda: (headers(n, plain(head(LIVE)[:5])) for n in ODD)),
    Flood("data after the end", CALM, [headers(1, CALL), data(1, EMPTY, end=True)], many(data(1, b"1"))),
    Flood("calls beyond the maximum", CALM, [], lambda: (headers(n, CALL) for n in ODD)),
    Flood("pings", CALM, [], many(ping())),
    Flood("pongs", CALM, [], many(ping(flags=1))),
    Flood("settings", CALM, [], many(settings({INITIAL_WINDOW_SIZE: 1}), settings({INITIAL_WINDOW_SIZE: 9}))),
    Flood("many settings in a frame", SERVED, [], many(settings(WINDOWS), times=40)),
    Flood(
        "many settings over many open streams",
        SERVED,
        [headers(n, CALL) for n in range(1, 200, 2)],
        many(settings(WINDOWS), times=8),
    ),
    Flood("empty data", CALM, [headers(1, CALL)], many(data(1))),
    Flood("data of padding", CALM, [headers(1, CALL)], many(Frame(0, 8, 1, b"\0"))),
    Flood("priorities", CALM, [], lambda: (Frame(PRIORITY, 0, n, bytes(5)) for n in ODD)),
    Flood("windows", CALM, [], many(window_update(0, 1))),
    Flood("windows of a stream", CALM, [headers(1, CALL)], many(window_update(1, 1))),
    Flood("windows of streams that are over", CALM, [headers(1, CALL), reset(1)], many(window_update(1, 1))),
    Flood("resets of a stream that is over", CALM, [headers(1, CALL)], many(reset(1))),
    Flood("unknown frames", CALM, [], many(Frame(0x77, 0, 0, b"?"))),
    Flood("long unknown frames", SERVED, [], many(Frame(0x77, 0, 0, bytes(16_384)), times=2_000)),
    Flood("farewells", CALM, [], many(Frame(GOAWAY, 0, 0, bytes(8)))),
    Flood("an endless block of empty parts", CALM, [headers(1, CALL, 0)], many(continuation(1, b"", end=False))),
    Flood("an endless block, byte by byte", CALM, [headers(1, CALL, 0)], many(continuation(1, b"\x20", end=False))),
    Flood(
        "an endless block of long parts",
        CALM,
        [headers(1, CALL, 0)],
        many(continuation(1, literal(b"x", b"y" * 16_000), end=False), times=4_000),
    ),
    Flood(
        "trailers on trailers",
        "STREAM_CLOSED",
        [headers(1, CALL)],
        many(headers(1, literal(b"x", b"1"), END_HEADERS | END_STREAM)),
    ),
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_a_flood_ends_the_connection_or_costs_little(flood: Flood) -> None:
    server = Server(Echo)
    server.send(b"".join(each.encoded() for each in flood.first))
    server.told()
    for each in flood.then():
        server.send(each.encoded())
        if server.closed:
            break
    assert (ERRORS[server.left()[1]] if server.closed else SERVED) == flood.ends
    assert not server.closed or not server.connection._streams


OVER_A_SOCKET = [
    *FLOODS,
    # The service answers these on a later turn of its loop, or not without a token.
    Flood(
        "rapid reset of whole calls",
        CALM,
        [],
        lambda: (f for n in ODD for f in (headers(n, CALL), data(n, EMPTY, end=True), reset(n))),
    ),
    Flood("refused calls", CALM, [], lambda: (headers(n, plain(head(INFER))) for n in ODD)),
]


@pytest.mark.long
@pytest.mark.parametrize("flood", OVER_A_SOCKET, ids=lambda flood: flood.name)
def test_a_flood_over_a_socket_does_the_same(flood: Flood, address: str, worker: psutil.Process) -> None:
    with bounded(worker), Peer(address) as peer:
        peer.obliging = False
        peer.send(*flood.first)
        peer.lenient = True
        peer.send_bytes(b"".join(each.encoded() for each in flood.then()) + ping(b"still on").encoded())
        peer.until(lambda: b"still on" in peer.pongs or peer.closed)
        assert peer.closed == (flood.ends is not None)
        # A client that is still sending when the server hangs up may lose the GOAWAY.
        assert peer.gone is None or ERRORS[peer.gone] == flood.ends


def test_while_one_client_floods_others_are_served(address: str) -> None:
    with Peer(address) as other:
        for flood in FLOODS[:3]:
            with Peer(address) as peer:
                peer.lenient = True
                peer.send_bytes(b"".join(each.encoded() for each in islice(flood.then(), 20_000)))
                begun = time.monotonic()
                is_live(other)
                assert time.monotonic() - begun < 3.0


# Header blocks


@pytest.mark.parametrize(
    "block",
    [
        # A field of 4 kB in the table, referenced 60,000 times by one byte each.
        pytest.param(CALL + literal(b"x", b"y" * 4_000, 0x40) + b"\xbe" * 60_000, id="that unpacks to far more"),
        pytest.param(CALL + b"".join(literal(b"x-%d" % n, b"y" * 1_000) for n in range(1_000)), id="of a megabyte"),
        pytest.param(
            CALL + b"".join(literal(b"x-%d" % n, b"y" * 1_000, 0x40) for n in range(1_000)),
            id="of a megabyte into the table",
        ),
    ],
)
def test_a_block(block: bytes) -> None:
    peer = echo_peer()
    peer.send_block(1, block)
    peer.until(lambda: peer.closed)
    assert peer.gone is not None
    assert ERRORS[peer.gone] == CALM


@pytest.mark.long
def test_blocks_that_all_differ_are_not_all_cached(address: str, worker: psutil.Process) -> None:
    with bounded(worker), Peer(address) as peer:
        for stream in range(1, 6_001, 2):
            peer.send(headers(stream, CALL + literal(b"x", b"%d" % stream * 150)), data(stream, EMPTY, end=True))
            if stream % 100 == 99:
                assert peer.answer(stream).grpc_status == 0


@pytest.mark.long
def test_a_table_that_changes_its_size_without_end(address: str) -> None:
    with Peer(address) as peer:
        peer.send(headers(1, (b"\x20" + integer(4096, 5, 0x20)) * 3_000 + CALL), data(1, EMPTY, end=True))
        peer.until(lambda: peer.closed)
        assert peer.gone is not None
        assert ERRORS[peer.gone] == "COMPRESSION_ERROR"


# What is kept for clients that do not go on


@pytest.mark.parametrize("path", [LIVE, WATCH], ids=["ServerLive", "Watch"])
def test_a_client_without_a_token_cannot_have_much_kept(address: str, worker: psutil.Process, path: bytes) -> None:
    """Methods without a token take next to no message: half of a long one is not waited for."""
    most = 7_000_000
    with bounded(worker), Peer(address) as peer:
        streams = [peer.open(head(path)) for _ in range(16)]
        for stream in streams:
            peer.say(stream, b"\0" + most.to_bytes(4, "big") + bytes(most - 100), end=False)
        for stream in streams:
            assert peer.answer(stream).grpc_status == 8  # RESOURCE_EXHAUSTED
        is_live(peer)


@pytest.mark.parametrize("size", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_message_in_very_many_frames(address: str, token: str, worker: psutil.Process, size: int) -> None:
    x = np.ones((1, size), np.float32)
    content = message(inference(x))
    with bounded(worker), Peer(address) as peer:
        peer.send(headers(1, plain(head(INFER, token=token))))
        peer.send_bytes(b"".join(data(1, content[at : at + 2]).encoded() for at in range(0, len(content), 2)))
        peer.send(data(1, end=True))
        assert answered(peer.answer(1)).outputs["y"].shape == x.shape


@contextmanager
def deaf(address: str) -> Iterator[socket.socket]:
    """A client that never reads."""
    host, _, port = address.rpartition(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        raw.connect((host, int(port)))
        raw.settimeout(2.0)
        raw.sendall(PREFACE + settings({INITIAL_WINDOW_SIZE: LARGEST}).encoded())
        yield raw


@pytest.mark.long
def test_a_client_that_never_reads_is_not_read_without_end(address: str, token: str, worker: psutil.Process) -> None:
    content = message(inference(np.ones((1, 75_000), np.float32)))
    block = plain(head(INFER, token=token))
    with bounded(worker, 2 * MAY_GROW), deaf(address) as raw:
        sent = 0
        with pytest.raises(TimeoutError):
            raw.sendall(window_update(0, LARGEST - 65_535).encoded())
            for stream in range(1, 4_001, 2):
                frames = [data(stream, content[at : at + 16_384]) for at in range(0, len(content), 16_384)]
                call = [headers(stream, block), *frames, data(stream, end=True)]
                raw.sendall(b"".join(each.encoded() for each in call))
                sent += len(content)
        assert sent < 200_000_000, "all was read, though no answer could be sent"
        with Peer(address) as peer:
            answered(peer.call(head(INFER, token=token), inference([[1.0]])))


@pytest.mark.long
@pytest.mark.parametrize("asked", ["pings", "settings", "refusals"])
def test_replies_that_are_not_read_do_not_pile_up(address: str, worker: psutil.Process, asked: str) -> None:
    block = plain(head(INFER))
    content = {
        "pings": lambda: ping().encoded() * 500_000,
        "settings": lambda: settings().encoded() * 500_000,
        "refusals": lambda: b"".join(headers(n, block).encoded() for n in range(1, 200_001, 2)),
    }[asked]()
    with bounded(worker), deaf(address) as raw:
        with pytest.raises((TimeoutError, ConnectionError)):
            raw.sendall(content)
        with Peer(address) as peer:
            is_live(peer)


@pytest.mark.long
def test_answers_that_get_no_room_are_released_with_their_connection(
    address: str, token: str, worker: psutil.Process
) -> None:
    content = message(inference(np.ones((1, 75_000), np.float32)))

    def wait_and_leave() -> None:
        with Peer(address, {INITIAL_WINDOW_SIZE: 0}, obliging=False) as peer:
            for _ in range(200):
                peer.say(peer.open(head(INFER, token=token)), content)
            peer.until(lambda: all(stream.blocks for stream in peer.streams.values()))

    wait_and_leave()
    with bounded(worker, 2 * MAY_GROW):  # of the 240 MB that are sent
        for _ in range(4):
            wait_and_leave()


@pytest.mark.parametrize("times", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_an_unfinished_message_takes_no_more_than_its_bytes(
    address: str, token: str, worker: psutil.Process, times: int
) -> None:
    """Two bytes a frame, and no message ever whole."""
    with bounded(worker), Peer(address) as peer:
        peer.send(headers(1, plain(head(STREAM_INFER, token=token))))
        peer.send(data(1, b"\0" + (1_000_000).to_bytes(4, "big")))
        peer.send_bytes(data(1, bytes(2)).encoded() * times)
        assert peer.pong()


# Connections


@pytest.mark.parametrize("times", [100, pytest.param(2_000, marks=pytest.mark.long)])
def test_many_connections_one_after_the_other(address: str, worker: psutil.Process, times: int) -> None:
    before = worker.num_fds()
    with bounded(worker):
        for number in range(times):
            wire = SocketWire(address)
            if number % 4:
                wire.send((PREFACE + settings().encoded())[: number % 40])
            wire.close()
        until(lambda: worker.num_fds() <= before + 5)


@pytest.mark.parametrize("times", [50, pytest.param(1_000, marks=pytest.mark.long)])
def test_many_connections_at_once(address: str, worker: psutil.Process, times: int) -> None:
    at_once = min(times, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)
    before = worker.num_fds()
    with bounded(worker):
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(address)) for _ in range(at_once)]
            for peer in peers[::50]:
                is_live(peer)
        until(lambda: worker.num_fds() <= before + 5)


@pytest.mark.long
def test_a_client_that_sends_no_settings_is_disconnected(address: str) -> None:
    begun = time.monotonic()
    with ExitStack() as stack:
        wires = [SocketWire(address, 2 * LIMIT_S) for _ in range(3)]
        for wire, said in zip(wires, (b"", PREFACE, (PREFACE + settings().encoded())[:-1]), strict=True):
            stack.callback(wire.close)
            wire.send(said)
        for wire in wires:
            while wire.receive(begun + 30.0):
                pass
    assert 9.0 < time.monotonic() - begun < 30.0
