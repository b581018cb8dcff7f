"""Does CUDA really run? Asked in a process of its own, where a crash and the libraries' own output stay.

    python -m workbench.runtimes.cuda_probe INDEX     exit 0: it ran there; otherwise one line on stdout says why not

`get_available_providers()` only lists what was compiled in. A matrix product that ran with the CPU forbidden is proof.
"""

from __future__ import annotations

import contextlib
import io
import sys

import numpy as np

from workbench.runtimes.ort import QUIET, ort
from workbench.runtimes.ort_errors import plain


def main(index: int) -> int:
    problem = problem_of(index)
    if problem:
        sys.stdout.write(problem)
    return 1 if problem else 0


def problem_of(index: int) -> str | None:
    """Why a matrix product does not run on that GPU, or None when it did."""
    preload()
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(
            _matrix_product(), options, providers=[("CUDAExecutionProvider", {"device_id": index})], enable_fallback=0
        )
        ones = np.ones((2, 2), np.float32)
        (product,) = session.run(["y"], {"x": ones})
    except Exception as error:
        return plain(str(error))
    if not np.array_equal(product, np.full((2, 2), 2, np.float32)):
        return "a matrix product came out wrong"
    return None


def preload() -> None:
    """Load NVIDIA's libraries from the wheels that the extra `cuda` brings; where they are elsewhere, nothing."""
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()


def _matrix_product() -> bytes:
    from onnx import TensorProto, helper  # here, because sessions need the rest of this module and not that

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "probe", [x], [y])
    opset = helper.make_opsetid("", 17)
    serialised: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    return serialised


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1])))
