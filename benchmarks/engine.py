"""What the engine itself costs a request, in-process: `python -m benchmarks.engine`.

So many callers as `callers`, each sending its next request when the last is answered, on uvloop; beside it, bare
`session.run` of one row in a loop. No transport, no codec.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.models import LARGE, SMALL, save_mlp
from workbench.config import ModelConfig
from workbench.core.messages import InferRequest
from workbench.engine import Engine
from workbench.repository.store import ModelStore
from workbench.runtimes.registry import open_session

SECONDS = 1.5


async def measure(folder: Path) -> None:
    for name, sizes in (("small", SMALL), ("large", LARGE)):
        path = save_mlp(sizes, folder / f"{name}.onnx")
        row = np.random.default_rng(0).standard_normal((1, sizes[0])).astype(np.float32)
        session = open_session(path, ModelConfig(), instances=1)
        count, end = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            session.run({"x": row}, ("y",))
            count += 1
        bare = count / SECONDS
        engine = Engine(ModelStore(folder / "store"))
        await engine.start()
        status = (await engine.load(name, path)).status
        print(f"{name}: bare session.run {bare:.0f}/s, one row a run · {status.batching}")
        for callers in (1, 8, 32):
            print(f"  {callers:>2} callers: {await rate(engine, name, row, callers):8.0f}/s")
        await engine.close()


async def rate(engine: Engine, name: str, row: np.ndarray, callers: int) -> float:
    counts = [0] * callers
    end = time.perf_counter() + SECONDS

    async def call(index: int) -> None:
        while time.perf_counter() < end:
            await engine.infer(InferRequest(name, {"x": row}))
            counts[index] += 1

    await asyncio.gather(*map(call, range(callers)))
    return sum(counts) / SECONDS


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        uvloop.run(measure(Path(scratch)))
