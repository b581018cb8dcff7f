"""Shares over gRPC, on a service in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from tests.helpers.waiting import until_async
from tests.server.conftest import House
from tests.server.grpc.open_port import AUTHORIZED, INFER, STREAM, Port, open_port, request
from workbench.core.varint import read_varint
from workbench.protocols import pb
from workbench.server.gate.scopes import SHARE_SCOPES, Scope
from workbench.server.gate.share_caller import READS_AT_ONCE, ShareCaller
from workbench.server.grpc.health import HEALTH

NAMED = ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics")


@pytest.fixture
async def port(house: House) -> AsyncIterator[Port]:
    async with open_port(house) as port:
        yield port


async def shared(port: Port, **terms: object) -> Sequence[tuple[str, str]]:
    """Metadata with the token of a new share."""
    terms = {"models": ["digits"], "label": "team-a", "show_token": True, **terms}
    token = (await port.house.call("POST", "/control/shares", terms)).json["token"]
    return (("authorization", f"Bearer {token}"),)


def named(method: str, model: str) -> bytes:
    kind = getattr(service_pb2, f"{method}Request")
    return bytes((kind(model_name=model) if method == "ModelInfer" else kind(name=model)).SerializeToString())


async def test_a_share_s_token_opens_its_models_and_nothing_else_over_grpc(port: Port) -> None:
    await port.house.call("POST", "/v2/repository/models/spare/load")
    mine = await shared(port)
    for name, method in port.server.methods.table.items():
        if method.scope not in SHARE_SCOPES:
            status, code, said = await port.fails(name, metadata=mine)
            assert (status, code) == ("PERMISSION_DENIED", "forbidden"), name
            assert "scope" in said
    assert (await port.fails("/a.b/C", metadata=mine))[0] == "UNIMPLEMENTED"
    await port.call(INFER, request(), metadata=mine)
    for method in NAMED:
        await port.call(f"/{pb.SERVICE}/{method}", named(method, "digits"), metadata=mine)
    for model in ("spare", "nothing"):
        refusals = [await port.fails(INFER, request(model=model), metadata=mine)]
        for method in NAMED:
            refusals.append(await port.fails(f"/{pb.SERVICE}/{method}", named(method, model), metadata=mine))
        health = health_pb2.HealthCheckRequest(service=model).SerializeToString()
        refusals.append(await port.fails(f"/{HEALTH}/Check", health, metadata=mine))
        denied = ("PERMISSION_DENIED", "forbidden", f"this token is not for model '{model}'; it is for digits")
        assert set(refusals) == {denied}
    index = service_pb2.RepositoryIndexResponse.FromString(
        await port.call(f"/{pb.SERVICE}/RepositoryIndex", metadata=mine)
    )
    assert [each.name for each in index.models] == ["digits"]
    found = service_pb2.ModelStatisticsResponse.FromString(
        await port.call(f"/{pb.SERVICE}/ModelStatistics", metadata=mine)
    )
    assert [each.name for each in found.model_stats] == ["digits"]
    assert not port.house.service.metrics.state().figures["spare", "1"].outcomes


async def test_a_share_s_statistics_are_its_own_over_grpc(port: Port) -> None:
    mine = await shared(port)
    await port.call(INFER, request())
    await port.call(INFER, request(rows=2), metadata=mine)
    for message in (b"", named("ModelStatistics", "digits")):
        answer = await port.call(f"/{pb.SERVICE}/ModelStatistics", message, metadata=mine)
        (found,) = service_pb2.ModelStatisticsResponse.FromString(answer).model_stats
        assert (found.name, found.inference_count, found.inference_stats.success.count) == ("digits", 2, 1)
        assert not found.batch_stats
    (listed,) = (await port.house.call("GET", "/control/shares")).json
    assert (listed["answered"], listed["rows"], listed["errors"]) == (1, 2, 0)
    await port.fails(INFER, named("ModelInfer", "digits"), metadata=mine)
    (listed,) = (await port.house.call("GET", "/control/shares")).json
    assert (listed["answered"], listed["errors"]) == (1, 1)


async def test_a_message_that_names_two_models_is_of_the_last(port: Port) -> None:
    """As protobuf has it; whichever a reader took, the share's model must be the one that runs."""
    await port.house.call("POST", "/v2/repository/models/spare/load")
    mine = await shared(port)
    spare = service_pb2.ModelInferRequest(model_name="spare").SerializeToString()
    assert (await port.fails(INFER, request() + spare, metadata=mine))[0] == "PERMISSION_DENIED"
    await port.call(INFER, spare + request(), metadata=mine)
    assert not port.house.service.metrics.state().figures["spare", "1"].outcomes


async def test_every_method_but_health_pays_and_over_the_rate_is_exhausted(port: Port) -> None:
    paying = [
        name for name, method in port.server.methods.table.items() if method.scope in SHARE_SCOPES - {Scope.PUBLIC}
    ]
    for number, name in enumerate(each for each in paying if each != STREAM):
        mine = await shared(port, label=f"t{number}", rate=1)
        message = request() if name == INFER else b""
        method = name.rpartition("/")[2]
        if method in NAMED:
            message = named(method, "digits")
        for _ in range(1 if name == INFER else READS_AT_ONCE):
            await port.call(name, message, metadata=mine)
        status, code, _ = await port.fails(name, message, metadata=mine)
        assert (status, code) == ("RESOURCE_EXHAUSTED", "limit_exceeded"), name


async def test_over_the_rate_a_client_is_told_when_to_come_again(port: Port) -> None:
    mine = await shared(port, rate="6/min")
    await port.call(INFER, request(), metadata=mine)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await port.call(INFER, request(), metadata=mine)
    trailers = dict(failed.value.trailing_metadata() or ())
    assert 9_000 < int(trailers["grpc-retry-pushback-ms"]) <= 10_000
    details = trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status, message, inner = _fields(details)
    assert (status, message) == (8, failed.value.details().encode())
    kind, retry = _fields(inner)
    assert kind == b"type.googleapis.com/google.rpc.RetryInfo"
    ((seconds, nanos),) = [_fields(each) for each in _fields(retry)]
    assert 9 <= seconds + nanos / 1e9 <= 10


async def test_rows_are_counted_before_they_run_over_grpc_and_each_of_a_stream(port: Port) -> None:
    mine = await shared(port, row_rate=4)
    await port.call(INFER, request(3), metadata=mine)
    status, code, said = await port.fails(INFER, request(3), metadata=mine)
    assert (status, code) == ("RESOURCE_EXHAUSTED", "limit_exceeded") and "4 rows a second" in said
    other = await shared(port, label="other", row_rate="4/h")
    stream = port.channel.stream_stream(STREAM)(metadata=other)
    told = []
    for _ in range(3):
        await stream.write(request())
        told.append(service_pb2.ModelStreamInferResponse.FromString(await stream.read()).error_message)
    assert [bool(each) for each in told] == [False, True, True]
    stream.cancel()
    assert sum(port.house.service.metrics.state().figures["digits", "1"].outcomes.values()) == 2


def _fields(message: bytes) -> list[Any]:
    """The values of a protobuf message's fields, which are numbers or bytes."""
    found: list[Any] = []
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        value, at = read_varint(message, at)
        if key & 7 == 2:
            found.append(message[at : at + value])
            at += value
        else:
            found.append(value)
    return found


async def test_revoking_acts_on_the_next_call_of_a_remembered_header_block(port: Port) -> None:
    mine, other = await shared(port), await shared(port, label="other")
    for metadata in (mine, other, mine, other):
        await port.call(INFER, request(), metadata=metadata)
    await port.house.call("DELETE", "/control/shares/team-a")
    for method, message in ((INFER, request()), (f"/{pb.SERVICE}/ServerMetadata", b"")):
        status, _, said = await port.fails(method, message, metadata=mine)
        assert (status, "revoked" in said) == ("UNAUTHENTICATED", True)
        await port.call(method, message, metadata=other)
        await port.call(method, message)


async def test_an_expired_share_is_refused_each_message_of_an_open_stream(port: Port) -> None:
    mine = await shared(port)
    stream = port.channel.stream_stream(STREAM)(metadata=mine)
    await stream.write(request())
    assert not service_pb2.ModelStreamInferResponse.FromString(await stream.read()).error_message
    caller = port.house.app.gate.admit_token(None, mine[0][1].encode())
    assert isinstance(caller, ShareCaller)
    caller._wall = lambda: caller.record.expires_at
    await stream.write(request())
    assert "expired" in service_pb2.ModelStreamInferResponse.FromString(await stream.read()).error_message
    stream.cancel()


async def test_a_stream_of_a_revoked_share_ends_and_the_owner_s_goes_on(port: Port) -> None:
    mine = await shared(port)
    streams = [port.channel.stream_stream(STREAM)(metadata=each) for each in (mine, AUTHORIZED)]
    for stream in streams:
        await stream.write(request())
        await stream.read()
    await port.house.call("DELETE", "/control/shares/team-a")
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await streams[0].read()
    assert (ended.value.code().name, "revoked" in str(ended.value.details())) == ("UNAUTHENTICATED", True)
    await streams[1].write(request())
    assert not service_pb2.ModelStreamInferResponse.FromString(await streams[1].read()).error_message
    streams[1].cancel()
    await until_async(lambda: port.house.service.bodies.held == 0)


async def test_a_watch_of_an_expired_share_ends(port: Port) -> None:
    mine = await shared(port)
    message = health_pb2.HealthCheckRequest(service="digits").SerializeToString()
    watch = port.channel.unary_stream(f"/{HEALTH}/Watch")(message, metadata=mine)
    assert health_pb2.HealthCheckResponse.FromString(await watch.read()).status == 1
    caller = port.house.app.gate.admit_token(None, mine[0][1].encode())
    assert isinstance(caller, ShareCaller)
    caller._wall = lambda: caller.record.expires_at
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await watch.read()
    assert ended.value.code().name == "UNAUTHENTICATED"
