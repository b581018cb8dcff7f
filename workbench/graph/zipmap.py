"""Takes the ZipMap off a classifier's outputs: a list of dicts becomes the tensor of probabilities that it was made of.

skl2onnx puts one there by default. The protocol cannot carry dicts, and their keys are the same in each row, so nothing
is lost where the tensor is answered and the keys are kept as the labels of its columns.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto


def drop_zipmaps(model: ModelProto) -> dict[str, tuple[str, ...]]:
    """Rewrite `model` in place: each output that a ZipMap makes becomes that one's input, FP32 of (rows, classes).

    Returns the labels of the columns by output; empty where there was nothing to do. No other operator takes such
    dicts, so no other node reads them.
    """
    makers = {name: node for node in model.graph.node for name in node.output if _is_zipmap(node)}
    found: dict[str, tuple[str, ...]] = {}
    for output in model.graph.output:
        node = makers.get(output.name)
        if node is None or not (labels := _labels(node)):
            continue
        node.CopyFrom(NodeProto(op_type="Identity", name=node.name, input=node.input, output=node.output))
        _make_tensor(output, len(labels))
        found[output.name] = labels
    return found


def _is_zipmap(node: NodeProto) -> bool:
    return bool(node.op_type == "ZipMap" and node.domain == "ai.onnx.ml")


def _labels(zipmap: NodeProto) -> tuple[str, ...]:
    for attribute in zipmap.attribute:
        if attribute.name == "classlabels_strings":
            return tuple(label.decode("utf-8", "replace") for label in attribute.strings)
        if attribute.name == "classlabels_int64s":
            return tuple(map(str, attribute.ints))
    return ()


def _make_tensor(output: ValueInfoProto, classes: int) -> None:
    output.type.Clear()
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    output.type.tensor_type.shape.dim.add()
    output.type.tensor_type.shape.dim.add().dim_value = classes
