from __future__ import annotations

import pytest

from workbench.errors import InvalidInput
from workbench.loadtest.generator import ipc
from workbench.loadtest.generator.ipc import Frames, MessageKind, Spec
from workbench.loadtest.generator.load_runner import Request
from workbench.loadtest.patterns import Constant, Pattern, Ramp, Replay, Sine, Stairs, Users
from workbench.loadtest.plan import Plan, Target


@pytest.mark.parametrize(
    "pattern",
    [
        Constant(5, poisson=True),
        Ramp(1, 2),
        Stairs(1, 2, 3),
        Sine(1, 2, poisson=True),
        Replay((0.0, 0.5), 2.0),
        Users(3, 0.1),
    ],
    ids=lambda pattern: pattern.kind,
)
def test_a_spec_arrives_as_it_was_sent_but_for_the_token(pattern: Pattern) -> None:
    plan = Plan(Target("m", "grpc://127.0.0.1:1", token="secret"), pattern, slo="p99<1s", connections=7, seed=3)
    spec = Spec(plan, "127.0.0.1", 1, "secret", "/its/file")
    ((kind, body),) = Frames().feed(ipc.encode_spec(spec))
    found = ipc.decode_spec(body)
    assert kind == MessageKind.SPEC
    assert found.plan.pattern == pattern
    assert found.plan.described() == plan.described()
    assert (found.host, found.port, found.token, found.token_file) == ("127.0.0.1", 1, "secret", "/its/file")
    assert found.plan.target.token is None


def test_frames_come_out_whole_however_the_stream_is_cut() -> None:
    sent = (
        ipc.encode_request(Request(b"a" * 10, 3)) + ipc.frame(MessageKind.GO) + ipc.message(MessageKind.SAID, {"a": 1})
    )
    for size in (1, 3, 1000):
        frames = Frames()
        found = [each for start in range(0, len(sent), size) for each in frames.feed(sent[start : start + size])]
        assert [kind for kind, _ in found] == [MessageKind.REQUEST, MessageKind.GO, MessageKind.SAID]
        assert ipc.decode_request(found[0][1]) == Request(b"a" * 10, 3)


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not what a load generator says"):
        list(Frames().feed(b"hello world"))
