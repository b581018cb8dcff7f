"""gRPC on the port for shares: in this process, on real sockets, called by grpcio with TLS as a teammate calls it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from tests.server.conftest import House
from tests.server.grpc.open_port import AUTHORIZED, INFER, STREAM, request
from tests.server.share_ports import open_house_with_share_port, share_port
from workbench.protocols import pb
from workbench.server.grpc import health, oip_service
from workbench.server.grpc.health import HEALTH
from workbench.server.http.share_port import SharePort, port_file

PATH = "/control/share-port"
SECURE = {"host": "0.0.0.0", "tls": "self-signed"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house_with_share_port(tmp_path) as house:
        yield house


def channel(opened: dict[str, Any]) -> grpc.aio.Channel:
    """As a teammate opens it who was sent `ca_file`; here by a name that means this machine wherever it is."""
    address = f"localhost:{opened['grpc'].rpartition(':')[2]}"
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(Path(opened["ca_file"]).read_bytes()))


async def shared(house: House, label: str = "team-a") -> Sequence[tuple[str, str]]:
    terms = {"models": ["digits"], "label": label, "show_token": True}
    token = (await house.call("POST", "/control/shares", terms)).json["token"]
    return (("authorization", f"Bearer {token}"),)


async def status(
    channel: grpc.aio.Channel, method: str, message: bytes = b"", metadata: Sequence[tuple[str, str]] = ()
) -> tuple[str, str]:
    """(OK or the status, what was said)."""
    try:
        await channel.unary_unary(method)(message, metadata=metadata, timeout=20.0)
    except grpc.aio.AioRpcError as error:
        return error.code().name, str(error.details())
    return "OK", ""


async def test_shares_tokens_alone_are_taken_there_and_nothing_of_the_control_plane(house: House) -> None:
    opened = (await house.call("POST", PATH, SECURE)).json
    mine = await shared(house)
    table = {**oip_service.methods(house.service, house.app.inference), **health.methods(house.service)}
    async with channel(opened) as there:
        assert await status(there, INFER, request(), mine) == ("OK", "")
        assert (await status(there, INFER, request(model="spare"), mine))[0] == "PERMISSION_DENIED"
        for name, method in table.items():
            owner, said = await status(there, name, b"", AUTHORIZED)
            if method.scope is health.Scope.PUBLIC:
                continue
            assert owner == "PERMISSION_DENIED" and "came from another machine" in said, name
            assert (await status(there, name))[0] == "UNAUTHENTICATED", name
        assert (await status(there, f"/{pb.SERVICE}/RepositoryModelUnload", b"", mine))[0] == "PERMISSION_DENIED"
        message = health_pb2.HealthCheckRequest().SerializeToString()
        assert (await status(there, f"/{HEALTH}/Check", message))[0] == "OK"


async def test_a_share_that_is_revoked_in_the_middle_of_a_stream_over_tls_is_ended_and_others_go_on(
    house: House,
) -> None:
    opened = (await house.call("POST", PATH, SECURE)).json
    mine, other = await shared(house), await shared(house, "team-b")
    async with channel(opened) as first, channel(opened) as second:
        streams = [each.stream_stream(STREAM)(metadata=who) for each, who in ((first, mine), (second, other))]
        for stream in streams:
            await stream.write(request())
            assert not service_pb2.ModelStreamInferResponse.FromString(await stream.read()).error_message
        await house.call("DELETE", "/control/shares/team-a")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await streams[0].read()
        assert (ended.value.code().name, "revoked" in str(ended.value.details())) == ("UNAUTHENTICATED", True)
        assert (await status(first, INFER, request(), mine))[0] == "UNAUTHENTICATED"
        await streams[1].write(request())
        assert not service_pb2.ModelStreamInferResponse.FromString(await streams[1].read()).error_message
        streams[1].cancel()


async def test_who_does_not_trust_the_certificate_sends_no_token(house: House) -> None:
    opened = (await house.call("POST", PATH, SECURE)).json
    mine = await shared(house)
    address = f"localhost:{opened['grpc'].rpartition(':')[2]}"
    for stranger in (
        grpc.aio.secure_channel(address, grpc.ssl_channel_credentials()),
        grpc.aio.insecure_channel(address),
    ):
        async with stranger:
            assert (await status(stranger, INFER, request(), mine))[0] == "UNAVAILABLE"


async def test_both_ports_come_back_with_the_next_worker_and_calls_under_way_are_answered(house: House) -> None:
    opened = (await house.call("POST", PATH, SECURE)).json
    assert opened["grpc"].rpartition(":")[0] in opened["url"]
    mine = await shared(house)
    first = house.service.share_port
    assert isinstance(first, SharePort)
    async with channel(opened) as there:
        assert (await status(there, INFER, request(), mine))[0] == "OK"
        house.session.hold()
        under_way = asyncio.create_task(status(there, INFER, request(), mine))
        await asyncio.to_thread(house.session.entered.acquire, timeout=10.0)
        await first.begin_drain()
        house.session.gate.set()
        assert await under_way == ("OK", "")
        await first.stop()
    house.service.share_port = second = share_port(house)
    await second.restore()
    assert (await house.call("GET", PATH)).json == opened
    async with channel(opened) as there:
        assert (await status(there, INFER, request(), mine))[0] == "OK"
    assert (await house.call("DELETE", PATH)).status == 200
    async with channel(opened) as there:
        assert (await status(there, INFER, request(), mine))[0] == "UNAVAILABLE"


async def test_a_port_of_grpc_that_is_taken_leaves_neither_open(house: House) -> None:
    before = list(house.app.gate.on_replaced)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        reply = await house.call("POST", PATH, {"host": "127.0.0.1", "grpc_port": taken})
    assert reply.status == 503 and "give another --grpc-port" in reply.error
    assert (await house.call("GET", PATH)).json is None and not port_file(house.service.config).exists()
    assert house.app.gate.on_replaced == before
