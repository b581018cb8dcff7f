from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from benchmarks.bodies import Row, numbers
from benchmarks.load import Body
from benchmarks.peers.peer import SERVERS, Launch, Peer, Place, Variant, given


class RayServe(Peer):
    name, key, package = "Ray Serve", "ray", "ray"
    requirements = ("ray[serve]", "onnxruntime")
    delay_s = 0.01
    settings = (
        "`batch_wait_timeout_s` 10 ms, its default, or 0; `RAY_SERVE_THROUGHPUT_OPTIMIZED=1` and "
        "`max_ongoing_requests=1000`, as its tuning guide advises; 1 replica or one per core"
    )
    encodings = ("json", "binary")
    one_model = False

    def launch(self, place: Place, variant: Variant) -> Launch:
        quick = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        command = (str(place.bin / "python"), str(SERVERS / "ray_serve_onnx.py"))
        return Launch(command, {**given(place, variant), **quick})

    def path(self, model: str) -> str:
        return f"/{model}"

    def body(self, row: Row, encoding: str) -> Body:
        if encoding == "json":
            return Body(json.dumps({"input": numbers(row)}).encode(), {"Content-Type": "application/json"})
        return Body(row.tobytes(), {"Content-Type": "application/octet-stream"})

    def read(self, answer: bytes, headers: Mapping[str, str], encoding: str) -> Row:
        if encoding == "json":
            return np.asarray(json.loads(answer)["output"], np.float32)
        return np.frombuffer(answer, np.float32)
