"""Whatever a client lawfully does, in any order, each of its calls gets the answer that it asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http2.in_process import echo_peer
from tests.http2.raw import (
    FRAME,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    Fields,
    Frame,
    Peer,
    Stream,
    message,
    reset,
    window_update,
)
from tests.http2.raw import settings as settings_frame
from tests.http2.service import INFER, LIVE, STREAM_INFER, answered, head, inference
from workbench.protocols.oip_grpc import decode_stream_response

SIZES = st.sampled_from([1, 10, 1_000, 5_000, 20_000, 100_000])
"""Elements of a tensor, of four bytes each."""

ACTIONS = st.one_of(
    st.tuples(st.just("call"), SIZES, st.sampled_from([7, 100, 4_000, FRAME])),
    st.tuples(st.just("converse"), SIZES, st.integers(1, 4)),
    st.tuples(st.just("half a call"), SIZES, st.integers(0, 30)),
    st.tuples(st.just("refused"), st.just(0), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 10, 1_000, 65_535, 1_000_000]), st.just(0)),
    st.tuples(st.just("frame size"), st.sampled_from([FRAME, FRAME + 1, 100_000, (1 << 24) - 1]), st.just(0)),
    st.tuples(st.just("table"), st.sampled_from([0, 100, 4_096]), st.just(0)),
    st.tuples(st.just("widen"), st.integers(0, 9), st.sampled_from([1, 9, 5_000, 100_000])),
    st.tuples(st.just("widen all"), st.sampled_from([1, 70_000, 1_000_000]), st.just(0)),
    st.tuples(st.just("listen"), st.just(0), st.just(0)),
    st.tuples(st.just("unknown frame"), st.integers(0x10, 0xFF), st.just(0)),
)
PLANS = given(first=st.sampled_from([0, 1, 500, 65_535]), actions=st.lists(ACTIONS, min_size=3, max_size=25))

Action = tuple[str, int, int]
Request = tuple[Fields, bytes, Callable[[Stream], None]]
"""A call's head and body, and the check of its answer."""


def chat(peer: Peer, actions: Sequence[Action], request: Callable[[str, int, int], Request]) -> None:
    """`request` takes a name, the size of each message, and how many a stream has; 0: a call of one message."""
    calls: dict[int, Callable[[Stream], None]] = {}
    left: set[int] = set()
    peer.send(Frame(4, 1))  # acknowledges the server's settings
    for what, one, two in actions:
        stream = list(calls)[one] if what in ("cancel", "widen") and one < len(calls) else 0
        if what in ("call", "converse"):
            fields, body, check = request(f"call-{len(calls)}", one, two if what == "converse" else 0)
            stream = peer.open(fields)
            peer.say(stream, body, most=max(two, one // 50) if what == "call" else FRAME)
            calls[stream] = check
        elif what == "half a call":
            fields, body, _ = request("half", one, 0)
            stream = peer.open(fields)
            peer.say(stream, body[:two], end=False)
            peer.send(reset(stream))
        elif what == "refused":
            peer.open(head(LIVE)[:5], end=True)
        elif what == "window":
            peer.send(settings_frame({INITIAL_WINDOW_SIZE: one}))
        elif what == "frame size":
            peer.send(settings_frame({MAX_FRAME_SIZE: one}))
        elif what == "table":
            peer.send(settings_frame({HEADER_TABLE_SIZE: one}))
        elif stream and not peer.streams[stream].done and stream not in left:
            peer.send(reset(stream) if what == "cancel" else window_update(stream, two))
            if what == "cancel":
                left.add(stream)
        elif what == "widen all":
            peer.send(window_update(0, one))
        elif what == "listen":
            assert peer.pong()
        elif what == "unknown frame":
            peer.send(Frame(one, 0xFF, 0, b"?"))
    # Now everything may come.
    peer.send(settings_frame({INITIAL_WINDOW_SIZE: 1 << 29}), window_update(0, 1 << 29))
    for stream, check in calls.items():
        if stream not in left:
            check(peer.answer(stream))
    assert peer.pong()
    assert not peer.unacknowledged


def tensors(size: int, count: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [np.arange(size, dtype=np.float32).reshape(1, -1) + each for each in range(count or 1)]


@settings(max_examples=100)
@PLANS
def test_every_call_is_answered_as_it_was_asked(first: int, actions: Sequence[Action]) -> None:
    def request(name: str, size: int, count: int) -> Request:
        body = b"".join(message(x.tobytes()) for x in tensors(size, count))

        def check(found: Stream) -> None:
            assert (bytes(found.data), found.trailers[b"x-request-id"]) == (body, name.encode())

        return head(LIVE, (b"x-request-id", name.encode())), body, check

    chat(echo_peer({INITIAL_WINDOW_SIZE: first}, obliging=False), actions, request)


@pytest.mark.long
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@PLANS
def test_the_service_does_the_same(address: str, token: str, first: int, actions: Sequence[Action]) -> None:
    def request(name: str, size: int, count: int) -> Request:
        xs = tensors(size, count)

        def check(found: Stream) -> None:
            if not count:
                assert np.array_equal(answered(found).outputs["y"], xs[0])
                assert found.trailers[b"x-request-id"] == name.encode()
                return
            assert (found.reset, found.grpc_status) == (None, 0)
            answers = [decode_stream_response(each).outputs["y"] for each in found.messages]  # type: ignore[union-attr]
            assert all(np.array_equal(y, x) for y, x in zip(answers, xs, strict=True))

        path = STREAM_INFER if count else INFER
        body = b"".join(message(inference(x)) for x in xs)
        return head(path, (b"x-request-id", name.encode()), token=token), body, check

    with Peer(address, {INITIAL_WINDOW_SIZE: first}, obliging=False) as peer:
        chat(peer, actions, request)
