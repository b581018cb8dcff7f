"""gRPC clients while there is no worker, with the libraries that people use."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.server.conftest import open_house
from tests.server.grpc.open_port import AUTHORIZED
from workbench.protocols import pb
from workbench.server.grpc.listener import GrpcServer
from workbench.server.process.startup import bind, grpc_address
from workbench.server.process.unavailable_grpc import MAX_FRAMES, PREFACE, GrpcConversation
from workbench.server.process.unavailable_responder import WITHOUT_REASON, UnavailableResponder

LIVE = f"/{pb.SERVICE}/ServerLive"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with bind("127.0.0.1", 0) as listener:
        yield listener


@contextmanager
def nobody_serves(listener: socket.socket, *, refused: bool = False) -> Iterator[None]:
    """The keeper's part, on a thread, until the block ends and all have left."""
    ended = threading.Event()
    with selectors.DefaultSelector() as selector:
        responder = UnavailableResponder(listener, selector, GrpcConversation)
        (responder.refuse if refused else responder.open)()

        def run() -> None:
            while selector.get_map():
                if ended.is_set():
                    responder.close()
                for key, _ in selector.select(0.01):
                    key.data()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def test_calls_are_told_that_the_service_is_not_running(listener: socket.socket) -> None:
    address = grpc_address("127.0.0.1", listener)
    with nobody_serves(listener):
        with InferenceServerClient(address) as triton, pytest.raises(InferenceServerException) as failed:
            triton.is_server_live()
        assert (failed.value.status(), failed.value.message()) == ("StatusCode.UNAVAILABLE", WITHOUT_REASON)
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(LIVE)
            for size in (0, 300_000):  # more than the client may send before it is told
                asked = [call.future(bytes(size), timeout=30) for _ in range(50)]
                assert {(each.code(), each.details()) for each in asked} == {
                    (grpc.StatusCode.UNAVAILABLE, WITHOUT_REASON)
                }


async def test_the_next_worker_serves_who_was_told_so_and_who_waited(listener: socket.socket, tmp_path: Path) -> None:
    address = grpc_address("127.0.0.1", listener)
    async with open_house(tmp_path) as house, grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(LIVE)
        with nobody_serves(listener):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"", timeout=30)
            # A connection that has made no call yet: it is told to go to the next worker.
            idle = grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            await idle.channel_ready()
        server = GrpcServer(house.app.inference, house.app.gate)
        await server.start(listener)
        try:
            async with idle:
                for each in (call, idle.unary_unary(LIVE)):
                    assert await each(b"", timeout=30, metadata=AUTHORIZED)
        finally:
            await server.leave(last=True)
            await server.stop(0)


def test_a_service_that_ends_refuses_at_once_and_who_waits_for_one_goes_on_waiting(listener: socket.socket) -> None:
    address = grpc_address("127.0.0.1", listener)
    with nobody_serves(listener, refused=True), grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(LIVE)
        assert call.future(b"", timeout=30).code() is grpc.StatusCode.UNAVAILABLE
        waiting = call.future(b"", timeout=30, wait_for_ready=True)
        assert call.future(b"", timeout=30).code() is grpc.StatusCode.UNAVAILABLE
        assert not waiting.done()
        waiting.cancel()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 9,
        b"\x16\x03\x01",
    ],
    ids=["http1", "frame-too-long", "tls"],
)
def test_what_is_no_http2_is_closed_on(listener: socket.socket, sent: bytes) -> None:
    with nobody_serves(listener), socket.create_connection(listener.getsockname(), timeout=30) as raw:
        raw.sendall(sent)
        assert raw.recv(100) == bytes.fromhex("000000040000000000")
        assert raw.recv(100) == b""


def test_pieces_of_any_size_mean_the_same() -> None:
    block = bytes.fromhex("000003 01 04 00000001") + b"abc"
    ping = bytes.fromhex("000008 06 00 00000000") + b"12345678"
    sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000") + ping + block
    whole = GrpcConversation()
    answer = whole.received(sent)
    assert b"12345678" in answer
    assert b"grpc-status" in answer
    bytewise = GrpcConversation()
    assert b"".join(bytewise.received(sent[at : at + 1]) for at in range(len(sent))) == answer
    assert not whole.answered
    assert whole.farewell() == bytes.fromhex("000008 07 00 00000000 00000001 00000000")
    assert whole.answered


@pytest.mark.parametrize("kind", [1, 4, 6], ids=["HEADERS", "SETTINGS", "PING"])
def test_a_flood_of_frames_is_told_to_go_and_not_read_to_its_end(kind: int) -> None:
    conversation = GrpcConversation()
    conversation.received(PREFACE)
    frame = b"\0\0\x08" + bytes((kind, 4 if kind == 1 else 0)) + b"\0\0\0\x01" + bytes(8)
    said = b"".join(conversation.received(frame * 100) for _ in range(MAX_FRAMES // 100))
    assert not conversation.answered
    of_each = len(said) // MAX_FRAMES
    assert of_each >= 9
    assert len(conversation.received(frame * 100_000)) == 9 + 8  # GOAWAY
    assert conversation.answered
