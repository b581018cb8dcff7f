"""Versions by the panel's routes, of a real service: looked at, split, labelled, compared, taken back, unloaded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask, Fetch, eventually
from tests.models import add_constant
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.jupyter import version_routes
from workbench.jupyter.events import ROLLOUT
from workbench.jupyter.extension import InferWorkbench
from workbench.jupyter.version_routes import CompareVersionsHandler


async def refused(ask: Ask, *parts: str, body: object = None) -> tuple[int, str]:
    with pytest.raises(HTTPClientError) as caught:
        await ask("models", "plus", *parts, body=body)
    assert caught.value.response is not None
    return caught.value.code, json.loads(caught.value.response.body)["message"]


async def test_versions_are_seen_split_labelled_compared_taken_back_and_unloaded(
    ask: Ask,
    extension: InferWorkbench,
    workplace: SharedService,
    jp_root_dir: Path,
    jp_fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def post(*parts: str, body: object) -> Any:
        return await ask("models", "plus", *parts, body=body)

    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    await post("load", body={"path": "plus.onnx", "config": {"versions": "latest:2"}})
    assert (await refused(ask, "rollback", body={}))[0] == 409  # none served before
    record = workplace.record()
    assert record is not None
    (jp_root_dir / "two.onnx").write_bytes(add_constant(2.0).SerializeToString())
    async with AsyncClient(record.url, record.token) as owner:
        await owner.load("plus", jp_root_dir / "two.onnx", route=False)

    assert (await post("labels", body={"canary": "2"}))["labels"] == {"canary": "2"}
    split = await post("route", body={"weights": {"canary": 0.25}})
    assert split["weights"] == {"1": 0.75, "2": 0.25}
    for weights, status, words in (
        ({"2": 0.9, "1": 0.9}, 400, "180 %"),
        ({"7": 0.1}, 404, "7"),
        ({"2": "much"}, 400, "does not fit"),
    ):
        code, message = await refused(ask, "route", body={"weights": weights})
        assert code == status and words in message

    found = await ask("models", "plus", "versions")
    assert [(each["version"], each["weight"], each["labels"]) for each in found["versions"]] == [
        ("1", 0.75, []),
        ("2", 0.25, ["canary"]),
    ]
    assert [each["action"] for each in found["history"]][-2:] == ["label", "route"]

    lines: list[dict[str, Any]] = []
    path = ("infer-workbench", "api", "models", "plus", "compare")
    answer = await jp_fetch(
        *path, "1", "canary", params={"seconds": "2"}, streaming_callback=lambda part: lines.extend(read(part))
    )
    assert answer.code == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
    assert lines[-1]["versions"] == ["1", "2"] and lines[-1]["seconds"] == len(lines) >= 2
    assert lines[-1]["figures"][0]["figure"] == "calls"  # there were none
    for first, second, status in (("1", "1", 400), ("1", "9", 404)):
        assert (await refused(ask, "compare", first, second))[0] == status
    monkeypatch.setattr(version_routes, "COMPARISONS", 0)
    assert (await refused(ask, "compare", "1", "2"))[0] == 429
    monkeypatch.undo()

    gone = asyncio.ensure_future(jp_fetch(*path, "1", "2", params={"seconds": "900"}, request_timeout=1.5))
    with pytest.raises(Exception, match=r"(?i)timeout"):
        await gone

    async def none_under_way() -> bool:
        return CompareVersionsHandler._under_way == 0

    await eventually(none_under_way)  # the page is gone, and with it what it looked at

    promoted = await post("route", body={"weights": {"2": 1}})
    assert (promoted["model"]["version"], promoted["previous"]) == ("2", "1")
    assert "serves" in (await refused(ask, "versions", "2", "unload", body={}))[1]
    back = await post("rollback", body={})
    assert (back["model"]["version"], back["previous"]) == ("1", "2")
    assert back["live"]
    assert await post("versions", "2", "unload", body={}) == {}
    assert [each["version"] for each in await ask("models", "plus")] == ["1"]


def read(part: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in part.splitlines()]


async def test_a_rollout_is_begun_seen_stopped_and_told_as_an_event(
    ask: Ask, extension: InferWorkbench, workplace: SharedService, jp_root_dir: Path
) -> None:
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def hear(logger: object, schema_id: str, data: dict[str, Any]) -> None:
        told.put_nowait((data["event"], data["told"]))

    assert extension.serverapp is not None
    extension.serverapp.event_logger.add_listener(schema_id=ROLLOUT, listener=hear)
    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    await ask("models", "plus", "load", body={"path": "plus.onnx"})
    record = workplace.record()
    assert record is not None
    (jp_root_dir / "two.onnx").write_bytes(add_constant(2.0).SerializeToString())
    async with AsyncClient(record.url, record.token) as owner:
        await owner.load("plus", jp_root_dir / "two.onnx", route=False)
        await owner.route("plus", {"2": 0.5}, by="user")
        assert (await ask("models", "plus", "versions"))["by"] == "user"
        await owner.route("plus", {})
    assert (await ask("models", "plus", "versions"))["by"] == ""
    assert await ask("models", "plus", "rollout") == {"rollout": None}
    assert (await refused(ask, "rollout", "stop", body={}))[0] == 404
    assert (await refused(ask, "rollout", body={"version": "2", "steps": [1, 0.5]}))[0] == 400
    begun = await ask("models", "plus", "rollout", body={"version": "2", "steps": [0.25, 1], "guard": "errors<1%"})
    assert (begun["status"], begun["told"]) == ("running", "version 2: step 1 of 2, 25 %")
    async with asyncio.timeout(30):
        assert await told.get() == ("step", "version 2: step 1 of 2, 25 %")
    found = (await ask("models", "plus", "rollout"))["rollout"]
    assert (found["began_at"], found["steps"]) == (begun["began_at"], [0.25, 1.0])
    assert (await refused(ask, "rollout", "resume", body={}))[0] == 409
    assert (await ask("models", "plus", "rollout", "stop", body={}))["status"] == "stopped"
    async with asyncio.timeout(30):
        assert await told.get() == ("stopped", "version 2: stopped at 25 %: by owner")
