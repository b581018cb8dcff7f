from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from benchmarks.bodies import Row, numbers
from benchmarks.load import Body
from benchmarks.peers.peer import SERVERS, Launch, Peer, Place, Variant, given

BOUNDARY = "----row"


class LitServe(Peer):
    name, key, package = "LitServe", "litserve", "litserve"
    requirements = ("litserve", "onnxruntime", "python-multipart")
    delay_s = 0.05
    settings = (
        "`batch_timeout` 50 ms, as on its page about parallelism, or 0; `fast_queue`, advised above 100 requests/s; "
        "`workers_per_device` 1 or one per core, as its reference advises for CPUs; bytes are sent as a file in a form"
    )
    encodings = ("json", "binary")
    one_model = True  # a worker with batch_timeout 0 spins while it has nothing to do

    def launch(self, place: Place, variant: Variant) -> Launch:
        return Launch((str(place.bin / "python"), str(SERVERS / "litserve_onnx.py")), given(place, variant))

    def path(self, model: str) -> str:
        return "/predict"

    def body(self, row: Row, encoding: str) -> Body:
        if encoding == "json":
            return Body(json.dumps({"input": numbers(row)}).encode(), {"Content-Type": "application/json"})
        head = (
            'Content-Disposition: form-data; name="content"; filename="row"\r\nContent-Type: application/octet-stream'
        )
        content = f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + row.tobytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
        return Body(content, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})

    def read(self, answer: bytes, headers: Mapping[str, str], encoding: str) -> Row:
        if encoding == "json":
            return np.asarray(json.loads(answer)["output"], np.float32)
        return np.frombuffer(answer, np.float32)
