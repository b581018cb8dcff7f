"""LitServe: a LitAPI with batching, as https://lightning.ai/docs/litserve/features/batching shows one.

JSON is its default; a file in a form is how its documentation sends bytes.
"""

import json
import os
from typing import Any

import litserve as ls
import numpy as np
import onnxruntime as ort
from fastapi import Response

GIVEN = json.loads(os.environ["BENCH_SETTINGS"])


class OnnxAPI(ls.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = GIVEN["threads"]
        (path,) = GIVEN["models"].values()
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request, context):  # type: ignore[no-untyped-def]  # it reads the annotations as a schema
        if "content" in request:
            context["binary"] = True
            return np.frombuffer(request["content"].file.read(), np.float32)
        return np.asarray(request["input"], np.float32)

    def predict(self, x: Any) -> Any:
        return self.session.run(None, {"x": x})[0]

    def encode_response(self, output: Any, context: dict[str, Any]) -> Any:
        if context.get("binary"):
            return Response(output.tobytes(), media_type="application/octet-stream")
        return {"output": output.tolist()}


if __name__ == "__main__":
    api = OnnxAPI(max_batch_size=GIVEN["max_batch_size"], batch_timeout=GIVEN["delay_s"])
    # fast_queue is advised above 100 requests/s.
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=GIVEN["workers"], fast_queue=True)
    server.run(host="127.0.0.1", port=GIVEN["port"], log_level="warning", generate_client_file=False)
