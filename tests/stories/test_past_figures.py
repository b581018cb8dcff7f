"""Who begins to follow a service is shown what happened before: as after a restart of Jupyter."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from tests import models
from tests.helpers.waiting import until_async
from workbench.api import connect
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.core.threads import in_thread
from workbench.live.relay import Relay
from workbench.live.ring import Ring
from workbench.live.watch import Watch


async def test_a_jupyter_that_starts_later_draws_the_minutes_before(workplace: SharedService, tmp_path: Path) -> None:
    address = await in_thread(workplace.ensure)
    models.save(models.add_constant(1.0), tmp_path / "plus.onnx")

    def served() -> None:
        with connect(address.url, address.token) as wb:
            wb.load("plus", tmp_path / "plus.onnx")
            wb.predict("plus", [[1.0, 2.0, 3.0, 4.0]])

    await in_thread(served)
    async with AsyncClient(address.url, address.token) as client:

        async def is_kept() -> bool:
            stream = client.snapshots(10.0, past_s=900.0)
            try:
                async for line in stream:
                    if "past" not in line:
                        return False
                    if any(each["name"] == "plus" and each["requests"].get("ok") for each in line["models"]):
                        return True
            finally:
                await stream.aclose()
            return False

        while not await is_kept():  # the second that it falls into is not over
            pass
    began = time.time()
    ring = Ring(3600)
    watch = Watch(workplace, Relay(ring, "1.0", 0.25, lambda: None), logging.getLogger("watch"), version="1.0")
    watch.attentive = True
    await watch.open()
    try:
        await until_async(lambda: "plus" in ring.names)
        past = ring.history({"plus"}, 900.0, 900)["models"]["plus"]
        asked = {moment: rate for moment, rate in zip(past["time"], past["requests_per_s"], strict=True) if rate}
        assert len(asked) == 1 and next(iter(asked)) <= began, "in the past, and in it once"
    finally:
        await watch.close()
