"""Ray Serve: a deployment with `@serve.batch`, as its guide on dynamic request batching has it
(https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html); raw bytes and JSON by the request's type."""

import json
import os
import signal
from typing import Any

import numpy as np
import onnxruntime as ort
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

GIVEN = json.loads(os.environ["BENCH_SETTINGS"])


@serve.deployment(
    num_replicas=GIVEN["workers"],
    max_ongoing_requests=1000,  # advised for async methods
    ray_actor_options={"num_cpus": 0.5},
)
class Onnx:
    def __init__(self, path: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = GIVEN["threads"]
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @serve.batch(max_batch_size=GIVEN["max_batch_size"], batch_wait_timeout_s=GIVEN["delay_s"])
    async def predict(self, rows: list[Any]) -> list[Any]:
        return list(self.session.run(None, {"x": np.stack(rows)})[0])

    async def __call__(self, request: Request) -> Any:
        if request.headers["content-type"] == "application/octet-stream":
            y = await self.predict(np.frombuffer(await request.body(), np.float32))
            return Response(y.tobytes(), media_type="application/octet-stream")
        y = await self.predict(np.asarray((await request.json())["input"], np.float32))
        return {"output": y.tolist()}


if __name__ == "__main__":
    ray.init(
        num_cpus=len(os.sched_getaffinity(0)),
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _temp_dir=GIVEN["scratch"],
        logging_level="warning",
    )
    serve.start(http_options={"host": "127.0.0.1", "port": GIVEN["port"]})
    for name, path in GIVEN["models"].items():
        serve.run(Onnx.bind(path), name=name, route_prefix=f"/{name}")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
