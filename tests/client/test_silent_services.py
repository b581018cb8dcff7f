"""A service that takes connections and answers nothing: no call for control waits for it without a limit."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from workbench.client import client as client_module
from workbench.client import grpc_client as grpc_module
from workbench.client import service_transport as transport_module
from workbench.client.client import AsyncClient
from workbench.client.grpc_client import GrpcClient
from workbench.client.signs_of_life import while_alive
from workbench.errors import Unavailable

CLIENT_S = 60.0
"""Far more than any of the limits below."""


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """HOST:PORT."""
    for module in (client_module, grpc_module, transport_module):
        monkeypatch.setattr(module, "CONTROL_S", 0.1)
    monkeypatch.setattr(client_module, "SILENT_S", 0.1)
    monkeypatch.setattr(transport_module, "while_alive", functools.partial(while_alive, silent_s=0.1, look_s=0.05))
    ends: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        while await reader.read(65536):
            pass

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for writer in ends:
            writer.close()
        await server.wait_closed()


async def lent(client: AsyncClient) -> None:
    async with client.lend("m", {"max_batch_size": 1}):
        pass


async def watched(client: AsyncClient) -> None:
    async for _ in client.snapshots(0.01):
        pass


async def begun(client: AsyncClient) -> None:
    await client.start_rollout("m", "2", steps=[1], every_s=1, guard="", on_breach="halt", least_calls=1)


CALLS: dict[str, tuple[Callable[[AsyncClient], Awaitable[object]], str]] = {
    "service": (AsyncClient.service, "did not answer GET /control/status within 0.1 s"),
    "reach": (AsyncClient.reach, "did not answer GET /control/status within 0.1 s"),
    "statuses": (AsyncClient.statuses, "did not answer GET /control/models within"),
    "status": (lambda client: client.status("m"), "did not answer GET /control/models/m within"),
    "describe": (lambda client: client.describe("m"), "did not answer GET"),
    "slowest": (lambda client: client.slowest("m"), "did not answer GET /control/models/m/slowest within"),
    "figures": (AsyncClient.figures, "did not answer GET /control/figures within"),
    "files": (lambda client: client.files("m", "1"), "did not answer GET /control/models/m/files within"),
    "fetch": (lambda client: client.fetch("m", "1", "model.onnx", Path("/dev/null")), "does not answer"),
    "logs": (AsyncClient.logs, "did not answer GET /control/logs within"),
    "ready": (AsyncClient.ready, "did not answer GET /v2/health/ready within"),
    "server_metadata": (AsyncClient.server_metadata, "did not answer GET /v2 within"),
    "metadata": (lambda client: client.metadata("m"), "did not answer GET /v2/models/m within"),
    "configuration": (lambda client: client.configuration("m"), "did not answer GET /v2/models/m/config within"),
    "index": (AsyncClient.index, "did not answer POST /v2/repository/index within"),
    "rotate_token": (AsyncClient.rotate_token, "did not answer POST /control/token/rotate within"),
    "share": (lambda client: client.share({}), "did not answer POST /control/shares within"),
    "shares": (AsyncClient.shares, "did not answer GET /control/shares within"),
    "audit": (AsyncClient.audit, "did not answer GET /control/audit within"),
    "revoke": (lambda client: client.revoke("s"), "did not answer DELETE /control/shares/s within"),
    "share_port": (AsyncClient.share_port, "did not answer GET /control/share-port within"),
    "open_share_port": (lambda client: client.open_share_port({}), "did not answer POST /control/share-port within"),
    "close_share_port": (AsyncClient.close_share_port, "did not answer DELETE /control/share-port within"),
    "load": (lambda client: client.load("m", Path("/m.onnx")), "no sign of life .* while it was loading 'm'"),
    "load_stored": (lambda client: client.load_stored("m"), "no sign of life .* loading 'm'"),
    "stage": (lambda client: client.stage("m", b"model"), "no sign of life .* loading 'm'"),
    "stage_path": (lambda client: client.stage_path("m", Path("/m.onnx")), "no sign of life .* loading 'm'"),
    "commit": (lambda client: client.commit("m", "1"), "no sign of life .* routing to 'm', version 1"),
    "discard": (lambda client: client.discard("m", "1"), "no sign of life .* dropping 'm', version 1"),
    "unload": (lambda client: client.unload("m"), "no sign of life .* unloading 'm', after its requests"),
    "configure": (lambda client: client.configure("m", {"runners": 1}), "no sign of life .* changing settings of 'm'"),
    "rollback": (lambda client: client.rollback("m"), "no sign of life .* rolling back 'm'"),
    "label": (lambda client: client.label("m", {"a": "1"}), "no sign of life .* labelling versions of 'm'"),
    "route": (lambda client: client.route("m", {"2": 0.1}), "no sign of life .* routing calls of 'm'"),
    "shadow": (lambda client: client.shadow("m"), "did not answer GET /control/models/m/route within"),
    "start_rollout": (begun, "no sign of life .* beginning a rollout of 'm'"),
    "rollout": (lambda client: client.rollout("m"), "did not answer GET /control/models/m/rollout within"),
    "rollouts": (lambda client: client.rollouts(), "did not answer GET /control/rollouts within"),
    "stop_rollout": (lambda client: client.stop_rollout("m"), "no sign of life .* stopping the rollout of 'm'"),
    "resume_rollout": (lambda client: client.resume_rollout("m"), "no sign of life .* resuming the rollout of 'm'"),
    "versions": (lambda client: client.versions("m"), "did not answer GET /control/models/m/versions within"),
    "lend": (lent, "does not answer"),
    "snapshots": (watched, "sent no figures for 0.1 s"),
}


@pytest.mark.parametrize(("call", "words"), CALLS.values(), ids=CALLS)
async def test_no_control_call_waits_without_a_limit(
    silent: str, call: Callable[[AsyncClient], Awaitable[object]], words: str
) -> None:
    async with AsyncClient(f"http://{silent}", "a-token-0123456789") as client:
        with pytest.raises(Unavailable, match=words):
            async with asyncio.timeout(CLIENT_S):
                await call(client)


def test_the_table_has_every_call_but_inferences() -> None:
    calls = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    public = {name for name, each in inspect.getmembers(AsyncClient) if any(is_call(each) for is_call in calls)}
    others = {"infer", "exchange", "close", "rebind"}
    assert {name for name in public if not name.startswith("_")} == CALLS.keys() - {"lend"} | others


async def test_no_call_for_metadata_over_grpc_waits_without_a_limit(silent: str) -> None:
    async with GrpcClient(f"grpc://{silent}", "a-token-0123456789") as client:
        for asked in (client.ready(), client.server_metadata(), client.status("m"), client.signature("m")):
            with pytest.raises(Unavailable, match=r"did not answer \w+ within 0.1 s"):
                async with asyncio.timeout(CLIENT_S):
                    await asked
