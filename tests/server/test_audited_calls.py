"""What the audit says of calls of a whole service in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.helpers.full_disk import full_disk
from tests.server.conftest import TOKEN, House
from tests.server.driver import Driver
from tests.server.grpc.open_port import open_port
from workbench.protocols import pb
from workbench.server.gate.auth import SAFE_METHODS
from workbench.server.gate.remote_gate import RemoteGate
from workbench.server.gate.scopes import Scope
from workbench.server.http import routes_not_implemented
from workbench.telemetry import exposition


async def audited(house: House, **asked: Any) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    reply = await house.call("GET", f"/control/audit?{query}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json
    return found


def test_every_route_that_changes_something_has_an_action(house: House) -> None:
    nothing = {route.path for route in routes_not_implemented.routes()}
    for route in house.app.routes:
        if route.path not in nothing and "sharedmemory" not in route.path:
            changes = route.scope is Scope.ADMIN and route.method not in SAFE_METHODS
            assert bool(route.action) == (changes or (route.method, route.path) == ("POST", "/share/claim")), route.path


async def test_what_an_owner_does_is_written_down(house: House, tmp_path: Path) -> None:
    path = tmp_path / "next.onnx"
    path.write_bytes(house.onnx)
    for method, route, sent in (
        ("POST", "/control/models/mine/load", {"path": str(path)}),
        ("POST", "/control/models/digits/set", {"max_batch_size": 16}),
        ("POST", "/control/shares", {"models": ["digits"], "label": "team-a"}),
        ("DELETE", "/control/shares/team-a", None),
        ("DELETE", "/control/shares/team-b", None),
        ("POST", "/v2/repository/models/spare/load", {}),
        ("POST", "/v2/repository/models/spare/unload", {}),
        ("POST", "/control/models/mine/unload", {}),
        ("GET", "/control/status", None),
    ):
        await house.call(method, route, sent, user_agent="curl/8")
    found = await audited(house)
    (share,) = (await house.call("GET", "/control/shares")).json
    assert [(each["action"], each["subject"], each["detail"], each["outcome"]) for each in found] == [
        ("load", "mine", "version 1", "ok"),
        ("set", "digits", "max_batch_size=16", "ok"),
        ("share", "team-a", f"{share['id']}: digits", "ok"),
        ("revoke", "team-a", share["id"], "ok"),
        ("revoke", "team-b", "", "not_found"),
        ("load", "spare", "", "ok"),
        ("unload", "spare", "", "ok"),
        ("unload", "mine", "", "ok"),
    ]
    assert {(each["who"], each["way"], each["address"], each["agent"]) for each in found} == {
        ("owner", "http", "127.0.0.1", "curl/8")
    }
    assert await audited(house, limit=2) == found[-2:]
    assert await audited(house, since=found[-1]["at"] + 1) == []
    assert (await house.call("GET", "/control/audit?limit=0")).status == 400


async def test_a_claim_is_written_down_and_wrong_ones_in_a_bundle(house: House) -> None:
    reply = await house.call("POST", "/control/shares", {"models": ["digits"], "label": "team-a"})
    code = reply.json["link"].partition("#")[2]
    for _ in range(5):
        await house.stranger("POST", "/share/claim", {"code": "no such code"})
    token = (await house.stranger("POST", "/share/claim", {"code": code})).json["token"]
    # By mistake where a name belongs.
    await house.call("DELETE", f"/control/shares/{token}")
    await house.call("POST", f"/control/models/{token}/unload", {})
    found = await audited(house)
    told = sorted((each["action"], each["who"], each["subject"], each["outcome"], each["count"]) for each in found)
    assert told == [
        ("claim", "anyone", "", "not_found", 5),
        ("claim", "anyone", "team-a", "ok", 1),
        ("revoke", "owner", "[token]", "not_found", 1),
        ("share", "owner", "team-a", "ok", 1),
        ("unload", "owner", "[token]", "model_not_found", 1),
    ]
    content = b"".join(path.read_bytes() for path in house.service.config.data_dir.glob("audit*"))
    assert b"team-a" in content
    assert not any(secret.encode() in content for secret in (token, code, TOKEN))


async def test_what_the_gate_refuses_of_the_control_plane_is_written_down_in_bundles(house: House) -> None:
    terms = {"models": ["digits"], "label": "team-a", "show_token": True}
    share = Driver(house.app, (await house.call("POST", "/control/shares", terms)).json["token"])
    for call in (house.stranger, Driver(house.app, "wrong"), share):
        for _ in range(3):
            await call("POST", "/control/models/digits/unload", {})
    await share("GET", "/control/status")
    await house.call("POST", "/control/token/rotate", {}, origin="http://evil.example")
    await house.stranger("POST", "/v2/models/digits/infer", {})
    found = [each for each in await audited(house) if each["outcome"] != "ok"]
    assert [(each["action"], each["outcome"], each["who"], each["count"]) for each in found] == [
        ("unload", "unauthenticated", "anyone", 6),
        ("unload", "forbidden", "team-a", 3),
        ("GET /control/status", "forbidden", "team-a", 1),
        ("rotate-token", "forbidden", "owner", 1),
    ]


async def test_from_another_machine_the_owner_s_token_is_refused_and_that_is_written_down(house: House) -> None:
    elsewhere = Driver(house.app.for_remote(True), TOKEN)
    assert (await elsewhere("POST", "/control/models/digits/unload", {})).status == 403
    (found,) = await audited(house)
    assert (found["action"], found["outcome"], found["who"]) == ("unload", "forbidden", "owner")
    assert RemoteGate(house.app.gate, True).known(f"Bearer {TOKEN}".encode()) is not None


async def test_who_called_a_proxy_is_told_beside_the_proxy(house: House) -> None:
    await house.call("DELETE", "/control/shares/a", x_forwarded_for="192.0.2.7, 198.51.100.1")
    prefix = "/user/alice/infer-workbench/endpoint"
    await house.stranger("POST", "/share/claim", {"code": "x"}, x_forwarded_for="192.0.2.8", x_forwarded_prefix=prefix)
    assert [(each["way"], each["address"]) for each in await audited(house)] == [
        ("http", "192.0.2.7, 198.51.100.1 via 127.0.0.1"),
        ("jupyter", "192.0.2.8 via 127.0.0.1"),
    ]


async def test_over_grpc_too(house: House) -> None:
    load, unload = f"/{pb.SERVICE}/RepositoryModelLoad", f"/{pb.SERVICE}/RepositoryModelUnload"
    async with open_port(house) as port:
        await port.call(load, service_pb2.RepositoryModelLoadRequest(model_name="spare").SerializeToString())
        message = service_pb2.RepositoryModelUnloadRequest(model_name="spare").SerializeToString()
        await port.call(unload, message)
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                await port.call(unload, message, metadata=(("authorization", "Bearer wrong"),))
        await port.fails(load, service_pb2.RepositoryModelLoadRequest(model_name="none").SerializeToString())
    found = await audited(house)
    assert sorted((each["action"], each["subject"], each["outcome"], each["count"]) for each in found) == [
        ("load", "none", "model_not_found", 1),
        ("load", "spare", "ok", 1),
        ("unload", "", "unauthenticated", 3),
        ("unload", "spare", "ok", 1),
    ]
    assert {(each["way"], each["address"]) for each in found} == {("grpc", "127.0.0.1")}
    assert all("grpc-python" in each["agent"] for each in found)


async def test_an_action_that_cannot_be_written_down_is_done_and_counted(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk():
        assert (await house.call("POST", "/control/models/digits/unload", {})).status == 200
    assert not house.service.engine.statuses("digits")
    body, _ = exposition.render(house.service.metrics.state())
    assert b"\ninfer_audit_failures_total 1" in body
    assert "the audit cannot be written, and what is done goes on without it" in caplog.text
