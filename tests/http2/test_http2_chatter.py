"""Whatever a client does that it may do, in any order, each of its calls gets the answer that it asked for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2.raw import (
    FRAME,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    Frame,
    Peer,
    message,
    reset,
    window_update,
)
from tests.http2.raw import settings as of
from tests.http2.service import INFER, STREAM_INFER, answered, head, inference
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
    st.tuples(st.just("stranger's frame"), st.integers(0x10, 0xFF), st.just(0)),
)


@settings(max_examples=150)
@given(first=st.sampled_from([0, 1, 500, 65_535]), actions=st.lists(ACTIONS, min_size=3, max_size=25))
def test_every_call_is_answered_as_it_was_asked(
    address: str, token: str, first: int, actions: Sequence[tuple[str, int, int]]
) -> None:
    numbers = itertools.count(1)
    calls: dict[int, tuple[str, list[np.ndarray]]] = {}  # type: ignore[type-arg]
    left: set[int] = set()

    def tensor(size: int) -> np.ndarray:  # type: ignore[type-arg]
        return np.arange(size, dtype=np.float32).reshape(1, -1) + next(numbers)

    with Peer(address, {INITIAL_WINDOW_SIZE: first}, obliging=False) as peer:
        peer.send(Frame(4, 1))  # the server's settings are acknowledged, and nothing else is done for it
        for what, one, two in actions:
            if what == "call":
                x = tensor(one)
                name = f"call-{len(calls)}"
                stream = peer.open(head(INFER, (b"x-request-id", name.encode()), token=token))
                peer.say(stream, message(inference(x)), most=max(two, one // 50))
                calls[stream] = name, [x]
            elif what == "converse":
                xs = [tensor(one) for _ in range(two)]
                stream = peer.open(head(STREAM_INFER, token=token))
                peer.say(stream, b"".join(message(inference(x)) for x in xs))
                calls[stream] = "", xs
            elif what == "half a call":
                stream = peer.open(head(INFER, token=token))
                peer.say(stream, message(inference(tensor(one)))[:two], end=False)
                peer.send(reset(stream))
                left.add(stream)
            elif what == "refused":
                peer.open(head(INFER), end=True)
            elif what == "cancel" and one < len(calls):
                stream = list(calls)[one]
                if not peer.streams[stream].done and stream not in left:
                    peer.send(reset(stream))
                    left.add(stream)
            elif what == "window":
                peer.send(of({INITIAL_WINDOW_SIZE: one}))
            elif what == "frame size":
                peer.send(of({MAX_FRAME_SIZE: one}))
            elif what == "table":
                peer.send(of({HEADER_TABLE_SIZE: one}))
            elif what == "widen" and one < len(calls):
                stream = list(calls)[one]
                if not peer.streams[stream].done and stream not in left:
                    peer.send(window_update(stream, two))
            elif what == "widen all":
                peer.send(window_update(0, one))
            elif what == "listen":
                assert peer.pong()
            elif what == "stranger's frame":
                peer.send(Frame(one, 0xFF, 0, b"?"))
        # Now all may come.
        peer.send(of({INITIAL_WINDOW_SIZE: 1 << 29}), window_update(0, 1 << 29))
        for stream, (name, xs) in calls.items():
            if stream in left:
                continue
            found = peer.answer(stream)
            if name:
                assert np.array_equal(answered(found).outputs["y"], xs[0])
                assert found.trailers[b"x-request-id"] == name.encode()
            else:
                assert (found.reset, found.grpc_status) == (None, 0)
                answers = [decode_stream_response(each).outputs["y"] for each in found.messages]  # type: ignore[union-attr]
                assert all(np.array_equal(y, x) for y, x in zip(answers, xs, strict=True))
        assert not peer.unacknowledged or peer.pong()
        assert not peer.unacknowledged
