"""What callers on other machines may do: nothing of the control plane, and nothing with the owner's token.

A call to 127.0.0.2 comes from 127.0.0.1. Where `owner_addresses` have the latter alone, it is one from another machine.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests import models
from tests.helpers.waiting import until_async
from tests.server.conftest import TOKEN, House, open_house
from tests.server.driver import Driver
from tests.server.grpc.open_port import INFER, open_port, request
from tests.server.listening import BODY, REQUEST
from tests.server.real_service import serving
from workbench.server.gate.scopes import SHARE_SCOPES, Scope
from workbench.server.http.h1_server import H1Server
from workbench.server.process.startup import bind

HERE, CALLED = "127.0.0.1", "127.0.0.2"
ALL = frozenset(Scope)


def filled(path: str) -> str:
    return path.replace("{name}", "digits").replace("{version}", "1").replace("{region}", "r").replace("{share}", "s")


async def share_token(house: House) -> str:
    terms = {"models": ["digits"], "label": "team-a", "show_token": True}
    return str((await house.call("POST", "/control/shares", terms)).json["token"])


async def statuses(house: House, remote: Driver) -> dict[Scope, set[int]]:
    found: dict[Scope, set[int]] = {}
    for route in house.app.routes:
        if "stream" in route.path and route.scope is not Scope.ADMIN:
            continue  # one that is let in has no end
        reply = await remote(route.method, filled(route.path))
        found.setdefault(route.scope, set()).add(reply.status)
    return found


async def test_no_route_takes_the_owners_token_from_another_machine(house: House) -> None:
    found = await statuses(house, Driver(house.app.for_remote(owner_remote=False), TOKEN))
    assert found.keys() <= ALL
    assert 200 in found[Scope.PUBLIC]
    assert not found.pop(Scope.PUBLIC) & {401, 403}
    assert all(each == {403} for each in found.values()), found
    remote = Driver(house.app.for_remote(owner_remote=False), TOKEN)
    for method, path in (
        ("GET", "/nowhere"),
        ("OPTIONS", "/v2"),
        ("DELETE", "/control/models/digits"),
        ("HEAD", "/v2"),
    ):
        assert (await remote(method, path)).status == 403
    assert "--owner-remote" in (await remote("GET", "/v2")).error


async def test_with_owner_remote_it_opens_all_but_the_control_plane(house: House) -> None:
    remote = Driver(house.app.for_remote(owner_remote=True), TOKEN)
    found = await statuses(house, remote)
    assert found.pop(Scope.ADMIN) == {403}
    assert not [each for each in found.values() if each & {401, 403}]
    assert "control plane" in (await remote("POST", "/control/models/digits/unload")).error


async def test_a_share_s_token_opens_from_another_machine_what_it_opens_here(house: House) -> None:
    token = await share_token(house)
    app = house.app.for_remote(owner_remote=False)
    remote = Driver(app, token)
    for route in house.app.routes:
        if "stream" in route.path:
            continue
        reply = await remote(route.method, filled(route.path), BODY, content_type="application/json")
        assert (reply.status in (401, 403)) is (route.scope not in SHARE_SCOPES), route.path
    assert app.infer.heads
    shares = (await house.call("GET", "/control/shares")).json
    assert (await house.call("DELETE", f"/control/shares/{shares[0]['id']}")).status == 200
    reply = await remote("POST", "/v2/models/digits/infer", BODY, content_type="application/json")
    assert reply.status == 401  # by a head that is remembered


async def test_without_a_token_nothing_is_answered_but_health(house: House) -> None:
    found = await statuses(house, Driver(house.app.for_remote(owner_remote=True)))
    assert 200 in found[Scope.PUBLIC]
    assert not found.pop(Scope.PUBLIC) & {401, 403}
    assert all(each == {401} for each in found.values()), found


async def test_a_head_that_is_remembered_for_this_machine_is_not_for_another_one(tmp_path: Path) -> None:
    """A remembered head carries its caller past the gate."""
    remote = False
    async with open_house(tmp_path) as house:
        listener = bind("127.0.0.1", 0)
        host, port = listener.getsockname()
        server = H1Server(
            *(house.app, house.service.connections, house.service.unread),
            remote_app=house.app.for_remote(owner_remote=False),
            is_remote=lambda address, caller: remote and (address, caller) == (host, host),
        )
        serving = asyncio.ensure_future(server.serve(listener, 5))
        await until_async(lambda: server.started)

        async def asked(times: int) -> list[bytes]:
            """The same bytes, on one connection."""
            reader, writer = await asyncio.open_connection(host, port)
            lines = []
            for _ in range(times):
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                lines.append(head.split(b"\r\n")[0])
            writer.close()
            return lines

        try:
            assert await asked(3) == [b"HTTP/1.1 200 OK"] * 3
            assert len(house.app.infer.heads) == 1
            remote = True
            assert await asked(3) == [b"HTTP/1.1 403 Forbidden"] * 3
            remote = False
            assert await asked(2) == [b"HTTP/1.1 200 OK"] * 2
        finally:
            server.stop()
            await serving


async def test_heads_of_remote_callers_are_forgotten_with_the_token(house: House) -> None:
    other = house.app.for_remote(owner_remote=True)
    remote = Driver(other, TOKEN)
    assert (await remote("POST", "/v2/models/digits/infer", BODY, content_type="application/json")).status == 200
    assert other.infer.heads
    assert not house.app.infer.heads
    house.app.gate.prepare_token(TOKEN + "-2")
    house.app.gate.replace_token()
    assert not other.infer.heads
    assert (await remote("POST", "/v2/models/digits/infer", BODY, content_type="application/json")).status == 401


async def test_no_method_of_grpc_takes_the_owners_token_from_another_machine(tmp_path: Path) -> None:
    async with open_house(tmp_path, owner_addresses=HERE) as house, open_port(house, CALLED) as port:
        for method in port.server.methods.table:
            status, code, _ = await port.fails(method)
            assert (status, code) == ("PERMISSION_DENIED", "forbidden"), method
        await port.call("/inference.GRPCInferenceService/ServerLive", metadata=())
        shared = (("authorization", f"Bearer {await share_token(house)}"),)
        for _ in range(3):
            await port.call(INFER, request(), metadata=shared)
        assert (await port.fails("/inference.GRPCInferenceService/RepositoryModelUnload", metadata=shared))[0] == (
            "PERMISSION_DENIED"
        )


async def test_with_owner_remote_grpc_infers_but_loads_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, owner_addresses=HERE, owner_remote=True) as house, open_port(house, CALLED) as port:
        for _ in range(3):
            await port.call(INFER, request())
        for method, served in port.server.methods.table.items():
            if served.scope is Scope.ADMIN:
                status, _, said = await port.fails(method)
                assert status == "PERMISSION_DENIED", method
                assert "control plane" in said


def test_a_real_service_holds_to_it(tmp_path: Path) -> None:
    served, here = {"echo": models.identity(shape=("batch", "n"))}, {"INFER_WORKBENCH_OWNER_ADDRESSES": HERE}
    with serving(tmp_path, served, "--host", CALLED, "--owner-remote", environment=here) as serve:
        assert serve.address.startswith(CALLED)
        x = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
        assert serve.call("POST", "/v2/models/echo/infer", x)[0] == 200
        status, said = serve.call("POST", "/control/models/echo/unload", {})
        assert status == 403
        assert b"another machine" in said
        assert serve.stop() == 0
