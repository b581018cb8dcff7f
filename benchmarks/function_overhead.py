"""What a Python function costs a request beyond its own time: `python -m benchmarks.function_overhead`.

In-process, on uvloop, with so many callers as `CALLERS`, each sending its next request when the last is answered. The
function's own time is measured inside its process, so what is left is ours: the engine, two threads, two processes, and
the arrays both ways. Then a function before an ONNX model: the two alone, and overlapped.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import uvloop

from benchmarks.models import LARGE, save_mlp
from workbench.convert.python.python_function import PythonFunction, convert
from workbench.core.messages import InferRequest
from workbench.engine import Engine
from workbench.repository.store import ModelStore

SECONDS = 1.5
CALLERS = (1, 32)
STAGE_CALLERS = 8
STAGE_ROWS = 64
ROUNDS = 4


def identity(x):  # type: ignore[no-untyped-def]  # its source is what is served
    return x


def working(x):  # type: ignore[no-untyped-def]
    y = x
    for _ in range(rounds):
        y = np.tanh(y @ weights)
    return y.astype(np.float32)


async def measure(folder: Path) -> None:
    engine = Engine(ModelStore(folder / "store"))
    await engine.start()
    row = np.ones((1, LARGE[0]), np.float32)
    for batch in (False, True):
        bundle = convert(PythonFunction(identity, batch), row)
        name = "rows" if batch else "single"
        await engine.load(name, bundle.model, allow_code=True)
        for callers in CALLERS:
            rates, cpu_s = [], _cpu_s()
            for _ in range(ROUNDS):
                rates.append(await _rate(engine, [name], row, callers))
            cpu_us = (_cpu_s() - cpu_s) / (sum(rates) * SECONDS) * 1e6
            print(
                f"a function that returns its input, {'with' if batch else 'without'} --batch, {callers} callers: "
                f"{max(rates):.0f}/s, {1e6 / max(rates):.0f} us a call, {cpu_us:.0f} us of processor time in all"
            )
    global weights, rounds
    weights = np.random.default_rng(0).standard_normal((LARGE[0], LARGE[0])).astype(np.float32) / 30
    await engine.load("model", save_mlp(LARGE, folder / "model.onnx"), {"intra_op_threads": 1})
    rounds, row = 10, np.ones((STAGE_ROWS, LARGE[0]), np.float32)
    bundle = convert(PythonFunction(working, True), row)
    await engine.load("pre", bundle.model, {"intra_op_threads": 1}, allow_code=True)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):  # alternately, so that other work on the machine harms all alike
        for stages in (["pre"], ["model"], ["pre", "model"]):
            key = " ".join(stages)
            best[key] = max(best.get(key, 0.0), await _rate(engine, stages, row, STAGE_CALLERS))
    pre, model, both = best["pre"], best["model"], best["pre model"]
    print(
        f"pre alone {pre:.0f}/s, model alone {model:.0f}/s, one after the other for each caller {both:.0f}/s: "
        f"{both / min(pre, model):.2f} of the slower"
    )
    await engine.close()


def _cpu_s() -> float:
    """Processor seconds of this process and of those of functions."""
    times = [psutil.Process().cpu_times(), *(each.cpu_times() for each in psutil.Process().children(recursive=True))]
    return sum(each.user + each.system for each in times)


async def _rate(engine: Engine, names: list[str], row: np.ndarray, callers: int) -> float:
    counts = [0] * callers
    end = time.perf_counter() + SECONDS

    async def call(index: int) -> None:
        while time.perf_counter() < end:
            given = row
            for name in names:
                [given] = (await engine.infer(InferRequest(name, {"x": given}))).outputs.values()
            counts[index] += 1

    await asyncio.gather(*map(call, range(callers)))
    return sum(counts) / SECONDS


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        uvloop.run(measure(Path(scratch)))
