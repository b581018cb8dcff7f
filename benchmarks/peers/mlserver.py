from __future__ import annotations

import json
from collections.abc import Mapping

from benchmarks.bodies import Row, oip_body, oip_row
from benchmarks.load import Body
from benchmarks.peers.peer import MAX_BATCH_SIZE, SERVERS, Launch, Peer, Place, Variant
from benchmarks.processes import free_port


class MLServer(Peer):
    """A custom runtime: its ONNX runtime is not on PyPI. Its HTTP interface takes JSON only."""

    name, key, package = "MLServer", "mlserver", "mlserver"
    # Its workers ask for the current event loop before there is one, which newer uvloops refuse.
    requirements = ("mlserver", "onnxruntime", "uvloop<0.22")
    delay_s = 0.01
    settings = (
        "`max_batch_time` 10 ms, or 0, which switches its batching off (its guide leaves the value to experiment; its "
        "own benchmark uses 400 ms); `parallel_workers` 1 or one per core, as Seldon's tuning guide advises"
    )
    encodings = ("json",)
    one_model = False

    def launch(self, place: Place, variant: Variant) -> Launch:
        folder = place.scratch / "models"
        for name, path in place.models.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            settings = {
                "name": name,
                "implementation": "mlserver_onnx.OnnxModel",
                "max_batch_size": MAX_BATCH_SIZE,
                "max_batch_time": variant.delay_s,
                "parameters": {"extra": {"path": str(path), "threads": variant.threads}},
            }
            (folder / name / "model-settings.json").write_text(json.dumps(settings))
        server = {
            "host": "127.0.0.1",
            "http_port": place.port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": variant.workers,
            "debug": False,
        }
        (folder / "settings.json").write_text(json.dumps(server))
        return Launch((str(place.bin / "mlserver"), "start", str(folder)), {"PYTHONPATH": str(SERVERS)})

    def path(self, model: str) -> str:
        return f"/v2/models/{model}/infer"

    def body(self, row: Row, encoding: str) -> Body:
        return oip_body(row, encoding)

    def read(self, answer: bytes, headers: Mapping[str, str], encoding: str) -> Row:
        return oip_row(answer, headers)
