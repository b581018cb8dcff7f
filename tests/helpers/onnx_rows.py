"""Writes small ONNX graphs as one line of text, and runs their rows alone, together and in another order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[np.generic]]


def graph(text: str, *, opset: int = 18) -> onnx.ModelProto:
    """The model of a text such as "float[N,4] x -> y { y = Relu(x) }", in ONNX's own syntax.

    Constants stand in angle brackets ahead of the brace. What is not said of the outputs, ONNX Runtime infers.
    """
    inputs, rest = text.split("->", 1)
    cut = min(rest.index(mark) for mark in "{<" if mark in rest)
    head = f'<ir_version: 9, opset_import: ["": {opset}, "com.microsoft": 1, "ai.onnx.ml": 3]>'
    return onnx.parser.parse_model(f"{head} graph ({inputs}) => ({rest[:cut]}) {rest[cut:]}")


def made_up(model: onnx.ModelProto, rows: int, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Inputs with so many rows; other free axes are 3 long. Whole numbers are 0 or 1, as most indices may be."""
    generator = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, NDArray[np.generic]] = {}
    for given in model.graph.input:
        if given.name in constants:
            continue
        tensor = given.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else 3 for dim in tensor.shape.dim]
        if shape and not tensor.shape.dim[0].HasField("dim_value"):
            shape[0] = rows
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype.kind == "f":
            feeds[given.name] = (generator.standard_normal(shape) * 10.0 ** generator.integers(-1, 2, shape)).astype(
                dtype
            )
        elif dtype.kind == "O":
            feeds[given.name] = generator.choice(["a", "b", "c d"], shape).astype(object)
        else:
            feeds[given.name] = generator.integers(0, 2, shape).astype(dtype)
    return feeds


def rows_agree(model: onnx.ModelProto, feeds: Feeds) -> bool:
    """Whether each row gets the same outputs alone, together with the others, and in the reverse order."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    free = {spec.name for spec in session.get_inputs() if spec.shape and not isinstance(spec.shape[0], int)}

    def run(rows: slice | list[int]) -> list[NDArray[np.generic]]:
        return session.run(None, {name: array[rows] if name in free else array for name, array in feeds.items()})

    count = min(len(feeds[name]) for name in free)
    together, reverse = run(slice(None)), run(list(reversed(range(count))))
    for row in range(count):
        for alone, one, other in zip(run([row]), together, reverse, strict=True):
            if len(alone) != 1 or len(one) != count:
                return False
            for whole, at in ((one, row), (other, count - 1 - row)):
                if alone.dtype.kind == "f":
                    if not np.allclose(alone[0], whole[at], rtol=1e-4, atol=1e-5, equal_nan=True):
                        return False
                elif not np.array_equal(alone[0], whole[at]):
                    return False
    return True
