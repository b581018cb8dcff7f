"""Adds what exporters write: loops, functions, picks by place, masks of lengths, sizes computed from sizes."""

from __future__ import annotations

from random import Random

import numpy as np
from onnx import TensorProto, helper

from tests.helpers.graph_builder import BOOL, FLOAT, INT, GraphBuilder, N, Value, fixed, is_fixed, times
from tests.helpers.graph_makers import Made, floats, maker, small, some_axis, with_axis


@maker
def loop(g: GraphBuilder, random: Random) -> Made:
    """Three rounds or as many as an axis is long; what is carried may depend on its sum, or end the loop."""
    x = g.pick(floats)
    if x is None or x.dims is None:
        return None
    trips = g.constant(3)
    if random.random() < 0.3:
        trips = g.one("Squeeze", [g.size_of(x, some_axis(x, random)), g.constant([0])])
    step, going, state, more, after, out = (g.name() for _ in range(6))
    nodes = [helper.make_node(random.choice(("Relu", "Neg", "Sigmoid")), [state], [after])]
    way = random.randrange(3)
    if way == 0:
        nodes.append(helper.make_node("Identity", [going], [more]))
    else:
        total = g.name()
        nodes.append(helper.make_node("ReduceSum" if way == 1 else "ReduceMax", [after], [total], keepdims=0))
        nodes.append(helper.make_node("Less", [total, g.constant(2, np.float32)], [more]))
    nodes.append(helper.make_node("Identity", [after], [out]))
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info(step, INT, []),
            helper.make_tensor_value_info(going, BOOL, []),
            helper.make_tensor_value_info(state, FLOAT, [None] * x.rank),
        ],
        [
            helper.make_tensor_value_info(more, BOOL, []),
            helper.make_tensor_value_info(after, FLOAT, [None] * x.rank),
            helper.make_tensor_value_info(out, FLOAT, [None] * x.rank),
        ],
    )
    last, _ = g.add("Loop", [trips, g.constant(True, np.bool_), x], 2, body=body)
    return Value(last, FLOAT, x.dims)


@maker
def expanded_by_minus_one(g: GraphBuilder, random: Random) -> Made:
    """torch's expand: -1 in a shape is replaced by 1, by a comparison with the whole shape."""
    x = g.pick(lambda value: value.kind != BOOL and value.rank > 0)
    if x is None or x.dims is None or not small((fixed(2), *x.dims)):
        return None
    wanted = g.one("Concat", [g.constant([2]), *(g.constant([-1]) for _ in x.dims)], axis=0)
    ones = g.one("ConstantOfShape", [g.constant([x.rank + 1])], value=helper.make_tensor("v", INT, [1], [1]))
    minus = g.one("Mul", [ones, g.constant(-1)])
    shape = g.one("Where", [g.one("Equal", [wanted, minus]), ones, wanted])
    return Value(g.one("Expand", [x, shape]), x.kind, (fixed(2), *x.dims))


@maker
def picked_by_place(g: GraphBuilder, random: Random) -> Made:
    """A column for each row, found by the row's own place; or by another row's."""
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None:
        return None
    size = g.one("Squeeze", [g.size_of(x, 0), g.constant([0])])
    places = g.one("Range", [g.constant(0), size, g.constant(1)])
    if random.random() < 0.4:
        last = g.one("Sub", [size, g.constant(1)])
        places = random.choice((g.one("Sub", [last, places]), g.one("Mul", [places, g.constant(0)])))
    columns = g.one("ArgMax", [x], axis=1, keepdims=0)
    pair = [g.one("Unsqueeze", [each, g.constant([1])]) for each in (places, columns)]
    indices = g.one("Concat", pair, axis=1)
    return Value(g.one("GatherND", [x, indices]), FLOAT, x.dims[:1])


@maker
def every_pair(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None:
        return None
    axis = random.randrange(2)
    one = g.one("Unsqueeze", [x, g.constant([axis])])
    other = g.one("Unsqueeze", [x, g.constant([axis + 1])])
    gaps = g.one("Sub", [one, other])
    dims = (x.dims[0], x.dims[0], x.dims[1]) if axis == 0 else (x.dims[0], x.dims[1], x.dims[1])
    return Value(gaps, FLOAT, dims) if small(dims) else None


@maker
def resized(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank in (2, 3))
    if x is None or x.dims is None:
        return None
    axis = some_axis(x, random)
    scales = [2.0 if at == axis else 1.0 for at in range(x.rank)]
    mode = random.choice(("nearest", "linear")) if x.rank == 2 or axis > 0 else "nearest"
    made = g.one("Resize", [x, "", g.constant(scales, np.float32)], mode=mode)
    return Value(made, FLOAT, with_axis(x, axis, times((x.dims[axis], fixed(2)))))


@maker
def computed_size(g: GraphBuilder, random: Random) -> Made:
    """A shape found by sums, products and quotients of sizes, which comes out right or as another axis order."""
    x = g.pick(lambda value: value.rank == 2 and value.dims[0] == N and is_fixed(value.dims[1]))  # type: ignore[index]
    if x is None or x.dims is None:
        return None
    width = x.dims[1][0]
    rows = g.size_of(x, 0)
    by = random.choice((2, 3))
    there = g.one("Div", [g.one("Mul", [rows, g.constant([by])]), g.constant([by])])
    table = g.one("Mul", [g.one("Reshape", [rows, g.constant([1, 1])]), g.constant([[1, width]])])
    flat = g.one("Reshape", [table, g.constant([-1])])  # [rows, rows * width]
    way = random.randrange(4)
    if way == 0:
        shape, dims = g.one("Concat", [there, g.constant([-1])], axis=0), x.dims
    elif way == 1:
        shape, dims = g.one("Concat", [g.constant([-1]), there], axis=0), (x.dims[1], x.dims[0])
    elif way == 2:
        last = g.one("Gather", [flat, g.constant([1])])
        shape, dims = g.one("Concat", [g.constant([1]), last], axis=0), (fixed(1), times(x.dims))
    else:
        first = g.one("Gather", [flat, g.constant([0])])
        shape, dims = g.one("Concat", [first, g.constant([width])], axis=0), x.dims
    return Value(g.one("Reshape", [x, shape]), x.kind, dims)


@maker
def mask_of_lengths(g: GraphBuilder, random: Random) -> Made:
    """True up to a length in each row: the mask is as wide as a constant, or as the longest length of the batch."""
    x = g.pick(lambda value: value.kind == INT and value.rank == 1)
    if x is None or x.dims is None:
        return None
    lengths = g.one("Add", [g.one("Mod", [x, g.constant(4)]), g.constant(1)])
    fixed_width = random.random() < 0.6
    limit = g.constant(4) if fixed_width else g.one("ReduceMax", [lengths], keepdims=0)
    places = g.one("Range", [g.constant(0), limit, g.constant(1)])
    column = g.one("Unsqueeze", [lengths, g.constant([1])])
    return Value(g.one("Less", [places, column]), BOOL, (x.dims[0], fixed(4)) if fixed_width else None)


@maker
def integer_product(g: GraphBuilder, random: Random) -> Made:
    """As quantize_dynamic writes it, or with a scale that is fixed."""
    x = g.pick(lambda value: floats(value) and value.rank == 2 and is_fixed(value.dims[1]))  # type: ignore[index]
    if x is None or x.dims is None:
        return None
    weights = g.constant(np.ones((x.dims[1][0], 2)), np.int8)
    if random.random() < 0.5:
        quantized, scale, zero = g.add("DynamicQuantizeLinear", [x], 3)
    else:
        scale, zero = g.constant(0.1, np.float32), g.constant(128, np.uint8)
        quantized = g.one("QuantizeLinear", [x, scale, zero])
    product = g.one("Cast", [g.one("MatMulInteger", [quantized, weights, zero])], to=FLOAT)
    return Value(g.one("Mul", [product, scale]), FLOAT, (x.dims[0], fixed(2)))


@maker
def function_call(g: GraphBuilder, random: Random) -> Made:
    """A function of the model that normalises along the axis that its caller names, or along its default."""
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None:
        return None
    inner = helper.make_node("Softmax", ["a"], ["b"])
    axis = helper.make_attribute("axis", 0)
    axis.ref_attr_name = "along"
    axis.ClearField("i")
    inner.attribute.append(axis)
    opsets = [helper.make_opsetid("", 18)]
    name = f"Normalise{len(g.functions)}"
    default = helper.make_attribute("along", random.randrange(2))
    function = helper.make_function("local", name, ["a"], ["b"], [inner], opsets, attribute_protos=[default])
    g.functions.append(function)
    named = {"along": random.randrange(2)} if random.random() < 0.5 else {}
    return Value(g.one(name, [x], domain="local", **named), FLOAT, x.dims)


@maker
def sequence(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None:
        return None
    if random.random() < 0.5:
        both = g.one("SequenceConstruct", [x, g.one("Neg", [x])])
        return Value(g.one("SequenceAt", [both, g.constant(1)]), FLOAT, x.dims)
    parts = g.one("SplitToSequence", [x], axis=0)
    return Value(g.one("SequenceAt", [parts, g.constant(0)]), FLOAT, (fixed(1), x.dims[1]))


@maker
def lengths_of_sequences(g: GraphBuilder, random: Random) -> Made:
    """A GRU whose sequences end at lengths that the rows say."""
    x = g.pick(lambda value: floats(value) and value.rank == 3 and is_fixed(value.dims[2]))  # type: ignore[index]
    if x is None or x.dims is None or not is_fixed(x.dims[1]) or x.dims[0] != N:
        return None
    summed = g.one("ReduceSum", [x, g.constant([1, 2])], keepdims=0)
    whole = g.one("Cast", [g.one("Add", [summed, g.constant(0.37, np.float32)])], to=TensorProto.INT32)
    most = g.constant(x.dims[1][0], np.int32)
    lengths = g.one("Clip", [whole, g.constant(1, np.int32), most])
    steps = g.one("Transpose", [x], perm=[1, 0, 2])
    weights = [g.weights(1, 6, x.dims[2][0]), g.weights(1, 6, 2)]
    last = g.add("GRU", [steps, *weights, "", lengths], 2, hidden_size=2)[1]
    return Value(g.one("Squeeze", [last, g.constant([0])]), FLOAT, (x.dims[0], fixed(2)))


@maker
def branches_of_other_shapes(g: GraphBuilder, random: Random) -> Made:
    """A nested choice by a constant size, one side of which turns the axes round."""
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None or not is_fixed(x.dims[1]):
        return None
    wide = g.one("Squeeze", [g.one("Greater", [g.size_of(x, 1), g.constant([3])]), g.constant([0])])
    then, _ = g.branch("then", "Transpose", x)
    other, _ = g.branch("other", "Relu", x)
    dims = (x.dims[1], x.dims[0]) if x.dims[1][0] > 3 else x.dims
    return Value(g.one("If", [wide], then_branch=then, else_branch=other), FLOAT, dims)


@maker
def picked_in_a_line(g: GraphBuilder, random: Random) -> Made:
    """All rows one after the other, of which each picks an element: its own, or one that may be another's."""
    x = g.pick(lambda value: floats(value) and value.rank == 2 and is_fixed(value.dims[1]))  # type: ignore[index]
    if x is None or x.dims is None or x.dims[0] != N:
        return None
    width = x.dims[1][0]
    size = g.one("Squeeze", [g.size_of(x, 0), g.constant([0])])
    starts = g.one("Mul", [g.one("Range", [g.constant(0), size, g.constant(1)]), g.constant(width)])
    inside = random.choice((g.one("ArgMax", [x], axis=1, keepdims=0), g.constant(0), g.constant(width - 1)))
    if random.random() < 0.3:
        inside = g.one("Add", [inside, g.constant(random.choice((0, 1)))])
    places = g.one("Add", [starts, inside])
    if random.random() < 0.3:  # past the last row there is nothing
        last = g.one("Sub", [g.one("Mul", [size, g.constant(width)]), g.constant(1)])
        places = g.one("Min", [places, last])
    return Value(g.one("Gather", [g.one("Reshape", [x, g.constant([-1])]), places], axis=0), FLOAT, x.dims[:1])
