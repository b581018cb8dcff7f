"""Makes an exported attention give zeros for a row that its mask hides wholly, as torch does.

The exporter writes a mask of truth values as the lowest finite number, added to the scores. Where all of a row is
hidden, all its scores are then that number, and softmax weighs them alike: the mean of what should not be seen. With
a mask of numbers, whose -inf stays, softmax gives NaN there.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_NODE: Final = "pkg.torch.onnx.fx_node"
"""The exporter's note: the call in torch's own graph."""


def hide_wholly(model: Any) -> None:
    """Change the graph of an onnx_ir model in place."""
    for node in list(model.graph):
        if "scaled_dot_product_attention" not in node.metadata_props.get(_NODE, ""):
            continue
        if node.op_type == "Where":
            _make_infinite(model.graph, node)
        elif node.op_type == "Softmax":
            scores = node.inputs[0].producer()
            if scores is not None and scores.op_type == "Add":  # the mask's
                _zeros_where_all_is_hidden(model.graph, node)


def _make_infinite(graph: Any, node: Any) -> None:
    """What the node `Where(mask, 0, lowest number)` adds becomes -inf."""
    hidden = node.inputs[2].const_value if node.inputs[2] is not None else None
    if hidden is None or hidden.size != 1:
        return
    low = hidden.numpy()
    if low.dtype.kind == "f" and low.item() == np.finfo(low.dtype).min:
        node.replace_input_with(2, _constant(graph, node, "infinite", np.full(low.shape, -np.inf, low.dtype)))


def _zeros_where_all_is_hidden(graph: Any, softmax: Any) -> None:
    import onnx_ir

    scores, weights = softmax.inputs[0], softmax.outputs[0]
    if weights.dtype not in (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.DOUBLE):
        return
    uses = list(weights.uses())
    if any(use.op_type == "IsNaN" for use, _ in uses):  # the exporter's own zeros, behind a mask of truth values
        return
    dtype = weights.dtype.numpy()
    axis = _constant(graph, softmax, "axis", np.array([-1]))
    low = _constant(graph, softmax, "low", np.array(-np.inf, dtype))
    zero = _constant(graph, softmax, "zero", np.array(0, dtype))
    largest = onnx_ir.node("ReduceMax", [scores, axis], {"keepdims": 1})
    hidden = onnx_ir.node("Equal", [largest.outputs[0], low])
    chosen = onnx_ir.node("Where", [hidden.outputs[0], zero, weights])
    for each, what in ((largest, "largest"), (hidden, "hidden"), (chosen, "chosen")):
        each.name, each.outputs[0].name = f"{softmax.name}_{what}_node", f"{softmax.name}_{what}"
    chosen.outputs[0].type, chosen.outputs[0].shape = weights.type, weights.shape
    for use, place in uses:
        if use is not chosen:
            use.replace_input_with(place, chosen.outputs[0])
    graph.insert_after(softmax, [largest, hidden, chosen])


def _constant(graph: Any, node: Any, what: str, array: Any) -> Any:
    """A constant before `node`."""
    import onnx_ir

    name = f"{node.name}_{what}"
    made = onnx_ir.node("Constant", [], {"value": onnx_ir.tensor(array, name=name)}, name=f"{name}_node")
    made.outputs[0].name = name
    graph.insert_before(node, made)
    return made.outputs[0]
