"""A page in front of the real service: what it sees of a start, a load, requests, a death and an end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from tests.jupyter.conftest import Ask, Socket
from tests.models import add_constant
from workbench.client.client import AsyncClient
from workbench.client.launch import SharedService
from workbench.core.messages import InferRequest

ROW = np.zeros((1, 4), np.float32)


async def test_a_page_sees_a_model_load_serve_die_and_come_back(
    ask: Ask, page: Socket, workplace: SharedService, jp_root_dir: Path
) -> None:
    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    assert (await page.hear())["type"] == "hello"
    assert (await page.hear("service"))["service"]["state"] == "Stopped"
    assert (await page.hear("models"))["models"] == []
    await page.say(type="subscribe", models="*", window_s=60, points=60)
    assert (await page.hear("history"))["models"] == {}

    loaded = await ask("models", "plus", "load", body={"path": "plus.onnx"})
    assert loaded["model"]["state"] == "Ready"
    service = (await page.until("service", lambda said: said["service"]["state"] == "Ready"))["service"]
    models = await page.until("models", lambda said: any(model["routed"] for model in said["models"]))
    assert models["models"][0]["name"] == "plus"

    record = workplace.record()
    assert record is not None
    async with AsyncClient(record.url, record.token) as client:
        await client.infer(InferRequest("plus", {"x": ROW}))
    figures = await page.until("figures", lambda said: said["models"]["plus"]["p50_s"] is not None)
    assert figures["models"]["plus"]["requests_per_s"] > 0

    os.kill(service["pid"], signal.SIGKILL)
    await page.until("service", lambda said: said["service"]["state"] == "Restarting")
    await page.until("service", lambda said: said["service"]["state"] == "Ready")
    after = await page.until("figures", lambda said: "plus" in said["models"])
    assert after["epoch"] != figures["epoch"]

    assert (await ask("stop", body={}))["service"]["state"] == "Stopped"
    await page.until("service", lambda said: said["service"]["state"] == "Stopped")
