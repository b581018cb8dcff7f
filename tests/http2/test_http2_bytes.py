"""Bytes as a network brings them: in any pieces, cut off anywhere."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.http2.raw import (
    ACK,
    ENABLE_PUSH,
    LIMIT_S,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    SETTINGS,
    WINDOW,
    Frame,
    Peer,
    Stream,
    data,
    headers,
    message,
    messages,
    ping,
    plain,
    settings,
)
from tests.http2.service import INFER, IS_LIVE, LIVE, answered, head, inference, is_live

GREETING = PREFACE + settings().encoded()


def whole(token: str, *, stream: int = 1) -> bytes:
    """A call as it goes over the wire."""
    content = message(inference([[1.0, 2.0]]))
    return headers(stream, plain(head(INFER, token=token))).encoded() + data(stream, content, end=True).encoded()


def known(peer: Peer, *streams: int) -> None:
    """Those are sent as bytes, past the peer's own notes."""
    for stream in streams:
        peer.streams[stream] = Stream(WINDOW, WINDOW)


def test_a_call_that_comes_byte_by_byte(address: str, token: str) -> None:
    with Peer(address, greet=False) as peer:
        known(peer, 1)
        peer.unacknowledged.append({})
        for byte in GREETING + whole(token):
            peer.send_bytes(bytes([byte]))
        assert answered(peer.answer(1)).outputs["y"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("size", [2, 3, 8, 9, 10, 23, 24, 25, 100])
def test_a_call_that_comes_in_pieces(address: str, token: str, size: int) -> None:
    content = GREETING + whole(token)
    with Peer(address, greet=False) as peer:
        known(peer, 1)
        peer.unacknowledged.append({})
        for at in range(0, len(content), size):
            peer.send_bytes(content[at : at + size])
        answered(peer.answer(1))


def test_everything_in_one_segment(address: str, token: str) -> None:
    streams = range(1, 101, 2)
    with Peer(address, greet=False) as peer:
        known(peer, *streams)
        peer.unacknowledged.append({})
        peer.send_bytes(GREETING + b"".join(whole(token, stream=stream) for stream in streams))
        for stream in streams:
            answered(peer.answer(stream))


def test_requests_whose_frames_come_in_turns(address: str, token: str) -> None:
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
def test_a_connection_that_ends_anywhere(address: str, token: str, how: str) -> None:
    content = GREETING + whole(token)
    for cut in sorted({*range(0, len(content), 23), 24, 33, len(content) - 1}):
        with Peer(address, greet=False) as peer:
            known(peer, 1)
            peer.unacknowledged.append({})
            peer.send_bytes(content[:cut])
            if how == "abruptly":
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how == "for writing":
                # Who has no more to say may still listen; what was asked in full may be answered, or nothing.
                peer.socket.shutdown(socket.SHUT_WR)
                peer.until(lambda: peer.closed)
    with Peer(address) as peer:
        is_live(peer)


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
def test_what_is_no_http_2_is_hung_up_on(address: str, said: bytes) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), LIMIT_S) as raw:
        raw.sendall(said)
        heard = b""
        try:
            while more := raw.recv(65536):
                heard += more
        except ConnectionResetError:
            pass
        assert len(heard) < 1000


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(ping().encoded(), id="PING"),
        pytest.param(Frame(SETTINGS, ACK).encoded(), id="an acknowledgement"),
        pytest.param(headers(1, plain(head(LIVE))).encoded(), id="HEADERS"),
    ],
)
def test_the_first_frame_is_to_be_settings(address: str, first: bytes) -> None:
    with Peer(address, greet=False) as peer:
        known(peer, 1)
        peer.send_bytes(PREFACE + first + data(1, message(), end=True).encoded())
        peer.until(lambda: peer.gone is not None)
        assert peer.gone == 1  # PROTOCOL_ERROR
        peer.until(lambda: peer.closed)


def test_a_client_need_not_wait_for_the_server_s_settings(address: str) -> None:
    with Peer(address, greet=False) as peer:
        known(peer, 1)
        peer.unacknowledged.append({})
        call = headers(1, plain(head(LIVE))).encoded() + data(1, message(), end=True).encoded()
        peer.send_bytes(GREETING + call)
        found = peer.answer(1)
        assert messages(bytes(found.data)) == [IS_LIVE]
        assert peer.theirs


def test_the_server_says_what_it_takes(address: str) -> None:
    with Peer(address) as peer:
        assert peer.pong()
        assert 100 <= peer.theirs[MAX_CONCURRENT_STREAMS] <= 100_000
        assert peer.theirs.get(ENABLE_PUSH, 0) == 0
        assert not peer.unacknowledged
