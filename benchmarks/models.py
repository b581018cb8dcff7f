"""The models that are measured: fully connected with ReLU, free batch axis, fixed random weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = (16, 32, 16)
LARGE = (512, 2048, 2048, 512)


def save_mlp(sizes: tuple[int, ...], path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    nodes, weights, current = [], [], "x"
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        last = layer == len(sizes) - 2
        weight = rng.standard_normal((rows, columns)).astype(np.float32) / np.float32(np.sqrt(rows))
        weights += [
            numpy_helper.from_array(weight, f"w{layer}"),
            numpy_helper.from_array(np.zeros(columns, np.float32), f"b{layer}"),
        ]
        gemm = "y" if last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [current, f"w{layer}", f"b{layer}"], [gemm]))
        current = gemm
        if not last:
            nodes.append(helper.make_node("Relu", [gemm], [f"r{layer}"]))
            current = f"r{layer}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", sizes[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", sizes[-1]])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def save_addition(amount: int, path: Path) -> Path:
    """y = x + amount, FP32 [batch, 4]: versions that are told apart by what they answer."""
    onnx.save(
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Add", ["x", "amount"], ["y"])],
                "addition",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
                [numpy_helper.from_array(np.float32(amount).reshape(()), "amount")],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=10,
        ),
        path,
    )
    return path
