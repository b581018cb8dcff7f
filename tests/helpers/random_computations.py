"""Adds nodes that compute element by element, along axes, and by products."""

from __future__ import annotations

from random import Random

import numpy as np

from tests.helpers.graph_builder import BOOL, FLOAT, INT, GraphBuilder, Value, fixed, is_fixed
from tests.helpers.graph_makers import Made, broadcast, floats, maker, small, some_axis, with_axis


@maker
def elementwise(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    operators = (
        "Relu",
        "Neg",
        "Abs",
        "Sigmoid",
        "Tanh",
        "Floor",
        "Sign",
        "Erf",
        "Softplus",
        "Identity",
        "Round",
        "Dropout",
    )
    return x and Value(g.one(random.choice(operators), [x]), FLOAT, x.dims)


@maker
def with_constant(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    if x is None or x.dims is None:
        return None
    shape = [dim[0] if is_fixed(dim) and random.random() < 0.7 else 1 for dim in x.dims]
    shape = shape[random.randrange(len(shape) + 1) :]
    operator = random.choice(("Add", "Sub", "Mul", "Max", "Min", "Div"))
    constant = g.weights(*shape)
    return Value(g.one(operator, [x, constant] if random.random() < 0.7 else [constant, x]), FLOAT, x.dims)


@maker
def of_two(g: GraphBuilder, random: Random) -> Made:
    a = g.pick(floats)
    b = a and g.pick(lambda value: value.kind == FLOAT and broadcast(a, value) is not None)
    if a is None or b is None:
        return None
    operator = random.choice(("Add", "Sub", "Mul", "Max", "Mean", "Less", "Greater"))
    kind = BOOL if operator in ("Less", "Greater") else FLOAT
    return Value(g.one(operator, [a, b]), kind, broadcast(a, b))


@maker
def where(g: GraphBuilder, random: Random) -> Made:
    a = g.pick(floats)
    condition = a and g.pick(lambda value: value.kind == BOOL and broadcast(a, value) is not None)
    if a is None or condition is None:
        return None
    return Value(g.one("Where", [condition, a, g.constant(0.5, np.float32)]), FLOAT, broadcast(a, condition))


@maker
def cast(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: True)
    if x is None:
        return None
    kind = random.choice((FLOAT, INT, BOOL))
    source = x.name
    if (x.kind, kind) == (FLOAT, INT):  # no sum of shares of 1 is to lie on the edge of a whole number
        source = g.one("Add", [x, g.constant(0.37, np.float32)])
    return Value(g.one("Cast", [source], to=kind), kind, x.dims)


@maker
def matmul_of_constant(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank > 1)
    if x is None or x.dims is None:
        return None
    left, right = x.dims[-2:]
    if is_fixed(right) and (random.random() < 0.6 or not is_fixed(left)):
        return Value(g.one("MatMul", [x, g.weights(right[0], 2)]), FLOAT, (*x.dims[:-1], fixed(2)))
    if not is_fixed(left):
        return None
    return Value(g.one("MatMul", [g.weights(2, left[0]), x]), FLOAT, (*x.dims[:-2], fixed(2), right))


@maker
def matmul_of_two(g: GraphBuilder, random: Random) -> Made:
    """Scores of attention: x with its own transpose, whatever axis the rows are."""
    x = g.pick(lambda value: floats(value) and value.rank in (2, 3, 4))
    if x is None or x.dims is None:
        return None
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    turned = g.one("Transpose", [x], perm=order)
    if random.random() < 0.6:
        dims, pair = (*x.dims[:-1], x.dims[-2]), [x, turned]
    else:
        dims, pair = (*x.dims[:-2], x.dims[-1], x.dims[-1]), [turned, x]
    return Value(g.one("MatMul", pair), FLOAT, dims) if small(dims) else None


@maker
def gemm(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None:
        return None
    turned = random.random() < 0.4
    rows, columns = x.dims[::-1] if turned else x.dims
    if not is_fixed(columns):
        return None
    made = g.one("Gemm", [x, g.weights(3, columns[0]), g.weights(3)], transA=int(turned), transB=1)
    return Value(made, FLOAT, (rows, fixed(3)))


@maker
def reduce(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    if x is None or x.dims is None:
        return None
    operator = random.choice(("ReduceSum", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceL2", "ReduceProd"))
    keep = random.randrange(2)
    if random.random() < 0.2:
        return Value(g.one(operator, [x], keepdims=keep), FLOAT, (fixed(1),) * x.rank if keep else ())
    first = 1 if random.random() < 0.6 and x.rank > 1 else 0
    axes = random.sample(range(first, x.rank), random.randint(1, x.rank - first))
    dims = [fixed(1) if axis in axes else dim for axis, dim in enumerate(x.dims) if keep or axis not in axes]
    given = g.constant([axis - x.rank if random.random() < 0.5 else axis for axis in axes])
    return Value(g.one(operator, [x, given], keepdims=keep), FLOAT, tuple(dims))


@maker
def along_an_axis(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(floats)
    if x is None or x.dims is None:
        return None
    axis = some_axis(x, random)
    way = random.choice(("Softmax", "LogSoftmax", "Hardmax", "CumSum", "ArgMax", "ArgMin", "TopK", "LpNormalization"))
    signed = axis - x.rank if random.random() < 0.5 else axis
    if way == "CumSum":
        made = g.one(way, [x, g.constant(signed)], reverse=random.randrange(2), exclusive=random.randrange(2))
        return Value(made, FLOAT, x.dims)
    if way in ("ArgMax", "ArgMin"):
        keep = random.randrange(2)
        dims = with_axis(x, axis, fixed(1)) if keep else (*x.dims[:axis], *x.dims[axis + 1 :])
        return Value(g.one(way, [x], axis=signed, keepdims=keep), INT, dims)
    if way == "TopK":
        largest, places = g.add(way, [x, g.constant([1])], 2, axis=signed)
        dims = with_axis(x, axis, fixed(1))
        return Value(largest, FLOAT, dims) if random.random() < 0.5 else Value(places, INT, dims)
    return Value(g.one(way, [x], axis=signed), FLOAT, x.dims)


@maker
def normalise(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank > 1)
    if x is None or x.dims is None:
        return None
    way = random.randrange(4)
    if way == 0 and is_fixed(x.dims[-1]):
        return Value(g.one("LayerNormalization", [x, g.weights(x.dims[-1][0])], axis=-1), FLOAT, x.dims)
    if way == 1 and is_fixed(x.dims[1]):
        size = x.dims[1][0]
        ones = g.constant(np.ones(size), np.float32)
        training = int(random.random() < 0.4)
        given = [x, ones, g.weights(size), g.weights(size), ones]
        return Value(g.add("BatchNormalization", given, 3 if training else 1, training_mode=training)[0], FLOAT, x.dims)
    if way == 2 and x.rank > 2 and is_fixed(x.dims[1]):
        size = x.dims[1][0]
        return Value(g.one("InstanceNormalization", [x, g.weights(size), g.weights(size)]), FLOAT, x.dims)
    if way == 3 and x.rank > 2:
        axes = random.choice(([0, 2], [1, 2], [2]))
        return Value(g.one("MeanVarianceNormalization", [x], axes=axes), FLOAT, x.dims)
    return None


@maker
def einsum(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank in (2, 3))
    if x is None or x.dims is None:
        return None
    a, b, *rest = x.dims
    if rest:
        ways = [
            ("abc,abd->acd", (a, rest[0], rest[0])),
            ("abc,adc->abd", (a, b, b)),
            ("abc,dbc->ad", (a, a)),
            ("abc->bc", (b, *rest)),
        ]
    else:
        ways = [("ab,ab->a", (a,)), ("ab,cb->ac", (a, a)), ("ab->ba", (b, a)), ("ab,ac->bc", (b, b)), ("ab->b", (b,))]
    equation, dims = random.choice(ways)
    made = g.one("Einsum", [x] * (1 + equation.count(",")), equation=equation)
    return Value(made, FLOAT, dims) if small(dims) else None


@maker
def logic(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.kind == BOOL)
    return x and Value(g.one("Not", [x]), BOOL, x.dims)


@maker
def of_integers(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.kind == INT)
    if x is None:
        return None
    operator = random.choice(("Add", "Sub", "Mul", "Max"))
    return Value(g.one(operator, [x, g.constant(random.randint(-2, 3))]), INT, x.dims)


@maker
def convolution(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank == 3 and is_fixed(value.dims[1]))  # type: ignore[index]
    if x is None or x.dims is None:
        return None
    way = random.randrange(3)
    if way == 0:
        return Value(g.one("GlobalAveragePool", [x]), FLOAT, (*x.dims[:2], fixed(1)))
    if way == 1:
        return Value(g.one("MaxPool", [x], kernel_shape=[3], pads=[1, 1]), FLOAT, x.dims)
    made = g.one("Conv", [x, g.weights(2, x.dims[1][0], 3)], kernel_shape=[3], pads=[1, 1])
    return Value(made, FLOAT, (x.dims[0], fixed(2), x.dims[2]))
