"""Everything at once: callers that leave, bad rows, late requests, swaps; each request ends once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import numpy as np

from tests import models
from tests.engine.fakes import FakeSession, Opener, Recorder, rows
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.ports import Outcome
from workbench.engine import Engine
from workbench.errors import InvalidInput, QueueFull, WorkbenchError
from workbench.repository.store import ModelStore

REQUESTS = 4000


async def test_every_request_ends_once_with_its_own_answer(tmp_path: Path) -> None:
    chance = random.Random(7)
    seen = Recorder()
    sessions = [FakeSession(lambda x: x + 1, runner_threads=0) for _ in range(6)]
    engine = Engine(ModelStore(tmp_path), observer=seen, open_session=Opener(*sessions))
    await engine.start()
    settings = {"instances": 2, "max_batch_size": 8, "max_queue_size": 60}
    await engine.load("m", models.add_constant(0).SerializeToString(), settings)
    ends: Counter[str] = Counter()

    async def one(number: int) -> None:
        value = 666.0 if chance.random() < 0.02 else float(number)
        count = chance.choice((1, 1, 1, 2, 5))
        request = InferRequest("m", {"x": rows(*[value] * count)})
        if chance.random() < 0.05:
            request.abandoned = lambda: True
        task = asyncio.ensure_future(engine.infer(request))
        if chance.random() < 0.05:
            await asyncio.sleep(0)
            task.cancel()
        try:
            response = await task
        except asyncio.CancelledError:
            ends["left"] += 1
        except QueueFull:
            ends["refused"] += 1
        except InvalidInput:
            assert value == 666
            ends["invalid"] += 1
        except WorkbenchError:
            assert request.abandoned is not None
            ends["abandoned"] += 1
        else:
            assert isinstance(response, InferResponse)
            np.testing.assert_array_equal(response.outputs["y"], rows(*[value + 1] * count))
            assert response.timings.batch_size <= 8
            ends["answered"] += 1

    async def caller(index: int) -> None:
        for number in range(index, REQUESTS, 100):
            await one(number)

    async def swapper() -> None:
        for amount in range(1, 6):
            await engine.load("m", models.add_constant(amount).SerializeToString(), settings)

    await asyncio.gather(swapper(), *map(caller, range(100)))
    await engine.close()
    assert ends.total() == REQUESTS
    assert set(ends) == {"answered", "left", "refused", "invalid", "abandoned"}
    # A caller that leaves before its task first ran was never accepted, so it may be missing among the outcomes.
    told = Counter(seen.outcomes)
    assert told[Outcome.OK] >= ends["answered"]
    assert told[Outcome.REJECTED] >= ends["refused"]
    assert told.total() <= REQUESTS
    assert all(session.closed == 1 for session in sessions)
