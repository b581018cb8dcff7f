"""Makes an exported graph refuse indices below 0 where torch does.

ONNX counts a negative index from the end; torch's embedding, gather and scatter raise IndexError for it. The exporter
notes at each node which operator of torch it stands for, and where that one refuses, a negative index is replaced
by one that ONNX Runtime finds out of bounds too.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_INDEX_INPUT: Final = {"Gather": 1, "GatherElements": 1, "ScatterElements": 1}
"""Operator -> the place of its indices among its inputs. Each refuses what is out of bounds."""

_REFUSING: Final = (
    "embedding",
    "embedding_bag",
    "gather",
    "index_add",
    "index_select",
    "one_hot",
    "scatter",
    "scatter_add",
    "scatter_reduce",
)
"""Operators of torch that take no negative index; `weight[x]` and `take` do."""

_INT64: Final = 7
"""ONNX's number for it."""

_NODE: Final = "pkg.torch.onnx.fx_node"
"""The exporter's note: the call in torch's own graph."""

OUT_OF_BOUNDS: Final = -(2**31)
"""An index that no axis has, in INT32 and in INT64."""


def translations() -> dict[Any, Any]:
    """For torch.onnx.export: operators that it would take apart before their indices are known as such."""
    import onnxscript
    import torch

    op: Any = onnxscript.opset20

    def one_hot(self: Any, num_classes: int = -1) -> Any:
        if num_classes < 0:
            raise NotImplementedError("one_hot without num_classes, whose width depends on the values")
        classes = op.Constant(value=_tensor(np.arange(num_classes)))
        known = op.Unsqueeze(op.Gather(classes, self), op.Constant(value_ints=[-1]))
        return op.Cast(op.Equal(known, classes), to=_INT64)

    def index_add(self: Any, dim: int, index: Any, source: Any, alpha: float = 1.0) -> Any:
        rank = len(self.shape)
        others = [axis for axis in range(rank) if axis != dim % rank]
        places = op.Expand(op.Unsqueeze(index, op.Constant(value_ints=others)), op.Shape(source)) if others else index
        added = source if alpha == 1 else op.Mul(source, op.CastLike(op.Constant(value_float=float(alpha)), source))
        return op.ScatterElements(self, places, added, axis=dim, reduction="add")

    return {torch.ops.aten.one_hot.default: one_hot, torch.ops.aten.index_add.default: index_add}


def _tensor(array: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(array)


def refuse_negative_indices(model: Any) -> None:
    """Change the graph of an onnx_ir model in place."""
    import onnx_ir

    guarded: dict[Any, Any] = {}
    for node in list(model.graph):
        place = _INDEX_INPUT.get(node.op_type)
        if place is None or not _refuses(node.metadata_props.get(_NODE, "")):
            continue
        index = node.inputs[place]
        if index is None or index.const_value is not None:
            continue
        if index not in guarded:
            guarded[index] = _guard(onnx_ir, model.graph, node, index)
        node.replace_input_with(place, guarded[index])


def _refuses(call: str) -> bool:
    return any(f"aten.{name}." in call for name in _REFUSING)


def _guard(onnx_ir: Any, graph: Any, node: Any, index: Any) -> Any:
    """Put `where(index < 0, OUT_OF_BOUNDS, index)` before `node`."""
    dtype = np.int32 if index.dtype == onnx_ir.DataType.INT32 else np.int64
    name = f"{node.name}_index"
    zero, outside = (
        onnx_ir.node("Constant", [], {"value": onnx_ir.tensor(np.array(value, dtype), name=f"{name}_{what}")})
        for value, what in ((0, "zero"), (OUT_OF_BOUNDS, "outside"))
    )
    below = onnx_ir.node("Less", [index, zero.outputs[0]])
    chosen = onnx_ir.node("Where", [below.outputs[0], outside.outputs[0], index])
    for each, what in ((zero, "zero"), (outside, "outside"), (below, "below"), (chosen, "checked")):
        each.name, each.outputs[0].name = f"{name}_{what}_node", f"{name}_{what}"
    chosen.outputs[0].type, chosen.outputs[0].shape = index.type, index.shape
    graph.insert_before(node, [zero, outside, below, chosen])
    return chosen.outputs[0]
