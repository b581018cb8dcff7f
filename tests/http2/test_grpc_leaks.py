"""However a call ends, it releases what it held: its bytes, and its place among the calls under way."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from tests.http2.raw import (
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    Fields,
    Peer,
    data,
    headers,
    literal,
    message,
    reset,
)
from tests.http2.service import INFER, LIVE, STREAM_INFER, answered, head, inference

MOST_BYTES, MOST_CALLS = 60_000, 6
"""Of all calls at once: so few that one call's bytes or place, not released, are missed by `everything_is_free`."""

WHOLE = message(inference(np.ones((1, 1_500), np.float32)))
HALF = WHOLE[:4_000]
LOOP = message(inference(np.zeros(1_000, np.float32), "loop", n=np.int64(3_000)))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("strict")
    for name, model in {"echo": models.identity(shape=("batch", "n")), "loop": models.loop()}.items():
        models.save(model, folder / "repository" / name / "1" / "model.onnx")
    limits = {
        "INFER_WORKBENCH_MAX_BODY_BYTES_IN_FLIGHT": str(MOST_BYTES),
        "INFER_WORKBENCH_MAX_IN_FLIGHT": str(MOST_CALLS),
        "INFER_WORKBENCH_MAX_BODY_BYTES": "50000",
    }
    arguments = ["--model-repository", str(folder / "repository"), "--grpc-port", "0"]
    with Serve(Path(folder), *arguments, environment=limits) as serve:
        yield serve.ready()


Way = Callable[[Peer, str, str], None]
"""One call to an end, given the address and the token."""


def begun(peer: Peer, token: str, *bodies: bytes, path: bytes = INFER, more: Fields = ()) -> int:
    """A call that has sent these, and not ended."""
    stream = peer.open(head(path, *more, token=token))
    for body in bodies:
        peer.say(stream, body, end=False)
    return stream


def cancelled(*bodies: bytes, path: bytes = INFER, more: Fields = (), end: bool = False) -> Way:
    def go(peer: Peer, address: str, token: str) -> None:
        stream = begun(peer, token, *bodies, path=path, more=more)
        peer.send(*([data(stream, end=True)] if end else []), reset(stream))

    return go


def ended(*bodies: bytes, path: bytes = INFER, more: Fields = ()) -> Way:
    def go(peer: Peer, address: str, token: str) -> None:
        stream = begun(peer, token, *bodies, path=path, more=more)
        peer.send(data(stream, end=True))
        peer.answer(stream)

    return go


def left(*bodies: bytes, path: bytes = INFER, end: bool = False) -> Way:
    def go(peer: Peer, address: str, token: str) -> None:
        with Peer(address) as other:
            stream = begun(other, token, *bodies, path=path)
            if end:
                other.send(data(stream, end=True))

    return go


def unread(*bodies: bytes, path: bytes = INFER, how: str) -> Way:
    """The answer waits for a window that never opens."""

    def go(peer: Peer, address: str, token: str) -> None:
        with Peer(address, {INITIAL_WINDOW_SIZE: 0}) as other:
            stream = begun(other, token, *bodies, path=path)
            other.send(data(stream, end=True))
            other.until(lambda: other.streams[stream].blocks)
            if how == "cancelled":
                other.send(reset(stream))
                assert other.pong()

    return go


def with_trailers(peer: Peer, address: str, token: str) -> None:
    stream = begun(peer, token, HALF)
    peer.send(headers(stream, literal(b"x", b"1"), END_HEADERS | END_STREAM))
    peer.answer(stream)


def with_a_block_that_breaks_the_connection(peer: Peer, address: str, token: str) -> None:
    with Peer(address) as other:
        stream = begun(other, token, HALF)
        begun(other, token, WHOLE, path=STREAM_INFER)
        other.send(headers(stream + 40, b"\x80"))
        other.until(lambda: other.closed)


PACKED = message(gzip.compress(WHOLE[5:]), compressed=1)
GZIP = ((b"grpc-encoding", b"gzip"),)
SOON = ((b"grpc-timeout", b"1m"),)

WAYS: dict[str, Way] = {
    "half a prefix, cancelled": cancelled(WHOLE[:3]),
    "half a message, cancelled": cancelled(HALF),
    "half a message, left": left(HALF),
    "half a message, ended": ended(HALF),
    "half a message, ended by trailers": with_trailers,
    "half a message, longer than its content-length": ended(HALF, more=((b"content-length", b"3999"),)),
    "half a message, shorter than its content-length": ended(HALF, more=((b"content-length", b"9999"),)),
    "half a message, and a broken connection": with_a_block_that_breaks_the_connection,
    "half a message whose deadline passes": ended(HALF, more=SOON),
    "a message without END_STREAM, cancelled": cancelled(WHOLE),
    "a message and more": ended(WHOLE, HALF),
    "two messages": ended(WHOLE, WHOLE),
    "a message in parts, cancelled": cancelled(HALF, WHOLE[4_000:], end=True),
    "a whole call, cancelled at once": cancelled(WHOLE, end=True),
    "a whole call, left at once": left(WHOLE, end=True),
    "a run, cancelled": cancelled(LOOP, end=True),
    "a run, left": left(LOOP, end=True),
    "a run whose deadline passes": ended(LOOP, more=SOON),
    "an answer that is not read, cancelled": unread(WHOLE, how="cancelled"),
    "an answer that is not read, left": unread(WHOLE, how="left"),
    "no model of that name": ended(message(inference([[1.0]] * 500, "nothing"))),
    "not a message": ended(message(b"\xff" * 5_000)),
    "a message over the cap": ended(b"\0" + (50_001).to_bytes(4, "big") + bytes(4_000)),
    "a compressed message": ended(PACKED, more=GZIP),
    "a compressed message, cancelled": cancelled(PACKED, more=GZIP, end=True),
    "a compressed message in parts": ended(PACKED[:20], PACKED[20:], more=GZIP),
    "a compressed message that cannot be unpacked": ended(message(b"none" * 1_000, compressed=1), more=GZIP),
    "a compressed message over the cap": ended(message(gzip.compress(bytes(60_000)), compressed=1), more=GZIP),
    "a compressed message without a coding": ended(message(b"none" * 1_000, compressed=1)),
    "a long message without a token": ended(b"\0\0\0\x0f\xff" + bytes(4_000), path=LIVE),
    "a stream of half a message, cancelled": cancelled(HALF, path=STREAM_INFER),
    "a stream of half a message, left": left(HALF, path=STREAM_INFER),
    "a stream of half a message, ended": ended(HALF, path=STREAM_INFER),
    "a stream, cancelled": cancelled(WHOLE, WHOLE, HALF, path=STREAM_INFER),
    "a stream, left": left(WHOLE, WHOLE, HALF, path=STREAM_INFER),
    "a stream of runs, cancelled": cancelled(LOOP, LOOP, HALF, path=STREAM_INFER),
    "a stream whose deadline passes": ended(LOOP, HALF, path=STREAM_INFER, more=SOON),
    "a stream that is not read, cancelled": unread(WHOLE, WHOLE, path=STREAM_INFER, how="cancelled"),
    "a stream that is not read, left": unread(WHOLE, WHOLE, path=STREAM_INFER, how="left"),
    "a stream with a message over the cap": ended(WHOLE, b"\0\xff\0\0\0" + bytes(4_000), path=STREAM_INFER),
    "a stream with a compressed message": ended(PACKED, WHOLE, PACKED, path=STREAM_INFER, more=GZIP),
    "a stream with a compressed message that cannot be unpacked": ended(
        message(b"none", compressed=1), HALF, path=STREAM_INFER, more=GZIP
    ),
}


@pytest.mark.parametrize("times", [2, pytest.param(25, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_held_after(strict: Serve, way: str, times: int) -> None:
    address, token = strict.grpc, strict.token
    with Peer(address) as peer:
        for _ in range(times):
            WAYS[way](peer, address, token)

    def everything_is_free() -> bool:
        """Makes as many calls at once as are allowed, with as many bytes as are allowed."""
        with Peer(address) as peer:
            size = MOST_BYTES // MOST_CALLS // 2 - 200  # it counts twice: as it came, and decoded
            whole = message(inference(np.ones((1, size // 4), np.float32)))
            streams = [begun(peer, token, whole[: size - 10]) for _ in range(MOST_CALLS)]
            for stream in streams:
                peer.say(stream, whole[size - 10 :])
            found = [peer.answer(stream) for stream in streams]
            if any(each.grpc_status == 8 for each in found):  # RESOURCE_EXHAUSTED: a cancelled run ends a little later
                return False
            return all(answered(each).outputs["y"].shape == (1, size // 4) for each in found)

    until(everything_is_free, 10.0)
