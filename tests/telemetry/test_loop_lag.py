from __future__ import annotations

import asyncio
import time

from workbench.core.messages import Timings
from workbench.core.ports import Outcome
from workbench.telemetry.loop_lag import EVERY_S, LoopLagMonitor
from workbench.telemetry.metrics import Metrics


async def test_a_loop_that_is_held_up_is_late_by_as_much() -> None:
    late: asyncio.Queue[float] = asyncio.Queue()
    watch = LoopLagMonitor(late.put_nowait)
    watch.start()
    time.sleep(EVERY_S + 0.2)
    assert await asyncio.wait_for(late.get(), 20) >= 0.19
    assert await asyncio.wait_for(late.get(), 20) >= 0.0
    watch.stop()
    watch.stop()
    assert late.empty()


async def test_what_was_noted_is_counted_without_anybody_looking() -> None:
    metrics = Metrics()
    metrics.start()
    metrics.request_done("digits", "1", Outcome.OK, Timings(0.001))
    while "digits" not in {model for model, _ in metrics._figures}:
        await asyncio.sleep(EVERY_S / 4)
    metrics.stop()
    assert metrics._figures["digits", "1"].requests == 1
    assert metrics.state().loop_delay.linear.count >= 1
