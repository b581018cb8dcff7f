"""gRPC upon HTTP/2, as its own specification has it: heads, messages, statuses, deadlines, ends.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import gzip
import re
import signal
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from tests.http2.conftest import MAX_BODY_BYTES
from tests.http2.raw import INITIAL_WINDOW_SIZE, Fields, Peer, Stream, data, message, reset
from tests.http2.service import (
    INFER,
    IS_LIVE,
    LIVE,
    METADATA,
    SERVING,
    STREAM_INFER,
    WATCH,
    answered,
    head,
    inference,
    is_live,
)
from workbench.errors import WorkbenchError
from workbench.protocols.oip_grpc import decode_stream_response

CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 1, 3, 4, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16

ONE = inference([[1.0, 2.0]])
LONG_TURNS = 300_000
"""Of the model `loop`: some 0.3 s."""


def ask(peer: Peer, fields: Fields, *bodies: bytes, end: bool = True) -> Stream:
    """A call whose DATA are these."""
    stream = peer.open(fields, end=end and not bodies)
    for number, body in enumerate(bodies, 1):
        peer.say(stream, body, end=end and number == len(bodies))
    return peer.answer(stream)


def only_trailers(found: Stream) -> int:
    """The status of an answer that is one block and nothing else."""
    assert len(found.blocks) == 1, str(found)
    assert (found.ended, bytes(found.data)) == (True, b"")
    assert found.headers[b":status"] == b"200"
    assert found.headers[b"content-type"].startswith(b"application/grpc")
    status = found.grpc_status
    assert status is not None
    return status


def said(found: Stream) -> str:
    """The status's message."""
    sent = found.trailers[b"grpc-message"]
    assert re.fullmatch(rb"([ -$&-~]|%[0-9A-F]{2})*", sent), sent
    return unquote_to_bytes(sent).decode()


# Heads


def test_an_answer_is_a_head_a_message_and_trailers(address: str, token: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(INFER, token=token), message(ONE))
        assert answered(found).outputs["y"].tolist() == [[1.0, 2.0]]
        first, last = found.blocks
        assert dict(first) == {b":status": b"200", b"content-type": b"application/grpc"} | {
            name: value for name, value in first if name.startswith(b"grpc-")
        }
        assert (b"grpc-status", b"0") in last
        assert b"grpc-status" not in dict(first)


def test_who_has_no_token_is_told_so_before_anything_is_read(address: str) -> None:
    refused = [head(INFER), head(INFER, token="wrong"), head(STREAM_INFER), head(b"/a.b/C"), head(b"/")]
    refused.append([*head(INFER), (b"authorization", b"Bearer \xff\xfe")])
    with Peer(address) as peer:
        for fields in refused:
            stream = peer.open(fields)
            found = peer.answer(stream)
            assert only_trailers(found) == UNAUTHENTICATED
            assert "token" in said(found)
            # What it would still send is not wanted.
            peer.until(lambda: found.reset is not None)  # noqa: B023
            assert found.reset == 0  # NO_ERROR
            peer.send(data(stream, message(ONE), end=True))
            assert peer.pong()
        assert only_trailers(ask(peer, head(INFER), message(ONE))) == UNAUTHENTICATED
        is_live(peer)


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8", b"application/grpc+x"]
)
def test_types_of_grpc_are_served(address: str, kind: bytes) -> None:
    fields = [(name, kind if name == b"content-type" else value) for name, value in head(LIVE)]
    with Peer(address) as peer:
        found = ask(peer, fields, message())
        assert (found.grpc_status, found.messages) == (0, [IS_LIVE])


@pytest.mark.parametrize(
    "kind", [None, b"", b"application/json", b"application/grpc-web", b"application/grpcx", b"text/plain", b"\xff"]
)
def test_other_types_are_refused_as_http_does(address: str, kind: bytes | None) -> None:
    fields = [field for field in head(LIVE) if field[0] != b"content-type"]
    if kind is not None:
        fields.append((b"content-type", kind))
    with Peer(address) as peer:
        found = ask(peer, fields, message())
        assert found.headers[b":status"] == b"415"
        assert found.reset is None
        is_live(peer)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"post", b"CONNECT", b"\xff"])
def test_calls_are_posts(address: str, method: bytes) -> None:
    fields = [(name, method if name == b":method" else value) for name, value in head(LIVE)]
    with Peer(address) as peer:
        stream = peer.open(fields, end=True)
        found = peer.answer(stream)
        if found.reset is None:
            assert found.headers[b":status"] in (b"405", b"400", b"501")
        else:
            assert found.reset == 1  # PROTOCOL_ERROR: a CONNECT has other fields
        is_live(peer)


@pytest.mark.parametrize(
    "path",
    [
        b"/inference.GRPCInferenceService/Nothing",
        b"/nothing.Service/ServerLive",
        b"/inference.GRPCInferenceService/ServerLive/",
        b"/inference.GRPCInferenceService/serverlive",
        b"/inference.GRPCInferenceService/ServerLive?x=1",
        b"/inference.GRPCInferenceService/Server%4cive",
        b"//inference.GRPCInferenceService/ServerLive",
        b"/",
        b"/inference.GRPCInferenceService/" + b"x" * 8_000,
        b"/inference.GRPCInferenceService/ServerLive\xff",
        b"/\x80\x81/\xc3\x28",
        b"/inference.GRPCInferenceService/\xe2\x98\x83",
    ],
)
def test_methods_that_are_not_there(address: str, token: str, path: bytes) -> None:
    with Peer(address) as peer:
        for _ in range(2):
            found = ask(peer, head(path, token=token), message())
            assert only_trailers(found) == UNIMPLEMENTED
            assert len(said(found)) < 4_000
        assert only_trailers(ask(peer, head(path), message())) == UNAUTHENTICATED
        is_live(peer)


@pytest.mark.parametrize("name", ["modèle", "模型", "100%", "a%41b", "x" * 90, 'say "this" \\', "two\nlines"])
def test_messages_are_percent_encoded(address: str, token: str, name: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(INFER, token=token), message(inference([[1.0]], name)))
        assert only_trailers(found) == 5  # NOT_FOUND
        shown = said(found)
        assert name in shown or repr(name)[1:-1] in shown


# Deadlines


@pytest.mark.parametrize(
    "value", [b"1H", b"1M", b"10S", b"9000m", b"9000000u", b"99999999n", b"99999999H", b"00000020S"]
)
def test_a_deadline_in_every_unit(address: str, token: str, value: bytes) -> None:
    with Peer(address) as peer:
        answered(ask(peer, head(INFER, (b"grpc-timeout", value), token=token), message(ONE)))
        assert ask(peer, head(LIVE, (b"grpc-timeout", value)), message()).grpc_status == 0


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"1s", b"-1S", b"+1S", b"1.5S", b"123456789S", b"1S1S", b"\xb2S"])
def test_a_deadline_that_nobody_can_read(address: str, token: str, value: bytes) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(INFER, (b"grpc-timeout", value), token=token), message(ONE))
        assert only_trailers(found) in (INVALID_ARGUMENT, INTERNAL)
        is_live(peer)


@pytest.mark.parametrize("value", [b"0S", b"0n", b"1n", b"1u"])
def test_a_deadline_that_has_passed_already(address: str, token: str, value: bytes) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(INFER, (b"grpc-timeout", value), token=token), message(ONE))
        assert found.grpc_status == DEADLINE_EXCEEDED or found.reset == 8  # CANCEL


def test_a_deadline_that_passes_while_a_stream_is_open(address: str, token: str) -> None:
    with Peer(address) as peer:
        for path in (STREAM_INFER, WATCH):
            stream = peer.open(head(path, (b"grpc-timeout", b"100m"), token=token))
            peer.send(data(stream, message(ONE if path == STREAM_INFER else b""), end=path == WATCH))
            found = peer.answer(stream)
            assert len(found.messages) == 1
            assert found.grpc_status == DEADLINE_EXCEEDED or found.reset == 8  # CANCEL


# Messages


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 50])
def test_a_message_over_many_frames(address: str, token: str, size: int) -> None:
    content = message(ONE)
    with Peer(address) as peer:
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        answered(ask(peer, head(INFER, token=token), *pieces))
        # The end may come as a frame of its own.
        answered(ask(peer, head(INFER, token=token), *pieces, b""))


TWO = message(ONE) + message(ONE)


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param([], id="none"),
        pytest.param([b""], id="an empty frame"),
        pytest.param([TWO], id="two messages"),
        pytest.param([message(ONE), message(ONE)], id="two messages in two frames"),
        pytest.param([message(ONE) + b"\0"], id="a byte too many"),
        pytest.param([message(ONE), b"\0\0"], id="a byte too many in a frame of its own"),
        pytest.param([message(ONE)[:-1]], id="a byte too few"),
        pytest.param([message(ONE)[:5]], id="the prefix alone"),
        pytest.param([message(ONE)[:3]], id="half a prefix"),
        pytest.param([b"\2" + message(ONE)[1:]], id="an unknown flag"),
        pytest.param([b"\x80" + message(ONE)[1:]], id="the flag of grpc-web"),
    ],
)
def test_a_unary_call_takes_exactly_one_whole_message(address: str, token: str, bodies: Sequence[bytes]) -> None:
    with Peer(address) as peer:
        for path in (INFER, METADATA):
            found = ask(peer, head(path, token=token), *bodies)
            assert only_trailers(found) in (INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL), path
            assert said(found)
        is_live(peer)


def test_a_message_over_the_cap_is_refused_by_its_prefix(address: str, token: str) -> None:
    with Peer(address) as peer:
        for length in (MAX_BODY_BYTES + 1, 1 << 31, (1 << 32) - 1):
            stream = peer.open(head(INFER, token=token))
            peer.send(data(stream, b"\0" + length.to_bytes(4, "big")))
            found = peer.answer(stream)
            assert only_trailers(found) == RESOURCE_EXHAUSTED
            assert str(MAX_BODY_BYTES) in said(found)
            peer.until(lambda: found.reset is not None)  # noqa: B023
            assert found.reset == 0
        # Of a stream, what came before is answered.
        stream = peer.open(head(STREAM_INFER, token=token))
        peer.send(data(stream, message(ONE) + b"\0" + (MAX_BODY_BYTES + 1).to_bytes(4, "big")))
        found = peer.answer(stream)
        assert (len(found.messages), found.grpc_status) == (1, RESOURCE_EXHAUSTED)
        is_live(peer)


def test_a_message_of_no_bytes_is_one(address: str, token: str) -> None:
    with Peer(address) as peer:
        assert ask(peer, head(METADATA, token=token), message()).grpc_status == 0
        found = ask(peer, head(INFER, token=token), message())
        assert only_trailers(found) not in (0, INTERNAL)  # it names no model


def test_a_message_that_is_none_of_its_kind(address: str, token: str) -> None:
    with Peer(address) as peer:
        for content in (b"\xff" * 100, b"\x0a\x7f", bytes(range(256)) * 40):
            assert only_trailers(ask(peer, head(INFER, token=token), message(content))) == INVALID_ARGUMENT


# Compressed messages


def packed(coding: bytes, content: bytes) -> bytes:
    return {b"gzip": gzip.compress, b"deflate": zlib.compress, b"identity": bytes}[coding](content)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"identity"])
def test_messages_in_the_codings_that_there_are(address: str, token: str, coding: bytes) -> None:
    with Peer(address) as peer:
        fields = head(INFER, (b"grpc-encoding", coding), token=token)
        answered(ask(peer, fields, message(ONE)))  # each message says whether it is
        if coding != b"identity":
            answered(ask(peer, fields, message(packed(coding, ONE), compressed=1)))
            both = message(packed(coding, ONE), compressed=1) + message(ONE)
            stream = ask(peer, head(STREAM_INFER, (b"grpc-encoding", coding), token=token), both * 3)
            assert (len(stream.messages), stream.grpc_status) == (6, 0)


@pytest.mark.parametrize("coding", [b"br", b"snappy", b"gzip, deflate", b"GZIP", b"\xff"])
@pytest.mark.parametrize("path", [INFER, STREAM_INFER])
def test_a_coding_that_is_not_known(address: str, token: str, coding: bytes, path: bytes) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(path, (b"grpc-encoding", coding), token=token), message(ONE, compressed=1))
        assert only_trailers(found) == UNIMPLEMENTED
        known = set(re.split(rb", *", found.trailers[b"grpc-accept-encoding"]))
        assert known == {b"identity", b"deflate", b"gzip"}
        is_live(peer)


@pytest.mark.parametrize(
    "content", [b"", b"no gzip at all", gzip.compress(ONE)[:-3], gzip.compress(ONE) + b"more", zlib.compress(ONE)]
)
def test_a_message_that_is_not_compressed_as_it_says(address: str, token: str, content: bytes) -> None:
    with Peer(address) as peer:
        for path in (INFER, STREAM_INFER):
            found = ask(peer, head(path, (b"grpc-encoding", b"gzip"), token=token), message(content, compressed=1))
            assert only_trailers(found) in (INVALID_ARGUMENT, INTERNAL)
        is_live(peer)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_a_bomb_is_stopped_at_the_cap(address: str, token: str, worker: psutil.Process, coding: bytes) -> None:
    bomb = packed(coding, bytes(150_000_000))
    assert len(bomb) < MAX_BODY_BYTES
    before = worker.memory_info().rss
    with Peer(address) as peer:
        for path, who in ((INFER, token), (STREAM_INFER, token), (LIVE, None)):
            found = ask(peer, head(path, (b"grpc-encoding", coding), token=who), message(bomb, compressed=1))
            assert only_trailers(found) == RESOURCE_EXHAUSTED
    assert worker.memory_info().rss - before < 60_000_000


# Metadata


@pytest.mark.parametrize(
    "field",
    [
        (b"x-thing-bin", base64.b64encode(bytes(range(256)))),
        (b"x-thing-bin", base64.b64encode(b"no padding").rstrip(b"=")),
        (b"x-thing-bin", b"AAEC,AwQF"),
        (b"x-thing-bin", b"!!! no base64"),
        (b"grpc-trace-bin", b"\xff\xfe"),
        (b"x-thing", b"\xff\xfe\xfd"),
        (b"x-thing", "ünïcode".encode()),
        (b"x-thing", b"y" * 8_000),
        (b"x-" + b"n" * 4_000, b"1"),
        (b"x-request-id", b"\xff"),
        (b"x-request-id", b"z" * 4_000),
        (b"x-request-id", b"two words"),
        (b"traceparent", b"\xff" * 55),
        (b"user-agent", b"\x80"),
        (b"grpc-accept-encoding", b"\xff"),
        (b"grpc-status", b"0"),
        (b"host", b"elsewhere.example"),
    ],
)
def test_metadata_that_nobody_reads_harm_nothing(address: str, token: str, field: tuple[bytes, bytes]) -> None:
    with Peer(address) as peer:
        for _ in range(2):
            answered(ask(peer, head(INFER, field, token=token), message(ONE)))


def test_metadata_without_end_are_refused(address: str, token: str) -> None:
    with Peer(address) as peer:
        most = peer.theirs.get(6, 1 << 14)
        fields = head(INFER, *((b"x-%d" % each, b"y" * 1_000) for each in range(most // 1_000 + 1)), token=token)
        stream = peer.open(fields, table=False)
        found = peer.answer(stream)
        if found.reset is None or found.ended:
            assert found.headers[b":status"] == b"431" or found.grpc_status == RESOURCE_EXHAUSTED
        else:
            assert found.reset in (1, 11)  # PROTOCOL_ERROR, ENHANCE_YOUR_CALM
        is_live(peer)


def test_a_name_that_can_go_into_metadata_comes_back(address: str, token: str) -> None:
    with Peer(address) as peer:
        for name in (b"a", b"!#$%&'()*+,-./:;<=>?@[]^_`{|}~", b"x" * 128):
            found = ask(peer, head(INFER, (b"x-request-id", name), token=token), message(ONE))
            answered(found)
            assert found.trailers[b"x-request-id"] == name


# Streams


def test_a_conversation(address: str, token: str) -> None:
    with Peer(address) as peer:
        stream = peer.open(head(STREAM_INFER, token=token))
        found = peer.streams[stream]
        for turn in range(1, 4):
            peer.say(stream, message(inference([[float(turn)]])), end=False)
            peer.until(lambda n=turn: found.data and len(found.messages) == n)  # type: ignore[misc]
        assert not found.done
        peer.send(data(stream, end=True))
        assert peer.answer(stream).grpc_status == 0
        assert [decode_stream_response(each).outputs["y"].item() for each in found.messages] == [1, 2, 3]  # type: ignore[union-attr]


def test_a_message_that_is_wrong_within_a_stream_harms_no_other(address: str, token: str) -> None:
    with Peer(address) as peer:
        body = message(ONE) + message(b"\xff\xff") + message(inference([[1.0]], "nothing")) + message(ONE)
        found = ask(peer, head(STREAM_INFER, token=token), body)
        assert found.grpc_status == 0
        kinds = [isinstance(decode_stream_response(each), WorkbenchError) for each in found.messages]
        assert kinds == [False, True, True, False]


def test_a_stream_that_is_cut_off_amid_a_message(address: str, token: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(STREAM_INFER, token=token), message(ONE) + message(ONE)[:-1])
        assert len(found.messages) == 1
        assert found.grpc_status in (INVALID_ARGUMENT, INTERNAL)


def test_a_watcher_who_leaves_makes_room(address: str) -> None:
    with Peer(address) as peer:
        for _ in range(3):
            streams = [peer.open(head(WATCH), end=False) for _ in range(100)]
            for stream in streams:
                peer.say(stream, message())
            for stream in streams:
                peer.until(lambda s=stream: peer.streams[s].data)  # type: ignore[misc]
                assert peer.streams[stream].messages == [SERVING]
            peer.send(*(reset(stream) for stream in streams))
        is_live(peer)


# Cancelled calls


def outcomes(serve: Serve, model: str) -> dict[str, int]:
    """How many requests of the model ended, by outcome."""
    status, text = serve.call("GET", "/metrics")
    assert status == 200
    found = re.findall(rb"^infer_requests_total\{([^}]*)\} (\d+)", text, re.MULTILINE)
    counts: dict[str, int] = {}
    for labels, count in found:
        named = dict(re.findall(rb'(\w+)="([^"]*)"', labels))
        if named[b"model"] == model.encode():
            counts[named[b"outcome"].decode()] = counts.get(named[b"outcome"].decode(), 0) + int(count)
    return counts


@pytest.mark.parametrize("how", ["by RST_STREAM", "by hanging up", "in a stream"])
def test_a_call_that_is_cancelled_is_counted_once(serve: Serve, how: str) -> None:
    before = outcomes(serve, "loop")
    content = message(inference([0.0], "loop", n=np.int64(LONG_TURNS)))
    with Peer(serve.grpc) as peer:
        fields = head(STREAM_INFER if how == "in a stream" else INFER, token=serve.token)
        streams = [peer.open(fields) for _ in range(3)]
        for stream in streams:
            peer.say(stream, content)
        # A message of a stream is taken some turns of the loop after it was read; each pong is one turn or more.
        for _ in range(20):
            assert peer.pong()
        if how != "by hanging up":
            peer.send(*(reset(stream) for stream in streams))
            assert peer.pong()
    after = until(lambda: sum((found := outcomes(serve, "loop")).values()) >= sum(before.values()) + 3 and found)
    assert {name: count - before.get(name, 0) for name, count in after.items() if count - before.get(name, 0)} == {
        "cancelled": 3
    }
    with Peer(serve.grpc) as peer:
        x = message(inference([0.0], "loop", n=np.int64(1)))
        answered(ask(peer, head(INFER, token=serve.token), x))  # the runner is free again
    assert sum(outcomes(serve, "loop").values()) == sum(before.values()) + 4


def test_calls_that_end_before_their_message_leave_nothing_behind(address: str, token: str) -> None:
    with Peer(address) as peer:
        for number in range(300):
            stream = peer.open(head(INFER, token=token))
            peer.send(data(stream, message(ONE)[: number % 9]), reset(stream))
        answered(ask(peer, head(INFER, token=token), message(ONE)))


# The end of the service


def own(folder: Path, **environment: str) -> Serve:
    models.save(models.loop(), folder / "repository" / "loop" / "1" / "model.onnx")
    return Serve(folder, "--model-repository", str(folder / "repository"), "--grpc-port", "0", environment=environment)


def test_a_service_that_ends_answers_what_is_under_way_and_takes_no_more(tmp_path: Path) -> None:
    content = message(inference([0.0], "loop", n=np.int64(3 * LONG_TURNS)))
    with own(tmp_path) as serve:
        token, address = serve.ready().token, serve.grpc
        with Peer(address) as peer, Peer(address) as idle, Peer(address) as watcher:
            watching = watcher.open(head(WATCH), end=False)
            watcher.say(watching, message())
            watcher.until(lambda: watcher.streams[watching].data)
            slow = peer.open(head(INFER, token=token))
            peer.say(slow, content)
            assert peer.pong()
            serve.process.send_signal(signal.SIGTERM)
            for each in (peer, idle, watcher):
                each.until(lambda each=each: each.gone is not None)  # type: ignore[misc]
                assert each.gone == 0  # NO_ERROR
            idle.until(lambda: idle.closed)
            # Nothing is lost that came after it: the client knows that it was not served.
            late = peer.open(head(INFER, token=token))
            peer.say(late, content)
            found = peer.answer(slow)
            assert answered(found).outputs["y"].tolist() == [3 * LONG_TURNS]
            peer.until(lambda: peer.closed)
            assert peer.last_stream is not None
            turned_away = peer.streams[late]
            if turned_away.ended:
                assert turned_away.grpc_status == UNAVAILABLE
            else:
                assert turned_away.reset in (None, 7)  # REFUSED_STREAM
                assert turned_away.reset == 7 or peer.last_stream < late
            told = watcher.answer(watching)
            assert told.grpc_status in (0, UNAVAILABLE, CANCELLED)
            watcher.until(lambda: watcher.closed)
        assert serve.ended() == 0


def test_clients_that_never_finish_do_not_hold_up_the_end(tmp_path: Path) -> None:
    content = message(inference([0.0], "loop", n=np.int64(1)))
    with own(tmp_path, INFER_WORKBENCH_DRAIN_TIMEOUT_S="1.0") as serve:
        token, address = serve.ready().token, serve.grpc
        with Peer(address, {INITIAL_WINDOW_SIZE: 0}) as peer, Peer(address) as mute:
            unread = peer.open(head(INFER, token=token))
            peer.say(unread, content)
            talking = peer.open(head(STREAM_INFER, token=token))
            peer.say(talking, content, end=False)
            peer.until(lambda: peer.streams[unread].blocks and peer.streams[talking].blocks)
            half = mute.open(head(INFER, token=token))
            mute.say(half, content[:-1], end=False)
            assert mute.pong()
            serve.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            for each in (peer, mute):
                each.until(lambda each=each: each.closed)  # type: ignore[misc]
                assert each.gone == 0  # NO_ERROR
            assert serve.ended() == 0
            assert time.monotonic() - begun < 10.0


def test_a_stream_of_nothing(address: str, token: str) -> None:
    with Peer(address) as peer:
        for bodies in ([], [b""]):
            found = ask(peer, head(STREAM_INFER, token=token), *bodies)
            assert (found.grpc_status, bytes(found.data)) == (0, b"")


@pytest.mark.parametrize("coding", [None, b"identity"])
def test_a_message_that_is_compressed_though_nothing_says_how(address: str, token: str, coding: bytes | None) -> None:
    more = [(b"grpc-encoding", coding)] if coding is not None else []
    with Peer(address) as peer:
        found = ask(peer, head(INFER, *more, token=token), message(gzip.compress(ONE), compressed=1))
        assert only_trailers(found) == INTERNAL  # so says gRPC's specification of compression


def test_a_deadline_that_passes_before_the_message_is_there(address: str, token: str) -> None:
    """Or a client that forgets its call would hold a stream and what it sent for ever."""
    with Peer(address, limit_s=5) as peer:
        stream = peer.open(head(INFER, (b"grpc-timeout", b"100m"), token=token))
        peer.send(data(stream, message(ONE)[:9]))
        found = peer.answer(stream)
        assert found.grpc_status == DEADLINE_EXCEEDED or found.reset == 8  # CANCEL


def test_a_deadline_that_passes_while_the_model_runs(address: str, token: str) -> None:
    with Peer(address) as peer:
        content = inference([0.0], "loop", n=np.int64(LONG_TURNS))
        begun = time.monotonic()
        found = ask(peer, head(INFER, (b"grpc-timeout", b"60m"), token=token), message(content))
        took_s = time.monotonic() - begun
        assert found.grpc_status == DEADLINE_EXCEEDED or found.reset == 8  # CANCEL
        assert took_s >= 0.055
        again = ask(peer, head(INFER, token=token), message(content))  # once the run before it has ended
        assert answered(again).outputs["y"].tolist() == [LONG_TURNS]
        assert time.monotonic() - begun > took_s + 0.1, "the run is too short to be outlived"
