"""gRPC over HTTP/2 as its specification has it: heads, messages, statuses, deadlines, cancellation, shutdown.

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
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from tests.http2.conftest import MAX_BODY_BYTES
from tests.http2.raw import INITIAL_WINDOW_SIZE, Fields, Peer, Stream, data, message, reset, window_update
from tests.http2.service import (
    INFER,
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
from workbench.server.gate.auth import MAX_ANONYMOUS_WATCHES
from workbench.server.grpc.listener import STRANGER_STREAMS

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED = 0, 3, 4, 5, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16

ONE = inference([[1.0, 2.0]])
WHOLE = message(ONE)
LONG_TURNS = 300_000
"""Iterations of the model `loop` that take some 0.3 s."""


def ask(peer: Peer, fields: Fields, *bodies: bytes) -> Stream:
    """A call whose DATA frames are these."""
    stream = peer.open(fields, end=not bodies)
    for number, body in enumerate(bodies, 1):
        peer.say(stream, body, end=number == len(bodies))
    return peer.answer(stream)


def only_trailers(found: Stream) -> int:
    """The status of an answer that is one block and nothing else."""
    assert len(found.blocks) == 1, str(found)
    assert (found.ended, bytes(found.data)) == (True, b"")
    assert found.headers[b":status"] == b"200"
    assert found.headers[b"content-type"] == b"application/grpc"
    assert found.grpc_status is not None
    return found.grpc_status


def said(found: Stream) -> str:
    """The status's message."""
    sent = found.trailers[b"grpc-message"]
    assert re.fullmatch(rb"([ -$&-~]|%[0-9A-F]{2})*", sent), sent
    return unquote_to_bytes(sent).decode()


# Heads


def test_an_answer_is_a_head_a_message_and_trailers(address: str, token: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(INFER, token=token), WHOLE)
        assert answered(found).outputs["y"].tolist() == [[1.0, 2.0]]
        first, last = found.blocks
        assert dict(first) == {b":status": b"200", b"content-type": b"application/grpc"} | {
            name: value for name, value in first if name.startswith(b"grpc-")
        }
        assert (b"grpc-status", b"0") in last
        assert b"grpc-status" not in dict(first)


def test_a_client_without_a_token_is_told_so_before_anything_is_read(address: str) -> None:
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
            peer.send(data(stream, WHOLE, end=True))
            assert peer.pong()
        assert only_trailers(ask(peer, head(INFER), WHOLE)) == UNAUTHENTICATED
        is_live(peer)


PACKED = {b"gzip": gzip.compress(ONE), b"deflate": zlib.compress(ONE)}
TYPE, METHOD = b"content-type", b":method"
SERVICE = b"/inference.GRPCInferenceService/"

Row = tuple[str, tuple[tuple[bytes, bytes], ...], Sequence[bytes], int]
"""Name, fields (added to those of a ModelInfer, or replacing them), DATA frames, and the status of the answer."""


def packed(content: bytes) -> bytes:
    return message(content, compressed=1)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def encoding(name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"grpc-encoding", name),)


def timeout(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"grpc-timeout", value),)


METHODS = [b"", b"Nothing", b"ServerLive/", b"serverlive", b"ServerLive?x=1", b"Server%4cive", b"x" * 8_000, b"x\xff"]
FIELDS = [
    (b"x-thing-bin", base64.b64encode(bytes(range(256)))),
    (b"x-thing-bin", b"AAEC,AwQF"),
    (b"x-thing-bin", b"!!! no base64"),
    (b"grpc-trace-bin", b"\xff\xfe"),
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
]

ROWS: list[Row] = [
    *((f"type {kind!r}", ((TYPE, kind),), [WHOLE], OK) for kind in (b"application/grpc+proto", b"application/grpc;x")),
    *((f"type {kind!r}", ((TYPE, kind),), [WHOLE], 415) for kind in (b"", b"application/grpc-web", b"\xff")),
    *((f"method {name!r}", ((METHOD, name),), [], 405) for name in (b"GET", b"HEAD", b"post", b"CONNECT", b"\xff")),
    *((f"path {name[:20]!r}", ((b":path", SERVICE + name),), [message()], UNIMPLEMENTED) for name in METHODS),
    *((f"path {path!r}", ((b":path", path),), [message()], UNIMPLEMENTED) for path in (b"/", b"/a.b/C", b"/\x80/\xc3")),
    # Deadlines
    *((f"timeout {value!r}", timeout(value), [WHOLE], OK) for value in (b"1H", b"9000m", b"99999999H")),
    *(
        (f"timeout {value!r}", timeout(value), [WHOLE], INVALID_ARGUMENT)
        for value in (b"", b"1", b"123456789S", b"\xb2S")
    ),
    *((f"timeout {value!r}", timeout(value), [WHOLE], DEADLINE_EXCEEDED) for value in (b"0S", b"1n")),
    # Messages
    *(
        (f"pieces of {n} bytes", (), [WHOLE[at : at + n] for at in range(0, len(WHOLE), n)], OK)
        for n in (1, 2, 5, 6, 50)
    ),
    ("an END_STREAM of its own", (), [WHOLE, b""], OK),
    ("no message", (), [], INVALID_ARGUMENT),
    ("an empty frame", (), [b""], INVALID_ARGUMENT),
    ("two messages", (), [WHOLE + WHOLE], INVALID_ARGUMENT),
    ("two messages in two frames", (), [WHOLE, WHOLE], INVALID_ARGUMENT),
    ("a byte too many", (), [WHOLE + b"\0"], INVALID_ARGUMENT),
    ("a byte too many in a frame of its own", (), [WHOLE, b"\0\0"], INVALID_ARGUMENT),
    ("a byte too few", (), [WHOLE[:-1]], INVALID_ARGUMENT),
    ("the prefix alone", (), [WHOLE[:5]], INVALID_ARGUMENT),
    ("half a prefix", (), [WHOLE[:3]], INVALID_ARGUMENT),
    ("an unknown flag", (), [b"\2" + WHOLE[1:]], INVALID_ARGUMENT),
    ("the flag of grpc-web", (), [b"\x80" + WHOLE[1:]], INVALID_ARGUMENT),
    ("an empty message, which names no model", (), [message()], NOT_FOUND),
    ("an empty message of a method that needs none", ((b":path", METADATA),), [message()], OK),
    ("arbitrary bytes", (), [message(b"\xff" * 100)], INVALID_ARGUMENT),
    ("a field that is cut off", (), [message(b"\x0a\x7f")], INVALID_ARGUMENT),
    # Compression
    *((f"{name!r} of a plain message", encoding(name), [WHOLE], OK) for name in (b"gzip", b"deflate", b"identity")),
    *((f"{name!r}", encoding(name), [packed(PACKED[name])], OK) for name in PACKED),
    *(
        (f"{name!r}", encoding(name), [packed(ONE)], UNIMPLEMENTED)
        for name in (b"br", b"gzip, deflate", b"GZIP", b"\xff")
    ),
    ("compressed, without a coding", (), [packed(PACKED[b"gzip"])], INTERNAL),
    ("compressed, with the coding identity", encoding(b"identity"), [packed(PACKED[b"gzip"])], INTERNAL),
    ("gzip of nothing", encoding(b"gzip"), [packed(b"")], INVALID_ARGUMENT),
    ("gzip that is not gzip", encoding(b"gzip"), [packed(b"no gzip at all")], INVALID_ARGUMENT),
    ("gzip that is cut off", encoding(b"gzip"), [packed(PACKED[b"gzip"][:-3])], INVALID_ARGUMENT),
    ("gzip and more", encoding(b"gzip"), [packed(PACKED[b"gzip"] + b"more")], INVALID_ARGUMENT),
    ("gzip that is deflate", encoding(b"gzip"), [packed(PACKED[b"deflate"])], INVALID_ARGUMENT),
    # Metadata that the service does not read
    *((f"{name[:20]!r}: {value[:20]!r}", ((name, value),), [WHOLE], OK) for name, value in FIELDS),
]


@pytest.mark.parametrize(("fields", "bodies", "status"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_call_ends_with(address: str, token: str, fields: Fields, bodies: Sequence[bytes], status: int) -> None:
    replaced = dict(fields)
    names = {name for name, _ in head(INFER, token=token)}
    call = [(name, replaced.get(name, value)) for name, value in head(INFER, token=token)]
    call += [(name, value) for name, value in fields if name not in names]
    with Peer(address) as peer:
        for _ in range(2):  # what the head says is cached the first time
            found = ask(peer, call, *bodies)
            if status > 16:
                assert (found.headers[b":status"], found.reset) == (str(status).encode(), None)
            elif status == OK:
                assert (found.grpc_status, len(found.messages), found.reset) == (OK, 1, None)
            else:
                assert only_trailers(found) == status
                assert 0 < len(said(found)) < 4_000
            if status == UNIMPLEMENTED and b"grpc-encoding" in replaced:
                assert set(found.trailers[b"grpc-accept-encoding"].split(b",")) == {b"identity", b"deflate", b"gzip"}
        is_live(peer)


def test_a_head_without_a_content_type_is_refused_as_http_does(address: str, token: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, [field for field in head(LIVE) if field[0] != TYPE], message())
        assert (found.headers[b":status"], found.reset) == (b"415", None)


@pytest.mark.parametrize("name", ["modèle", "100%", 'say "this" \\', "two\nlines"])
def test_messages_are_percent_encoded(address: str, token: str, name: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(INFER, token=token), message(inference([[1.0]], name)))
        assert only_trailers(found) == NOT_FOUND
        assert name in said(found) or repr(name)[1:-1] in said(found)


def test_streams_take_the_same_codings(address: str, token: str) -> None:
    with Peer(address) as peer:
        for name, content in PACKED.items():
            found = ask(peer, head(STREAM_INFER, *encoding(name), token=token), (packed(content) + WHOLE) * 3)
            assert (len(found.messages), found.grpc_status) == (6, OK)
        found = ask(peer, head(STREAM_INFER, *encoding(b"br"), token=token), packed(ONE))
        assert only_trailers(found) == UNIMPLEMENTED
        found = ask(peer, head(STREAM_INFER, *encoding(b"gzip"), token=token), packed(b"no gzip at all"))
        assert only_trailers(found) == INVALID_ARGUMENT


def test_a_deadline_passes_while_a_stream_is_open(address: str, token: str) -> None:
    with Peer(address) as peer:
        for path, body in ((STREAM_INFER, WHOLE), (WATCH, message())):
            stream = peer.open(head(path, *timeout(b"100m"), token=token))
            peer.send(data(stream, body, end=path == WATCH))
            found = peer.answer(stream)
            assert (len(found.messages), found.grpc_status) == (1, DEADLINE_EXCEEDED)


def test_a_deadline_passes_before_the_message_is_there(address: str, token: str) -> None:
    """Otherwise a client that forgets its call would hold a stream and what it sent for ever."""
    with Peer(address, limit_s=5) as peer:
        stream = peer.open(head(INFER, *timeout(b"100m"), token=token))
        peer.send(data(stream, WHOLE[:9]))
        assert peer.answer(stream).grpc_status == DEADLINE_EXCEEDED


def test_a_deadline_that_passes_while_the_model_runs(address: str, token: str) -> None:
    with Peer(address) as peer:
        content = inference([0.0], "loop", n=np.int64(LONG_TURNS))
        begun = time.monotonic()
        found = ask(peer, head(INFER, (b"grpc-timeout", b"60m"), token=token), message(content))
        took_s = time.monotonic() - begun
        assert found.grpc_status == DEADLINE_EXCEEDED
        assert took_s >= 0.055
        again = ask(peer, head(INFER, token=token), message(content))  # once the run before it has ended
        assert answered(again).outputs["y"].tolist() == [LONG_TURNS]
        assert time.monotonic() - begun > took_s + 0.1, "the run is too short to be outlived"


# Caps


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
        peer.send(data(stream, WHOLE + b"\0" + (MAX_BODY_BYTES + 1).to_bytes(4, "big")))
        found = peer.answer(stream)
        assert (len(found.messages), found.grpc_status) == (1, RESOURCE_EXHAUSTED)
        is_live(peer)


@pytest.mark.parametrize("coding", [gzip.compress, zlib.compress])
def test_a_bomb_is_stopped_at_the_cap(address: str, token: str, worker: psutil.Process, coding: Any) -> None:
    bomb = message(coding(bytes(60_000_000)), compressed=1)
    name = b"gzip" if coding is gzip.compress else b"deflate"
    before = worker.memory_info().rss
    with Peer(address) as peer:
        for path, who in ((INFER, token), (STREAM_INFER, token), (LIVE, None)):
            assert only_trailers(ask(peer, head(path, *encoding(name), token=who), bomb)) == RESOURCE_EXHAUSTED
    assert worker.memory_info().rss - before < 40_000_000


def test_too_much_metadata_is_refused(address: str, token: str) -> None:
    with Peer(address) as peer:
        fields = head(INFER, *((b"x-%d" % each, b"y" * 1_000) for each in range(17)), token=token)
        assert peer.answer(peer.open(fields, table=False)).reset == 11  # ENHANCE_YOUR_CALM
        is_live(peer)


def test_a_name_that_can_go_into_metadata_comes_back(address: str, token: str) -> None:
    with Peer(address) as peer:
        for name in (b"a", b"!#$%&'()*+,-./:;<=>?@[]^_`{|}~", b"x" * 128):
            found = ask(peer, head(INFER, (b"x-request-id", name), token=token), WHOLE)
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
        body = WHOLE + message(b"\xff\xff") + message(inference([[1.0]], "nothing")) + WHOLE
        found = ask(peer, head(STREAM_INFER, token=token), body)
        assert found.grpc_status == 0
        kinds = [isinstance(decode_stream_response(each), WorkbenchError) for each in found.messages]
        assert kinds == [False, True, True, False]


def test_a_stream_that_is_cut_off_amid_a_message(address: str, token: str) -> None:
    with Peer(address) as peer:
        found = ask(peer, head(STREAM_INFER, token=token), WHOLE + WHOLE[:-1])
        assert len(found.messages) == 1
        assert found.grpc_status == INVALID_ARGUMENT


def test_a_watcher_that_leaves_makes_room(address: str) -> None:
    with Peer(address) as peer:
        for _ in range(MAX_ANONYMOUS_WATCHES // STRANGER_STREAMS + 1):
            streams = [peer.open(head(WATCH), end=False) for _ in range(STRANGER_STREAMS)]
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


# Shutdown


def own(folder: Path, **environment: str) -> Serve:
    models.save(models.loop(), folder / "repository" / "loop" / "1" / "model.onnx")
    return Serve(folder, "--model-repository", str(folder / "repository"), "--grpc-port", "0", environment=environment)


def test_a_service_that_ends_answers_what_is_under_way_and_takes_no_more(tmp_path: Path) -> None:
    content = message(inference([0.0], "loop", n=np.int64(LONG_TURNS)))
    with own(tmp_path) as serve:
        token, address = serve.ready().token, serve.grpc
        with Peer(address, {INITIAL_WINDOW_SIZE: 0}) as peer, Peer(address) as idle, Peer(address) as watcher:
            watching = watcher.open(head(WATCH), end=False)
            watcher.say(watching, message())
            watcher.until(lambda: watcher.streams[watching].data)
            slow = peer.open(head(INFER, token=token))
            peer.say(slow, content)
            assert peer.pong()
            serve.process.send_signal(signal.SIGTERM)
            for each in (peer, idle, watcher):
                each.until(lambda each=each: each.gone is not None)  # type: ignore[misc]
                assert (each.gone, each.last_stream) == (0, 2**31 - 1)  # NO_ERROR; calls on their way are served
            peer.until(lambda: peer.last_stream == slow)  # it has seen the first
            idle.until(lambda: idle.closed)
            late = peer.open(head(INFER, token=token))
            assert peer.answer(late).reset == 7  # REFUSED_STREAM
            peer.send(window_update(slow, 10_000))  # only now can the answer be sent
            assert answered(peer.answer(slow)).outputs["y"].tolist() == [LONG_TURNS]
            peer.until(lambda: peer.closed)
            assert watcher.answer(watching).grpc_status == UNAVAILABLE
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
