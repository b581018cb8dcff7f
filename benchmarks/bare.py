"""What is measured against: bare `session.run`, and a bare uvicorn application that echoes.

python -m benchmarks.bare echo PORT BYTES      answers every request with BYTES bytes
python -m benchmarks.bare runs MODEL SECONDS   prints JSON: rows/s by (threads, batch size), best of them
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import numpy as np

BATCHES = (1, 2, 4, 8, 16, 32)


def echo(port: int, size: int) -> None:
    """Reads the whole body, answers `size` bytes; uvloop and httptools, as the service has them."""
    import uvicorn

    body = b"x" * size
    headers = [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="error", lifespan="off")


def runs(model: str, seconds: float) -> dict[str, Any]:
    """Rows/s of the model with nothing around it: each batch size, one caller with the default threads, and as many
    callers as cores with one thread each."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    cores = len(os.sched_getaffinity(0))
    found = {}
    for label, intra, callers in (("default", 0, 1), ("one_each", 1, cores)):
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        spec = session.get_inputs()[0]
        for batch in BATCHES:
            x = np.random.default_rng(0).standard_normal((batch, spec.shape[1])).astype(np.float32)
            found[f"{label}/{batch}"] = _rate(session, {spec.name: x}, callers, seconds) * batch
    return {"rows_per_s": found, "best": max(found.values()), "best_of": max(found, key=lambda key: found[key])}


def _rate(session: Any, feeds: dict[str, Any], callers: int, seconds: float) -> float:
    counts = [0] * callers
    session.run(None, feeds)
    began = time.perf_counter()
    end = began + seconds

    def call(index: int) -> None:
        while time.perf_counter() < end:
            session.run(None, feeds)
            counts[index] += 1

    threads = [threading.Thread(target=call, args=(index,)) for index in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "echo":
        echo(int(rest[0]), int(rest[1]))
    else:
        print(json.dumps(runs(rest[0], float(rest[1]))))
