"""What is lawful frame by frame and harmful in numbers: served, or the connection ends; nothing hangs or grows."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from tests.helpers.waiting import until
from tests.http2.raw import (
    END_HEADERS,
    END_STREAM,
    ERRORS,
    HAS_PRIORITY,
    INITIAL_WINDOW_SIZE,
    LARGEST,
    LIMIT_S,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    Frame,
    Peer,
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
"""Bytes of the worker's memory, whatever it went through."""

CALL = plain(head(LIVE))
WATCHING = plain(head(WATCH))
EMPTY = message()
ODD = range(1, 40_001, 2)

CALM = "ENHANCE_YOUR_CALM"


@contextmanager
def bounded(worker: psutil.Process, most: int = MAY_GROW) -> Iterator[None]:
    before = worker.memory_info().rss
    yield
    grown = worker.memory_info().rss - before
    assert grown < most, f"the worker grew by {grown / 1e6:.0f} MB"


@dataclass(frozen=True)
class Flood:
    name: str
    first: Sequence[Frame]
    """Sent once."""
    then: Sequence[Frame]
    """The flood."""
    ends: tuple[str, ...] = (CALM,)
    """How the connection may end, where it does."""
    must_end: bool = False


def many(*frames: Frame, times: int = 20_000) -> list[Frame]:
    return [*frames] * times


FLOODS = [
    Flood("rapid reset", [], [f for n in ODD for f in (headers(n, CALL), reset(n))]),
    Flood(
        "rapid reset of whole calls",
        [],
        [f for n in ODD for f in (headers(n, CALL), data(n, EMPTY, end=True), reset(n))],
    ),
    Flood(
        "rapid reset of watchers",
        [],
        [f for n in ODD for f in (headers(n, WATCHING), data(n, EMPTY, end=True), reset(n))],
    ),
    # The server is made to reset the streams itself.
    Flood("windows of nothing", [], [f for n in ODD for f in (headers(n, CALL), window_update(n, 0))]),
    Flood("windows too large", [], [f for n in ODD for f in (headers(n, WATCHING), window_update(n, LARGEST))]),
    Flood("malformed calls", [], [headers(n, CALL + literal(b"X", b"1")) for n in ODD]),
    Flood("refused calls", [], [headers(n, plain(head(INFER))) for n in ODD]),
    Flood("calls that are no gRPC", [], [headers(n, plain(head(LIVE)[:5])) for n in ODD]),
    Flood(
        "data after the end", [headers(1, CALL), data(1, EMPTY, end=True)], many(data(1, b"1")), (CALM, "STREAM_CLOSED")
    ),
    Flood("calls beyond the most at once", [], [headers(n, CALL) for n in ODD]),
    Flood("pings", [], many(ping())),
    Flood("pongs", [], many(ping(flags=1))),
    Flood("settings", [], many(settings({INITIAL_WINDOW_SIZE: 1}), settings({INITIAL_WINDOW_SIZE: 9}), times=10_000)),
    Flood("many settings in a frame", [], many(settings([(INITIAL_WINDOW_SIZE, n) for n in range(2_500)]), times=40)),
    Flood(
        "settings over many open streams",
        [headers(n, CALL) for n in range(1, 200, 2)],
        many(settings([(INITIAL_WINDOW_SIZE, n) for n in range(2_500)]), times=8),
    ),
    Flood("empty data", [headers(1, CALL)], many(data(1))),
    Flood("data of padding", [headers(1, CALL)], many(Frame(0, 8, 1, b"\0"))),
    Flood("priorities", [], [Frame(PRIORITY, 0, n, bytes(5)) for n in ODD]),
    Flood(
        "headers with priorities",
        [],
        [
            f
            for n in ODD
            for f in (
                headers(n, n.to_bytes(4, "big").replace(b"\0", b"\1") + b"\1" + CALL, END_HEADERS | HAS_PRIORITY),
                reset(n),
            )
        ],
    ),
    Flood("windows", [], many(window_update(0, 1))),
    Flood("windows of a stream", [headers(1, WATCHING)], many(window_update(1, 1))),
    Flood("windows of streams that are over", [headers(1, CALL), reset(1)], many(window_update(1, 1))),
    Flood("resets of a stream that is over", [headers(1, CALL)], many(reset(1))),
    Flood("unknown frames", [], many(Frame(0x77, 0, 0, b"?"))),
    Flood("unknown frames of much", [], many(Frame(0x77, 0, 0, bytes(16_384)), times=2_000)),
    Flood("farewells", [], many(Frame(7, 0, 0, bytes(8)))),
    Flood(
        "a block without end, of nothing", [headers(1, CALL, 0)], many(continuation(1, b"", end=False)), must_end=True
    ),
    Flood(
        "a block without end, byte by byte",
        [headers(1, CALL, 0)],
        many(continuation(1, b"\x20", end=False)),
        must_end=True,
    ),
    Flood(
        "a block without end, of much",
        [headers(1, CALL, 0)],
        many(continuation(1, literal(b"x", bytes(16_000).replace(b"\0", b"y")), end=False), times=4_000),
        must_end=True,
    ),
    Flood(
        "trailers on trailers",
        [headers(1, CALL)],
        many(headers(1, literal(b"x", b"1"), END_HEADERS | END_STREAM)),
        (CALM, "STREAM_CLOSED"),
    ),
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_a_flood_is_borne_or_ends_the_connection(flood: Flood, address: str, worker: psutil.Process) -> None:
    content = b"".join(each.encoded() for each in flood.then)
    with bounded(worker), Peer(address) as peer:
        peer.obliging = False
        peer.send(*flood.first)
        peer.lenient = True
        peer.send_bytes(content)
        peer.send_bytes(ping(b"still on").encoded())
        peer.until(lambda: b"still on" in peer.pongs or peer.closed)
        if peer.closed or peer.gone is not None:
            peer.until(lambda: peer.closed)
            # What it said last may be lost to those who were still sending.
            assert peer.gone is None or ERRORS[peer.gone] in flood.ends
        else:
            assert not flood.must_end


def test_while_one_floods_others_are_served(address: str) -> None:
    with Peer(address) as other:
        for flood in FLOODS[:3]:
            with Peer(address) as peer:
                peer.lenient = True
                peer.send_bytes(b"".join(each.encoded() for each in flood.then[:20_000]))
                begun = time.monotonic()
                is_live(other)
                assert time.monotonic() - begun < 3.0


# Header blocks


def test_a_block_that_unpacks_to_far_more(address: str, worker: psutil.Process) -> None:
    """A field of 4 kB in the table, told of 60000 times by one byte each."""
    with bounded(worker), Peer(address) as peer:
        peer.send(headers(1, CALL + literal(b"x", b"y" * 4_000, 0x40)), reset(1))
        for stream in range(3, 23, 2):
            block = CALL + b"\xbe" * 60_000
            peer.send_block(stream, block)
        peer.until(lambda: peer.gone is not None or all(peer.streams[n].done for n in range(3, 23, 2)))
        assert peer.gone is None or ERRORS[peer.gone] in (CALM, "COMPRESSION_ERROR", "PROTOCOL_ERROR")


@pytest.mark.parametrize("table", [0, 0x40], ids=["by value", "into the table"])
def test_a_megabyte_of_headers(address: str, worker: psutil.Process, table: int) -> None:
    block = CALL + b"".join(literal(b"x-%d" % n, b"y" * 1_000, table) for n in range(1_000))
    with bounded(worker), Peer(address) as peer:
        peer.send_block(1, block)
        peer.until(lambda: peer.gone is not None or peer.streams[1].done)
        if peer.gone is not None:
            assert ERRORS[peer.gone] in (CALM, "COMPRESSION_ERROR", "PROTOCOL_ERROR")
        elif peer.streams[1].blocks:
            assert peer.streams[1].headers[b":status"] == b"431" or peer.streams[1].grpc_status == 8
        else:
            assert peer.closed or peer.streams[1].reset in (1, 11)


def test_blocks_that_all_differ_are_not_all_remembered(address: str, worker: psutil.Process) -> None:
    with bounded(worker), Peer(address) as peer:
        for stream in range(1, 6_001, 2):
            peer.send(headers(stream, CALL + literal(b"x", b"%d" % stream * 150)), data(stream, EMPTY, end=True))
            if stream % 100 == 99:
                assert peer.answer(stream).grpc_status == 0


def test_a_table_that_changes_its_size_without_end(address: str) -> None:
    with Peer(address) as peer:
        sizes = b"\x20" + integer(4096, 5, 0x20)
        for stream in range(1, 201, 2):
            peer.send(headers(stream, sizes * 3_000 + CALL), data(stream, EMPTY, end=True))
        peer.until(lambda: peer.gone is not None or peer.streams[199].done)
        assert peer.gone is None or ERRORS[peer.gone] in (CALM, "COMPRESSION_ERROR")


# What is kept for those who do not go on


@pytest.mark.parametrize("path", [LIVE, WATCH], ids=["ServerLive", "Watch"])
def test_strangers_do_not_have_much_kept_for_them(address: str, worker: psutil.Process, path: bytes) -> None:
    """Methods without a token take next to no message: half of a long one is not waited for."""
    most = 7_000_000
    with bounded(worker), ExitStack() as stack:
        for _ in range(4):
            peer = stack.enter_context(Peer(address))
            streams = [peer.open(head(path)) for _ in range(8)]
            for stream in streams:
                peer.say(stream, b"\0" + most.to_bytes(4, "big") + bytes(most - 100), end=False)
            for stream in streams:
                assert peer.answer(stream).grpc_status == 8  # RESOURCE_EXHAUSTED
            is_live(peer)


def test_a_message_in_very_many_frames(address: str, token: str, worker: psutil.Process) -> None:
    x = np.ones((1, 10_000), np.float32)
    content = message(inference(x))
    frames = [data(1, content[at : at + 2]).encoded() for at in range(0, len(content), 2)]
    with bounded(worker), Peer(address) as peer:
        peer.send(headers(1, plain(head(INFER, token=token))))
        peer.send_bytes(b"".join(frames))
        peer.send(data(1, end=True))
        assert answered(peer.answer(1)).outputs["y"].shape == x.shape


def test_who_never_reads_has_no_more_kept_than_it_asked_for_at_once(
    address: str, token: str, worker: psutil.Process
) -> None:
    x = np.ones((1, 75_000), np.float32)
    content = message(inference(x))
    block = plain(head(INFER, token=token))
    windows = settings({INITIAL_WINDOW_SIZE: LARGEST}).encoded() + window_update(0, LARGEST - 65_535).encoded()
    host, _, port = address.rpartition(":")
    with bounded(worker, 2 * MAY_GROW), socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        raw.connect((host, int(port)))
        raw.settimeout(2.0)
        sent = 0
        try:
            raw.sendall(PREFACE + windows)
            for stream in range(1, 4_001, 2):
                frames = [data(stream, content[at : at + 16_384]) for at in range(0, len(content), 16_384)]
                call = [headers(stream, block), *frames, data(stream, end=True)]
                raw.sendall(b"".join(each.encoded() for each in call))
                sent += len(content)
        except TimeoutError:
            pass
        assert sent < 200_000_000, "all was read, though no answer could be sent"
        with Peer(address) as peer:
            answered(peer.call(head(INFER, token=token), inference([[1.0]])))


@pytest.mark.parametrize("asked", [ping(), settings(), Frame(RST_STREAM)], ids=["pings", "settings", "refusals"])
def test_replies_that_nobody_reads_do_not_pile_up(address: str, worker: psutil.Process, asked: Frame) -> None:
    if asked.kind == RST_STREAM:
        block = plain(head(INFER))
        content = b"".join(headers(n, block).encoded() for n in range(1, 200_001, 2))
    else:
        content = asked.encoded() * 500_000
    host, _, port = address.rpartition(":")
    with bounded(worker), socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        raw.connect((host, int(port)))
        raw.settimeout(2.0)
        try:
            raw.sendall(PREFACE + settings().encoded())
            raw.sendall(content)
        except (TimeoutError, ConnectionError):
            pass
        with Peer(address) as peer:
            is_live(peer)


def test_answers_that_nobody_gives_room_are_let_go_with_their_connection(
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


def test_messages_of_a_stream_that_wait_are_few(address: str, token: str, worker: psutil.Process) -> None:
    """Two bytes a frame, and no message ever whole."""
    content = b"".join(data(1, bytes(2)).encoded() for _ in range(100_000))
    with bounded(worker), Peer(address) as peer:
        peer.send(headers(1, plain(head(STREAM_INFER, token=token))))
        peer.send(data(1, b"\0" + (1_000_000).to_bytes(4, "big")))
        peer.send_bytes(content)
        assert peer.pong()


# Connections


def test_many_connections_one_after_the_other(address: str, worker: psutil.Process) -> None:
    before = worker.num_fds()
    with bounded(worker):
        for number in range(2_000):
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), LIMIT_S) as raw:
                if number % 4:
                    raw.sendall((PREFACE + settings().encoded())[: number % 40])
        until(lambda: worker.num_fds() <= before + 5)


def test_many_connections_at_once(address: str, worker: psutil.Process) -> None:
    at_once = min(1_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)
    before = worker.num_fds()
    with bounded(worker):
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(address)) for _ in range(at_once)]
            for peer in peers[::50]:
                is_live(peer)
        until(lambda: worker.num_fds() <= before + 5)


def test_who_never_says_what_it_wants_is_hung_up_on(address: str) -> None:
    host, _, port = address.rpartition(":")
    begun = time.monotonic()
    with ExitStack() as stack:
        raws = [stack.enter_context(socket.create_connection((host, int(port)), 30.0)) for _ in range(3)]
        raws[1].sendall(PREFACE)
        raws[2].sendall((PREFACE + settings().encoded())[:-1])
        for raw in raws:
            try:
                while raw.recv(65_536):
                    pass
            except ConnectionResetError:
                pass
    assert time.monotonic() - begun < 30.0


def test_pings_of_a_client_that_is_quiet_otherwise_are_answered(address: str) -> None:
    """As those are that keep a connection open through a proxy."""
    with Peer(address) as peer:
        for _ in range(100):
            assert peer.pong()
        is_live(peer)
