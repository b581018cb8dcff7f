"""BentoML: a batchable endpoint a model, as its guide has it
(https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html)."""

import json
import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime as ort

GIVEN = json.loads(os.environ["BENCH_SETTINGS"])
# Its window has no 0 (max_latency_ms is also the deadline, past which it answers 503): without a delay is unbatched.
BATCHING: dict[str, Any] = (
    {"batchable": True, "max_batch_size": GIVEN["max_batch_size"], "max_latency_ms": int(GIVEN["delay_s"] * 1000)}
    if GIVEN["delay_s"]
    else {}
)


@bentoml.service(workers=GIVEN["workers"], traffic={"timeout": 60})
class Onnx:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = GIVEN["threads"]
        self.sessions = {
            name: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for name, path in GIVEN["models"].items()
        }

    @bentoml.api(**BATCHING)
    def small(self, x: np.ndarray) -> np.ndarray:
        return self.sessions["small"].run(None, {"x": x.astype(np.float32, copy=False)})[0]

    @bentoml.api(**BATCHING)
    def large(self, x: np.ndarray) -> np.ndarray:
        return self.sessions["large"].run(None, {"x": x.astype(np.float32, copy=False)})[0]
