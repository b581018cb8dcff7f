"""Reads the constants of a graph: their shapes, and the elements of those that can be sizes or positions."""

from __future__ import annotations

import math

import onnx
from onnx import numpy_helper

from workbench.graph.batch_axis.batch_values import FREE, MOST_NUMBERS, Value
from workbench.graph.batch_axis.symbolic_sizes import Number

_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_TYPES = "FLOAT FLOAT16 DOUBLE BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64"
_NUMBERS = frozenset(onnx.TensorProto.DataType.Value(name) for name in _TYPES.split(" "))


def tensor_value(tensor: onnx.TensorProto) -> Value:
    """A constant tensor; large ones, and those in files beside the model, are never read."""
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        return FREE
    numbers: tuple[Number, ...] | None = None
    # A tensor that says it is small may hold a lot, and one that says it is large nothing.
    if (
        math.prod(shape) <= MOST_NUMBERS
        and tensor.data_type in _NUMBERS
        and tensor.data_location != onnx.TensorProto.EXTERNAL
        and len(tensor.raw_data) <= 8 * MOST_NUMBERS
        and all(len(getattr(tensor, name)) <= MOST_NUMBERS for name in _FIELDS)
    ):
        try:
            numbers = tuple(numpy_helper.to_array(tensor).ravel().tolist())
        except (ValueError, TypeError):
            return Value(shape)  # malformed: the runtime will say so
    return Value(shape, numbers=numbers)


def constant_value(attributes: dict[str, object]) -> Value:
    """The output of a Constant node with these attributes."""
    tensor = attributes.get("value")
    if isinstance(tensor, onnx.TensorProto):
        return tensor_value(tensor)
    sparse = attributes.get("sparse_value")
    if isinstance(sparse, onnx.SparseTensorProto):
        return Value(tuple(sparse.dims))
    for name in ("value_int", "value_float"):
        number = attributes.get(name)
        if isinstance(number, int | float):
            return Value((), numbers=(number,))
    for name in ("value_ints", "value_floats", "value_strings"):
        found = attributes.get(name)
        if isinstance(found, list):
            few = len(found) <= MOST_NUMBERS and name != "value_strings"
            return Value((len(found),), numbers=tuple(found) if few else None)
    return Value(()) if "value_string" in attributes else FREE
