"""Adds nodes that look things up, take branches, walk along axes, and ask how large the batch is."""

from __future__ import annotations

from random import Random

import numpy as np
from onnx import helper

from tests.helpers.graph_builder import BOOL, FLOAT, INT, GraphBuilder, Value, fixed, is_fixed
from tests.helpers.graph_makers import Made, floats, maker, small, some_axis


@maker
def positions(g: GraphBuilder, random: Random) -> Made:
    """0, 1, 2 ... along an axis are added: the place of a row in its batch, or places within a row."""
    x = g.pick(floats)
    if x is None or x.dims is None:
        return None
    axis = some_axis(x, random)
    size = g.one("Squeeze", [g.size_of(x, axis), g.constant([0])])
    places = g.one("Cast", [g.one("Range", [g.constant(0), size, g.constant(1)])], to=FLOAT)
    behind = list(range(1, x.rank - axis))
    if behind:
        places = g.one("Unsqueeze", [places, g.constant(behind)])
    return Value(g.one("Add", [x, places]), FLOAT, x.dims)


@maker
def size_as_number(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    if x is None:
        return None
    size = g.size_of(x, some_axis(x, random)) if random.random() < 0.8 else g.one("Size", [x])
    return Value(g.one("Div", [x, g.one("Cast", [size], to=FLOAT)]), FLOAT, x.dims)


@maker
def condition(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    if x is None:
        return None
    way = random.randrange(4)
    if way == 0:
        decides = g.constant(True, np.bool_)
    elif way == 1:
        decides = g.one("Greater", [g.one("ReduceMax", [x], keepdims=0), g.constant(0.5, np.float32)])
    elif way == 2:
        decides = g.one("Greater", [g.size_of(x, some_axis(x, random)), g.constant([2])])
        decides = g.one("Squeeze", [decides, g.constant([0])])
    else:
        first = g.one("Reshape", [x, g.constant([-1])])
        decides = g.one("Greater", [g.one("Gather", [first, g.constant(0)]), g.constant(0, np.float32)])
    then, _ = g.branch("then", "Neg", x)
    other, _ = g.branch("other", "Abs", x)
    return Value(g.one("If", [decides], then_branch=then, else_branch=other), FLOAT, x.dims)


@maker
def dynamic_quantization(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    if x is None:
        return None
    return Value(g.one("DequantizeLinear", list(g.add("DynamicQuantizeLinear", [x], 3))), FLOAT, x.dims)


@maker
def found_ones(g: GraphBuilder, random: Random) -> Made:
    """As many results as the data have: nothing is built upon them but what is done to each."""
    if random.random() < 0.6:
        return None
    x = g.pick(floats)
    if x is None:
        return None
    way = random.randrange(3)
    if way == 0:
        return Value(g.one("Transpose", [g.one("NonZero", [x])], perm=[1, 0]), INT, None)
    if way == 1:
        flat = g.one("Reshape", [x, g.constant([-1])])
        return Value(g.one("Compress", [flat, g.one("Cast", [flat], to=BOOL)], axis=0), FLOAT, None)
    return Value(g.one("Unique", [x]), FLOAT, None)


@maker
def scan(g: GraphBuilder, random: Random) -> Made:
    """A running sum over an axis: of rows, or within each row."""
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None:
        return None
    axis = random.randrange(2)
    state = g.one("ReduceSum", [x, g.constant([axis])], keepdims=0)
    names = [g.name() for _ in range(4)]
    nodes = [
        helper.make_node("Add", names[:2], [names[2]]),
        helper.make_node("Identity", [names[2]], [names[3]]),
    ]
    infos = [helper.make_tensor_value_info(name, FLOAT, [None]) for name in names]
    body = helper.make_graph(nodes, "body", infos[:2], infos[2:])
    how = {"scan_input_axes": [axis], "scan_output_axes": [axis]}
    return Value(g.add("Scan", [state, x], 2, body=body, num_scan_inputs=1, **how)[1], FLOAT, x.dims)


@maker
def recurrent(g: GraphBuilder, random: Random) -> Made:
    """An RNN reads [time, rows, features]; exporters turn the axes round before it, and forgetting it mixes rows."""
    x = g.pick(lambda value: floats(value) and value.rank == 3 and is_fixed(value.dims[2]))  # type: ignore[index]
    if x is None or x.dims is None:
        return None
    time_first: Value = x
    if turned := random.random() < 0.6:
        time_first = Value(g.one("Transpose", [x], perm=[1, 0, 2]), FLOAT, (x.dims[1], x.dims[0], x.dims[2]))
    assert time_first.dims is not None
    weights = [g.weights(1, 2, x.dims[2][0]), g.weights(1, 2, 2)]
    whole, last = g.add("RNN", [time_first, *weights], 2, hidden_size=2)
    if random.random() < 0.5:
        return Value(g.one("Squeeze", [last, g.constant([0])]), FLOAT, (time_first.dims[1], fixed(2)))
    squeezed = g.one("Squeeze", [whole, g.constant([1])])
    dims = (time_first.dims[0], time_first.dims[1], fixed(2))
    if not turned:
        return Value(squeezed, FLOAT, dims)
    return Value(g.one("Transpose", [squeezed], perm=[1, 0, 2]), FLOAT, (dims[1], dims[0], dims[2]))


@maker
def drawn(g: GraphBuilder, random: Random) -> Made:
    if random.random() < 0.8:
        return None
    x = g.pick(floats)
    return x and Value(g.one("Add", [x, g.one("RandomNormalLike", [x])]), FLOAT, x.dims)


@maker
def one_hot(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.kind == INT and value.rank > 0)
    if x is None or x.dims is None or not small((*x.dims, fixed(3))):
        return None
    axis = random.randint(0, x.rank)
    dims = (*x.dims[:axis], fixed(3), *x.dims[axis:])
    made = g.one("OneHot", [x, g.constant([3]), g.constant([0, 1], np.float32)], axis=axis)
    return Value(made, FLOAT, dims)


@maker
def embedding(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.kind == INT and value.rank > 0)
    if x is None or x.dims is None or not small((*x.dims, fixed(3))):
        return None
    ids = g.one("Mod", [x, g.constant(5)])
    return Value(g.one("Gather", [g.weights(5, 3), ids], axis=0), FLOAT, (*x.dims, fixed(3)))


@maker
def gather_by_values(g: GraphBuilder, random: Random) -> Made:
    """Values of the model as indices into other values: of rows, or within a row."""
    x = g.pick(floats)
    ids = x and g.pick(lambda value: value.kind == INT and value.rank == x.rank)
    if x is None or ids is None or x.dims is None or ids.dims is None:
        return None
    axis = some_axis(x, random)
    if min(x.dims[axis]) < 1 or any(
        a != b for place, (a, b) in enumerate(zip(x.dims, ids.dims, strict=True)) if place != axis
    ):
        return None
    bounded = g.one("Mod", [ids, g.size_of(x, axis)])
    return Value(g.one("GatherElements", [x, bounded], axis=axis), FLOAT, ids.dims)
