"""The gRPC port over a service in this process, whose runtime is a fake: the gate, limits, ends, health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import service_pb2

from tests.helpers.large_bodies import large_from
from tests.helpers.waiting import until_async
from tests.server.conftest import LIMITS, TOKEN, House, open_house
from tests.server.grpc.open_port import AUTHORIZED, INFER, STREAM, Port, open_port, request
from workbench.core.messages import InferRequest
from workbench.engine.request_queue import Completion
from workbench.http2 import frames
from workbench.http2.headers import block_of
from workbench.protocols import pb
from workbench.server.gate.scopes import Scope
from workbench.server.grpc import framing
from workbench.server.grpc.health import HEALTH, REFLECTION
from workbench.server.grpc.infer import in_order
from workbench.server.inference import InferencePath

PUBLIC = {f"/{pb.SERVICE}/ServerLive", f"/{pb.SERVICE}/ServerReady", f"/{HEALTH}/Check", f"/{HEALTH}/Watch"}


@pytest.fixture
async def port(house: House) -> AsyncIterator[Port]:
    async with open_port(house) as port:
        yield port


# The gate


async def test_no_method_answers_without_the_token_but_health(port: Port) -> None:
    assert {name for name, method in port.server.methods.table.items() if method.scope is Scope.PUBLIC} == PUBLIC
    for method in [*port.server.methods.table, "/inference.GRPCInferenceService/Nothing", "/a.b/C"]:
        for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", f"Basic {TOKEN}"),)):
            if method in PUBLIC:
                continue
            status, code, said = await port.fails(method, b"\xff" * 9_000, metadata=metadata)
            assert (status, code) == ("UNAUTHENTICATED", "unauthenticated"), method
            assert "authorization: Bearer" in said
    for method in PUBLIC - {f"/{HEALTH}/Watch"}:
        await port.call(method, metadata=())


async def test_every_method_of_the_proto_is_in_the_table(port: Port) -> None:
    names = {f"/{pb.SERVICE}/{method.name}" for method in pb.methods()}
    assert names <= set(port.server.methods.table)


async def test_what_a_stranger_sends_is_not_read(port: Port) -> None:
    # Over the cap, which a message that was read would be told of.
    status, _, said = await port.fails(INFER, b"\0" * 5_000_000, metadata=())
    assert status == "UNAUTHENTICATED"
    assert "token" in said


async def test_a_model_s_health_is_for_those_with_the_token(port: Port) -> None:
    check = f"/{HEALTH}/Check"
    digits = health_pb2.HealthCheckRequest(service="digits").SerializeToString()
    answer = health_pb2.HealthCheckResponse.FromString(await port.call(check, digits))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for name in ("digits", "nothing"):
        asked = health_pb2.HealthCheckRequest(service=name).SerializeToString()
        assert (await port.fails(check, asked, metadata=()))[0] == "UNAUTHENTICATED"
    nothing = health_pb2.HealthCheckRequest(service="nothing").SerializeToString()
    assert (await port.fails(check, nothing))[0] == "NOT_FOUND"


async def test_a_method_that_is_not_there_is_said_to_be_so(port: Port) -> None:
    status, code, said = await port.fails("/inference.GRPCInferenceService/Nothing")
    assert (status, code) == ("UNIMPLEMENTED", "unsupported")
    assert "Nothing" in said


# Inference


async def test_an_answer_names_the_request(port: Port) -> None:
    call = port.call(INFER, request(3, id="7"), metadata=(*AUTHORIZED, ("x-request-id", "mine")))
    answer = service_pb2.ModelInferResponse.FromString(await call)
    assert (answer.id, answer.model_version) == ("7", "1")
    assert answer.raw_output_contents[0] == np.full((3, 2), 2, np.float32).tobytes()
    assert dict(await call.trailing_metadata())["x-request-id"] == "mine"
    other = port.call(INFER, request(model="nothing"))
    with pytest.raises(grpc.aio.AioRpcError):
        await other
    assert dict(await other.trailing_metadata())["x-request-id"]


async def test_exchanges_are_noted_with_their_trace_and_their_end(port: Port) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    named = (*AUTHORIZED, ("traceparent", trace), ("x-request-id", "traced"))
    await port.call(INFER, request(2), metadata=named)
    (slowest,) = port.house.service.metrics.slowest("digits")
    assert slowest["request_id"] == "traced"
    assert slowest["trace_id"] == trace[3:35]


async def test_of_an_id_that_was_refused_no_more_is_kept_than_an_id_may_have(port: Port) -> None:
    status, _, said = await port.fails(INFER, request(id="a" * 5_000))
    assert status == "INVALID_ARGUMENT"
    assert "the id has 5000 characters" in said
    (slowest,) = port.house.service.metrics.slowest("digits")
    assert slowest["id"] == "a" * LIMITS.max_name_length


async def test_a_message_over_the_cap_is_refused(port: Port) -> None:
    status, _, said = await port.fails(INFER, request(5_000))
    assert status == "RESOURCE_EXHAUSTED"
    assert "10000" in said


async def test_a_compressed_message_is_held_to_the_cap_when_it_is_unpacked(port: Port) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await port.channel.unary_unary(INFER)(
            b"\0" * 50_000_000, metadata=AUTHORIZED, compression=grpc.Compression.Gzip, timeout=20
        )
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_answer_over_the_cap_says_so(tmp_path: Path) -> None:
    async with open_house(tmp_path, limits=replace(LIMITS, max_response_bytes=100)) as house, open_port(house) as port:
        status, code, said = await port.fails(INFER, request(40))
    assert (status, code) == ("INVALID_ARGUMENT", "too_large")
    assert "max_response_bytes" in said


def head_of(method: str) -> bytes:
    """The header block of a call with the token."""
    return block_of(
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b"content-type", b"application/grpc"),
        (b"authorization", b"Bearer " + TOKEN.encode()),
    )


async def test_an_answer_that_nobody_reads_counts_with_the_bodies(port: Port) -> None:
    bodies = port.house.service.bodies
    host, _, number = port.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(number))
    message = framing.framed(request())
    writer.write(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    writer.write(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, head_of(INFER)))
    writer.write(frames.frame(frames.DATA, frames.END_STREAM, 1, message))
    await reader.readuntil(b"application/grpc")  # the answer's head; its message waits
    assert port.caller.in_flight == 0
    assert bodies.held > 0
    writer.write(frames.window_update(1, 1 << 20))
    await until_async(lambda: bodies.held == 0)
    writer.close()


@pytest.mark.parametrize("method", [INFER, STREAM])
async def test_answers_of_one_connection_that_nobody_reads_have_a_cap(port: Port, method: str) -> None:
    port.server._connections.most_unread = 1
    host, _, number = port.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(number))
    writer.write(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    for stream in (1, 3):
        writer.write(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, head_of(method)))
        writer.write(frames.frame(frames.DATA, frames.END_STREAM, stream, framing.framed(request())))
        await reader.readuntil(b"application/grpc")
    assert b"have half of max_body_bytes_in_flight" in await reader.readuntil(b"half of max_body_bytes_in_flight")
    assert port.house.service.bodies.held > 0  # the first one still waits
    writer.close()


async def test_a_request_whose_deadline_passes_is_not_run(port: Port) -> None:
    session = port.house.session
    session.hold()
    running = asyncio.ensure_future(awaited(port.call(INFER, request())))
    assert await asyncio.to_thread(session.entered.acquire, timeout=10)
    status, _, _ = await port.fails(INFER, request(7), timeout=0.3)
    assert status == "DEADLINE_EXCEEDED"
    session.gate.set()
    await running
    await port.call(INFER, request(2))
    assert session.batches == [1, 2]


# Streams


async def test_a_stream_that_is_cancelled_ends_all_that_it_began(port: Port) -> None:
    session = port.house.session
    session.hold()
    stream = port.channel.stream_stream(STREAM)(metadata=AUTHORIZED)
    for _ in range(3):
        await stream.write(request())
    await until_async(lambda: port.caller.in_flight == 3)
    stream.cancel()
    await until_async(lambda: port.caller.in_flight == 0)
    session.gate.set()
    await port.call(INFER, request())


async def test_a_stream_ends_when_the_service_does_after_the_answers_under_way(port: Port) -> None:
    session = port.house.session
    session.hold()
    stream = port.channel.stream_stream(STREAM)(metadata=AUTHORIZED)
    await stream.write(request(id="under way"))
    assert await asyncio.to_thread(session.entered.acquire, timeout=10)
    port.house.service.draining.set()
    session.gate.set()
    answer = service_pb2.ModelStreamInferResponse.FromString(await stream.read())
    assert (answer.infer_response.id, answer.error_message) == ("under way", "")
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await stream.read()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_answers_of_a_stream_come_in_order_whichever_is_done_first(port: Port) -> None:
    stream = port.channel.stream_stream(STREAM)(metadata=AUTHORIZED)
    session = port.house.session
    session.hold()
    await stream.write(request(id="runs"))
    assert await asyncio.to_thread(session.entered.acquire, timeout=10)
    await stream.write(request(model="nothing", id="fails at once"))
    await stream.write(b"\xff")
    await stream.done_writing()
    session.gate.set()
    answers = [service_pb2.ModelStreamInferResponse.FromString(each) async for each in stream]
    assert [(answer.infer_response.id, bool(answer.error_message)) for answer in answers] == [
        ("runs", False),
        ("fails at once", True),
        ("", True),
    ]


async def test_a_message_does_not_overtake_a_large_one_that_is_decoded_on_a_thread(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    submitted: list[str] = []
    engine = port.house.service.engine
    submit = engine.submit

    async def on_thread(path: InferencePath, work: Callable[[], Any]) -> Any:
        await gate.wait()
        return work()

    def noted(asked: InferRequest, promise: Completion) -> None:
        submitted.append(asked.id)
        submit(asked, promise)

    monkeypatch.setattr(InferencePath, "on_thread", on_thread)
    monkeypatch.setattr(engine, "submit", noted)
    large_from(200, monkeypatch)
    stream = port.channel.stream_stream(STREAM)(metadata=AUTHORIZED)
    for id in ("large" * 40, "small"):
        await stream.write(request(id=id))
    await port.call(INFER, request(id="after them"))
    assert submitted == ["after them"]
    gate.set()
    await stream.done_writing()
    assert len([each async for each in stream]) == 2
    assert submitted == ["after them", "large" * 40, "small"]


async def test_a_stream_reads_no_further_than_it_may(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    gate = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        for count in range(100):
            read.append(count)
            yield count

    async def do(item: int) -> bytes:
        await gate.wait()
        return b"%d" % item

    results = in_order(items(), do, 8, asyncio.Event())
    first = asyncio.ensure_future(anext(results))
    await until_async(lambda: len(read) >= 9)
    await asyncio.wait([first], timeout=0.05)
    assert len(read) <= 10
    gate.set()
    assert [await first, *[each async for each in results]] == [b"%d" % count for count in range(100)]


async def test_what_ends_a_stream_of_items_is_raised_after_the_results_before() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def do(item: int) -> bytes:
        return b"%d" % item

    got = []
    with pytest.raises(ConnectionError):
        async for each in in_order(items(), do, 8, asyncio.Event()):
            got.append(each)
    assert got == [b"1"]


# Health and reflection


async def test_a_watcher_is_told_of_each_change_until_the_service_ends(port: Port) -> None:
    engine = port.house.service.engine
    asked = health_pb2.HealthCheckRequest(service="digits").SerializeToString()
    watch = port.channel.unary_stream(f"/{HEALTH}/Watch")(asked, metadata=AUTHORIZED)
    response = health_pb2.HealthCheckResponse

    async def told(expected: int) -> None:
        """On the way there it may tell that the model drains, or loads."""
        while (status := response.FromString(await watch.read()).status) != expected:
            assert status == response.NOT_SERVING

    await told(response.SERVING)
    await engine.unload("digits")
    await told(response.SERVICE_UNKNOWN)
    await engine.load("digits")
    await told(response.SERVING)
    port.house.service.draining.set()
    await told(response.NOT_SERVING)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await watch.read()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_watches_without_a_token_leaves_room_to_those_with_one(port: Port) -> None:
    gate = port.house.app.gate
    gate._anyone.max_watches = gate._owner.max_watches = 1
    watching = []
    for metadata in ((), AUTHORIZED):
        watching.append(port.channel.unary_stream(f"/{HEALTH}/Watch")(b"", metadata=metadata))
        await watching[-1].read()
        one_more = port.channel.unary_stream(f"/{HEALTH}/Watch")(b"", metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await one_more.read()
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await port.house.call("GET", "/control/stream")).status == 429
    for each in watching:
        each.cancel()
    await until_async(lambda: gate._anyone.watches == gate._owner.watches == 0)


async def test_readiness_is_that_of_the_service(port: Port) -> None:
    ready = f"/{pb.SERVICE}/ServerReady"
    check = f"/{HEALTH}/Check"
    response = health_pb2.HealthCheckResponse
    assert service_pb2.ServerReadyResponse.FromString(await port.call(ready)).ready
    port.house.service.starting = True
    assert not service_pb2.ServerReadyResponse.FromString(await port.call(ready)).ready
    assert response.FromString(await port.call(check)).status == response.NOT_SERVING
    assert service_pb2.ServerLiveResponse.FromString(await port.call(f"/{pb.SERVICE}/ServerLive")).live


async def test_reflection_lists_the_services_and_their_protos(port: Port) -> None:
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = await reflected(port, asked)
    assert [each.name for each in answer.list_services_response.service] == sorted([HEALTH, REFLECTION, pb.SERVICE])
    for symbol, files in ((pb.SERVICE, 2), (HEALTH, 1)):
        found = await reflected(port, reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        assert len(found.file_descriptor_response.file_descriptor_proto) == files
    unknown = await reflected(port, reflection_pb2.ServerReflectionRequest(file_containing_symbol="a.b"))
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def reflected(port: Port, asked: Any) -> Any:
    stream = port.channel.stream_stream(f"/{REFLECTION}/ServerReflectionInfo")(metadata=AUTHORIZED)
    await stream.write(asked.SerializeToString())
    await stream.done_writing()
    return reflection_pb2.ServerReflectionResponse.FromString(await stream.read())


async def test_what_goes_wrong_here_is_logged_and_says_no_more_than_that(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("workbench.server.grpc.infer.GrpcCodec.encode", broken)
    monkeypatch.setattr("workbench.server.grpc.oip_service.grpc_metadata.server_metadata", broken)
    for method in (INFER, f"/{pb.SERVICE}/ServerMetadata"):
        status, code, said = await port.fails(method, request())
        assert (status, code, said) == ("INTERNAL", "internal", "internal error; see the service's log")
    assert "a secret of ours" in caplog.text


async def awaited(call: Any) -> bytes:
    return bytes(await call)
