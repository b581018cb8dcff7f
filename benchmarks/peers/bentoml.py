from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from benchmarks.bodies import Row, numbers
from benchmarks.load import Body
from benchmarks.peers.peer import SERVERS, Launch, Peer, Place, Variant, given


class BentoML(Peer):
    """Over HTTP its arrays are JSON; the binary form between its own services is a pickle, which is no interface."""

    name, key, package = "BentoML", "bentoml", "bentoml"
    requirements = ("bentoml", "onnxruntime")
    delay_s = 1.0
    settings = (
        "`max_latency_ms` 1000, as in its guide, within which its batching adapts; it has no setting of 0, so delay 0 "
        "is `batchable=False`; `workers` 1 or one per core, as its guide advises for CPUs"
    )
    encodings = ("json",)
    one_model = False

    def launch(self, place: Place, variant: Variant) -> Launch:
        command: tuple[str, ...] = (
            str(place.bin / "bentoml"),
            "serve",
            "bentoml_onnx:Onnx",
            "--working-dir",
            str(SERVERS),
        )
        command += ("--host", "127.0.0.1", "--port", str(place.port))
        home = {"BENTOML_HOME": str(place.scratch), "BENTOML_DO_NOT_TRACK": "True"}
        return Launch(command, {**given(place, variant), **home})

    def path(self, model: str) -> str:
        return f"/{model}"

    def body(self, row: Row, encoding: str) -> Body:
        return Body(json.dumps({"x": [numbers(row)]}).encode(), {"Content-Type": "application/json"})

    def read(self, answer: bytes, headers: Mapping[str, str], encoding: str) -> Row:
        return np.asarray(json.loads(answer), np.float32).ravel()
