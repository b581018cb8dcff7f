"""A page in front of the real service: what it sees of a start, a load, requests, deaths and an end. Really killed."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tornado.httpclient import HTTPClientError

from tests.helpers.waiting import until_async
from tests.jupyter.conftest import Ask, Fetch, Socket
from tests.models import add_constant, mlp
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.core.messages import InferRequest
from workbench.jupyter.extension import ACTIVITY, InferWorkbench
from workbench.live.view import SILENT
from workbench.rendezvous.leases import holders
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord

ROW = np.zeros((1, 4), np.float32)


@pytest.fixture
def plus(jp_root_dir: Path) -> str:
    """The Lab path of a model that adds 1."""
    (jp_root_dir / "models").mkdir()
    (jp_root_dir / "models" / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    return "models/plus.onnx"


async def in_state(page: Socket, state: str) -> dict[str, Any]:
    """The service, the next time that the page is told of it in this state."""
    message = await page.until("service", lambda said: said["service"]["state"] == state)
    service: dict[str, Any] = message["service"]
    return service


def running(workplace: SharedService) -> ServiceRecord:
    record = workplace.record()
    assert record is not None
    return record


async def infer(workplace: SharedService, name: str = "plus") -> None:
    record = running(workplace)
    async with AsyncClient(record.url, record.token) as client:
        await client.infer(InferRequest(name, {"x": ROW}))


async def test_a_page_sees_a_model_load_serve_die_and_come_back(
    ask: Ask, page: Socket, workplace: SharedService, extension: InferWorkbench, plus: str
) -> None:
    assert (await page.hear())["type"] == "hello"
    await in_state(page, "Stopped")
    assert (await page.hear("models"))["models"] == []
    await page.say(type="subscribe", models="*", window_s=60, points=60)
    assert (await page.hear("history"))["models"] == {}

    loading = asyncio.ensure_future(ask("models", "plus", "load", body={"path": plus}))
    assert (await in_state(page, "Starting"))["reason"] == ""
    service = await in_state(page, "Ready")
    states = []
    while not states or states[-1] != "Ready":
        states += [model["state"] for model in (await page.hear("models"))["models"]]
    assert states[0] in ("Loading", "Warming")
    loaded = await loading
    assert (loaded["model"]["name"], loaded["model"]["state"], loaded["unchanged"]) == ("plus", "Ready", False)
    assert [model["name"] for model in await ask("models")] == ["plus"]
    assert (await ask("models", "plus"))[0]["digest"] == loaded["model"]["digest"]
    assert service["pid"] == running(workplace).worker.pid  # type: ignore[union-attr]

    assert extension.serverapp is not None
    settings = extension.serverapp.web_app.settings
    settings.pop(ACTIVITY)
    await infer(workplace)
    # The first ticks may be older than the model.
    figures = await page.until("figures", lambda said: said["models"].get("plus", {}).get("p50_s") is not None)
    assert ACTIVITY in settings  # somebody was served
    assert figures["models"]["plus"]["requests_per_s"] > 0
    assert figures["process"]["resident_bytes"] > 1e6

    os.kill(service["pid"], signal.SIGKILL)
    await in_state(page, "Restarting")
    after = await in_state(page, "Ready")
    assert after["pid"] != service["pid"]
    assert "killed by signal 9" in after["reason"]
    again = await page.until("figures", lambda said: "plus" in said["models"])
    assert again["epoch"] != figures["epoch"]
    assert again["sequence"] == 0

    assert (await ask("stop", body={}))["service"]["state"] == "Stopped"
    assert (await in_state(page, "Stopped"))["reason"] == "it was told to stop"
    assert (await page.until("models", lambda said: not said["models"]))["models"] == []
    assert "listening" in "\n".join((await ask("logs"))["lines"])
    assert holders(workplace.rendezvous.leases) == []


async def test_what_a_notebook_does_shows_at_once(
    ask: Ask, page: Socket, workplace: SharedService, extension: InferWorkbench, plus: str, jp_root_dir: Path
) -> None:
    """Settings and unloads that went another way than through this server."""
    address = await asyncio.to_thread(workplace.ensure)
    await in_state(page, "Ready")
    async with AsyncClient(address.url, address.token) as client:
        await client.load("plus", jp_root_dir / plus)
        await page.until("models", lambda said: any(model["state"] == "Ready" for model in said["models"]))
        began = time.monotonic()
        await client.configure("plus", {"max_batch_size": 7})
        await page.until("models", lambda said: said["models"][0]["config"]["max_batch_size"] == 7)
        await client.unload("plus")
        await page.until("models", lambda said: not said["models"])
        assert time.monotonic() - began < 5
    assert extension.serverapp is not None
    assert ACTIVITY in extension.serverapp.web_app.settings  # a model was being loaded
    assert holders(workplace.rendezvous.leases) == [this_process()]


async def test_a_keeper_that_is_killed_during_a_restart_is_told_with_the_reason(
    ask: Ask, page: Socket, workplace: SharedService, extension: InferWorkbench
) -> None:
    await ask("start", body={})
    await in_state(page, "Ready")
    keeper = running(workplace).keeper.pid
    os.kill(keeper, signal.SIGSTOP)  # or it might be done before it is killed
    restarting = asyncio.ensure_future(ask("restart", body={}))
    await until_async(lambda: extension.watch._starts)
    os.kill(keeper, signal.SIGKILL)
    starting = await in_state(page, "Starting")
    assert starting["reason"].startswith(f"its keeper, process {keeper}, was killed")
    assert starting["reason"].endswith("another one is being started")
    assert (await in_state(page, "Ready"))["reason"] == ""
    assert (await restarting)["service"]["state"] == "Ready"


async def test_a_model_that_cannot_be_served_is_told_with_the_reason(
    ask: Ask, page: Socket, workplace: SharedService, jp_root_dir: Path
) -> None:
    (jp_root_dir / "junk.onnx").write_bytes(b"this is no model")
    with pytest.raises(HTTPClientError) as caught:
        await ask("models", "junk", "load", body={"path": "junk.onnx"})
    assert caught.value.code == 400
    assert b"no ONNX model" in caught.value.response.body  # type: ignore[union-attr]
    assert await ask("models") == []
    assert running(workplace).token.encode() not in caught.value.response.body  # type: ignore[union-attr]


async def test_settings_change_and_the_same_model_again_is_unchanged(ask: Ask, plus: str) -> None:
    first = await ask("models", "plus", "load", body={"path": plus, "config": {"max_batch_size": 3}})
    assert first["model"]["config"]["max_batch_size"] == 3
    again = await ask("models", "plus", "load", body={"path": f"/{plus}".lstrip("/"), "config": {"max_batch_size": 3}})
    assert again["unchanged"]
    changed = await ask("models", "plus", "set", body={"max_batch_size": 5})
    assert changed["model"]["config"]["max_batch_size"] == 5
    assert changed["live"]
    assert not (await ask("models", "plus", "set", body={"batching": "never"}))["live"]
    assert not (await ask("models", "plus", "set", body={"batching": "never"}))["live"]  # unchanged
    assert await ask("models", "plus", "unload", body={}) == {}
    assert await ask("models") == []


async def test_a_model_that_this_server_keeps_elsewhere_is_uploaded(
    ask: Ask, workplace: SharedService, jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere:
        async def get(self, path: str, content: bool = True, **more: object) -> Any:
            model = base64.encodebytes(add_constant(1.0).SerializeToString()).decode()
            return {"type": "file", "content": model if content else None}

    monkeypatch.setitem(jp_serverapp.web_app.settings, "contents_manager", Elsewhere())
    loaded = await ask("models", "plus", "load", body={"path": "drive/plus.onnx"})
    assert (loaded["model"]["state"], loaded["model"]["routed"]) == ("Ready", True)
    assert (await ask("models", "plus", "load", body={"path": "drive/plus.onnx"}))["unchanged"]
    await infer(workplace)


async def test_jupyter_answers_while_the_service_hangs_and_says_so(
    ask: Ask, page: Socket, workplace: SharedService, jp_fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.live.watch.SILENT_S", 0.8)
    monkeypatch.setattr("workbench.live.watch.ANSWER_S", 0.5)
    await ask("start", body={})
    record = running(workplace)
    assert record.worker is not None
    stopped = [psutil.Process(record.worker.pid), psutil.Process(record.keeper.pid)]
    for process in stopped:
        process.suspend()
    try:
        await page.until("service", lambda said: said["service"]["reason"] == SILENT)
        began = time.monotonic()
        await jp_fetch("api", "status")
        assert (await ask("status"))["service"]["reason"] == SILENT
        assert (await ask("logs"))["lines"]
        assert time.monotonic() - began < 4  # what a hang would take is without end
        with pytest.raises(HTTPClientError) as caught:
            await ask("models")
        assert caught.value.code == 504
    finally:
        for process in stopped:
            process.resume()
    await page.until("service", lambda said: said["service"]["state"] == "Ready" and not said["service"]["reason"])
    assert await ask("models") == []


async def test_jupyter_answers_while_a_large_model_loads(ask: Ask, jp_fetch: Fetch, jp_root_dir: Path) -> None:
    (jp_root_dir / "large.onnx").write_bytes(mlp((2000, 2000, 2000)).SerializeToString())
    await ask("start", body={})
    loading = asyncio.ensure_future(ask("models", "large", "load", body={"path": "large.onnx"}))
    slowest_s = 0.0
    while not loading.done():
        began = time.monotonic()
        await jp_fetch("api", "status")
        await ask("status")
        slowest_s = max(slowest_s, time.monotonic() - began)
        await asyncio.sleep(0.01)
    assert (await loading)["model"]["state"] == "Ready"
    assert slowest_s < 4  # of a machine that may be busy; by itself some milliseconds


async def test_when_its_keeper_is_killed_it_is_stopped_and_starts_again_when_asked_to(
    ask: Ask, page: Socket, workplace: SharedService, plus: str
) -> None:
    await ask("models", "plus", "load", body={"path": plus})
    await in_state(page, "Ready")
    os.kill(running(workplace).keeper.pid, signal.SIGKILL)
    assert "was killed" in (await in_state(page, "Stopped"))["reason"]
    assert (await ask("start", body={}))["service"]["state"] == "Ready"
    await page.until("models", lambda said: any(model["name"] == "plus" for model in said["models"]))
    await infer(workplace)


async def test_a_record_that_is_deleted_changes_nothing(
    ask: Ask, page: Socket, workplace: SharedService, extension: InferWorkbench
) -> None:
    await ask("start", body={})
    await in_state(page, "Ready")
    workplace.rendezvous.service_file.unlink()
    for _ in range(3):
        await extension.watch._look()
        assert (await ask("status"))["service"]["state"] == "Ready"
    await until_async(workplace.record)  # its keeper has written it again


async def test_a_restart_serves_the_same_from_another_process(
    ask: Ask, page: Socket, workplace: SharedService, plus: str
) -> None:
    await ask("models", "plus", "load", body={"path": plus})
    before = (await ask("status"))["service"]
    after = (await ask("restart", body={}))["service"]
    assert (after["state"], after["url"]) == ("Ready", before["url"])
    assert after["pid"] != before["pid"]
    await in_state(page, "Restarting")
    await in_state(page, "Ready")
    assert [model["name"] for model in await ask("models")] == ["plus"]


async def test_a_stop_wins_over_a_start_that_is_under_way(
    ask: Ask, page: Socket, workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = asyncio.ensure_future(ask("start", body={}))
    await in_state(page, "Starting")
    assert (await ask("stop", body={}))["service"]["state"] == "Stopped"
    with pytest.raises(HTTPClientError) as caught:
        await starting
    assert caught.value.code == 503
    assert workplace.record() is None


async def test_the_next_jupyter_server_finds_the_models(
    ask: Ask, workplace: SharedService, extension: InferWorkbench, plus: str
) -> None:
    await ask("models", "plus", "load", body={"path": plus})
    keeper = running(workplace).keeper
    await extension.stop_extension()
    assert holders(workplace.rendezvous.leases) == []
    await extension.watch.open()
    await until_async(lambda: holders(workplace.rendezvous.leases) == [this_process()])
    models = await until_async(lambda: extension.watch.models)
    assert [model["name"] for model in models] == ["plus"]
    assert running(workplace).keeper == keeper


async def test_forty_models_are_one_page(
    ask: Ask, page: Socket, workplace: SharedService, jp_root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_TRIAL", "false")
    names = [f"model-{number:02}" for number in range(40)]
    for number, name in enumerate(names):
        (jp_root_dir / f"{name}.onnx").write_bytes(add_constant(float(number)).SerializeToString())
        await ask("models", name, "load", body={"path": f"{name}.onnx", "config": {"batching": "never"}})
    await page.until("models", lambda said: len(said["models"]) == 40)
    await page.say(type="subscribe")
    await infer(workplace, names[7])
    figures = await page.until("figures", lambda said: said["models"][names[7]]["p50_s"] is not None)
    assert sorted(figures["models"]) == names
    await page.say(type="subscribe", models=names[:2])
    await page.until("history", lambda said: sorted(said["models"]) == names[:2])
    await page.until("figures", lambda said: sorted(said["models"]) == names[:2])
