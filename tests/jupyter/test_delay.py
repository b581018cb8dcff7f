"""How long it takes from what happens in the service to the frame that a page is sent."""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.jupyter.conftest import Ask, Socket
from tests.models import add_constant
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.core.messages import InferRequest

pytestmark = pytest.mark.serial

SEEN_S = 0.4
"""What an event and its pixel may lie apart; drawing it is part of that."""

TIMES = 12

log = logging.getLogger("delay")


def sizes(said: dict[str, Any]) -> list[int]:
    return [model["config"]["max_batch_size"] for model in said["models"]]


async def test_what_happens_in_the_service_is_sent_to_the_page_soon(
    ask: Ask, page: Socket, workplace: SharedService, jp_root_dir: Path
) -> None:
    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    await ask("models", "plus", "load", body={"path": "plus.onnx"})
    await page.say(type="subscribe", models=["plus"], detail=["plus"])
    record = workplace.record()
    assert record is not None
    on_the_way, after_request, after_change = [], [], []
    async with AsyncClient(record.url, record.token) as client:
        for number in range(TIMES):
            # Right after a tick: the next one is as far away as it can be.
            await page.until("figures", lambda said: not said["models"]["plus"]["requests_per_s"])
            await client.infer(InferRequest("plus", {"x": np.zeros((1, 4), np.float32)}))
            answered_at = time.time()
            figures = await page.until("figures", lambda said: said["models"]["plus"]["requests_per_s"] > 0)
            after_request.append(time.time() - answered_at)
            on_the_way.append(time.time() - figures["time"])
            size = 10 + number
            await client.configure("plus", {"max_batch_size": size})
            changed_at = time.time()
            await page.until("models", lambda said, size=size: sizes(said) == [size])
            after_change.append(time.time() - changed_at)
    for name, delays_s in (
        ("from the snapshot to the frame", on_the_way),
        ("from a request's answer to the frame that counts it", after_request),
        ("from a change of settings to the frame that tells it", after_change),
    ):
        median_s = statistics.median(delays_s)
        log.info("%s: median %.1f ms, highest %.1f ms", name, median_s * 1e3, max(delays_s) * 1e3)
        assert median_s < SEEN_S, f"{name}: {median_s:.3f} s"
