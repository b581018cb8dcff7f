"""Bytes as a network delivers them: in pieces of any size, cut off anywhere."""

from __future__ import annotations

import socket
import struct

import psutil
import pytest

from tests.helpers.waiting import until
from tests.http2.cases import CALL
from tests.http2.in_process import Echo, Server
from tests.http2.raw import (
    ACK,
    ENABLE_PUSH,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    SETTINGS,
    WINDOW,
    Frame,
    Peer,
    SocketWire,
    Stream,
    data,
    headers,
    message,
    ping,
    plain,
    settings,
)
from tests.http2.service import INFER, answered, head, inference
from workbench.http2.connection import MAX_STREAMS

GREETING = PREFACE + settings().encoded()
BODY = message(b"some body")


def whole(stream: int = 1, block: bytes = CALL, body: bytes = BODY) -> bytes:
    """A call as it is sent."""
    return headers(stream, block).encoded() + data(stream, body, end=True).encoded()


def silent(wire: Server | SocketWire, *streams: int) -> Peer:
    """A peer that has sent nothing, and will send calls on these streams as mere bytes."""
    peer = Peer(wire, greet=False)
    peer.streams = {stream: Stream(WINDOW, WINDOW) for stream in streams}
    peer.unacknowledged.append({})
    return peer


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 10, 23, 24, 25, 100])
def test_a_call_that_comes_in_pieces(size: int) -> None:
    content = GREETING + whole()
    peer = silent(Server(Echo, greeted=False), 1)
    for at in range(0, len(content), size):
        peer.send_bytes(content[at : at + size])
    assert peer.answer(1).data == BODY


def test_the_service_takes_a_call_byte_by_byte(address: str, token: str) -> None:
    body = message(inference([[1.0, 2.0]]))
    with silent(SocketWire(address), 1) as peer:
        for byte in GREETING + whole(1, plain(head(INFER, token=token)), body):
            peer.send_bytes(bytes([byte]))
        assert answered(peer.answer(1)).outputs["y"].tolist() == [[1.0, 2.0]]


def test_everything_in_one_segment() -> None:
    """A client need not wait for the server's settings."""
    streams = range(1, 101, 2)
    peer = silent(Server(Echo, greeted=False), *streams)
    peer.send_bytes(GREETING + b"".join(whole(stream) for stream in streams))
    assert all(peer.answer(stream).data == BODY for stream in streams)
    assert peer.theirs


def test_interleaved_frames_of_several_requests(address: str, token: str) -> None:
    block = plain(head(INFER, token=token))
    contents = {stream: message(inference([[float(stream)] * 500])) for stream in (1, 3, 5)}
    with Peer(address) as peer:
        peer.send(*(headers(stream, block) for stream in contents))
        for at in range(0, 3000, 100):
            peer.send(*(data(stream, content[at : at + 100]) for stream, content in contents.items()))
        peer.send(*(data(stream, end=True) for stream in reversed(contents)))
        for stream in contents:
            assert answered(peer.answer(stream)).outputs["y"][0, 0] == stream


@pytest.mark.parametrize("how", ["in order", "abruptly", "for writing"])
def test_a_connection_that_ends_anywhere_leaves_nothing_open(
    address: str, token: str, worker: psutil.Process, how: str
) -> None:
    content = GREETING + whole(1, plain(head(INFER, token=token)), message(inference([[1.0, 2.0]])))
    before = worker.num_fds()
    for cut in sorted({*range(0, len(content), 23), 24, 33, len(content) - 1}):
        wire = SocketWire(address)
        with silent(wire, 1) as peer:
            peer.send_bytes(content[:cut])
            if how == "abruptly":
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how == "for writing":
                wire.socket.shutdown(socket.SHUT_WR)
                peer.until(lambda: peer.closed)
                assert peer.closed
    until(lambda: worker.num_fds() <= before + 2)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx" + settings().encoded(),
        b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n" + settings().encoded(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\0" * 64,
    ],
    ids=["HTTP/1.1", "another byte at the end", "another version", "TLS", "zeros"],
)
def test_what_is_not_http_2_is_answered_as_http_1_and_closed(said: bytes) -> None:
    server = Server(greeted=False)
    server.told()
    server.send(said)
    assert server.receive().startswith(b"HTTP/1.1 505 ")
    assert server.closed == 1


@pytest.mark.parametrize(
    "first", [ping(), Frame(SETTINGS, ACK), headers(1, CALL)], ids=["PING", "an acknowledgement", "HEADERS"]
)
def test_the_first_frame_must_be_settings(first: Frame) -> None:
    peer = silent(Server(Echo, greeted=False), 1)
    peer.send_bytes(PREFACE + first.encoded() + data(1, message(), end=True).encoded())
    peer.until(lambda: peer.closed)
    assert peer.gone == 1  # PROTOCOL_ERROR


def test_the_server_s_settings(address: str) -> None:
    with Peer(address) as peer:
        assert peer.pong()
        assert peer.theirs[MAX_CONCURRENT_STREAMS] == MAX_STREAMS
        assert ENABLE_PUSH not in peer.theirs
        assert not peer.unacknowledged
