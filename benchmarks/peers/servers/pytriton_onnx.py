"""PyTriton: models bound with a dynamic batcher, as
https://triton-inference-server.github.io/pytriton/latest/binding_models/ has it; an inference callable a worker."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

GIVEN = json.loads(os.environ["BENCH_SETTINGS"])


def callable_of(path: str) -> tuple[Callable[..., Any], int, int]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = GIVEN["threads"]
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @batch
    def infer(x: Any) -> Any:
        return {"y": session.run(None, {"x": x})[0]}

    return infer, session.get_inputs()[0].shape[1], session.get_outputs()[0].shape[1]


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=GIVEN["port"],
        allow_grpc=False,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config, workspace=str(Path(GIVEN["scratch"]) / "triton")) as triton:
        for name, path in GIVEN["models"].items():
            made = [callable_of(path) for _ in range(GIVEN["workers"])]
            triton.bind(
                model_name=name,
                infer_func=[infer for infer, _, _ in made],
                inputs=[Tensor(name="x", dtype=np.float32, shape=(made[0][1],))],
                outputs=[Tensor(name="y", dtype=np.float32, shape=(made[0][2],))],
                config=ModelConfig(
                    max_batch_size=GIVEN["max_batch_size"],
                    batcher=DynamicBatcher(max_queue_delay_microseconds=int(GIVEN["delay_s"] * 1e6)),
                ),
            )
        triton.serve()
