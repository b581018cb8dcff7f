"""Adds nodes that move, cut, join and repeat what is there."""

from __future__ import annotations

from random import Random

from tests.helpers.graph_builder import BOOL, FLOAT, INT, Dim, GraphBuilder, Value, fixed, is_fixed, times
from tests.helpers.graph_makers import Made, broadcast, floats, maker, small, some_axis, with_axis


@maker
def transpose(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 1)
    if x is None or x.dims is None:
        return None
    order = list(range(x.rank))
    random.shuffle(order)
    return Value(g.one("Transpose", [x], perm=order), x.kind, tuple(x.dims[axis] for axis in order))


@maker
def there_and_back(g: GraphBuilder, random: Random) -> Made:
    """Two axes are swapped, something is done along one, and they are swapped back."""
    x = g.pick(lambda value: floats(value) and value.rank > 1)
    if x is None or x.dims is None:
        return None
    order = list(range(x.rank))
    one, other = random.sample(order, 2)
    order[one], order[other] = other, one
    swapped = g.one("Transpose", [x], perm=order)
    done = g.one("Softmax", [swapped], axis=random.randrange(x.rank))
    return Value(g.one("Transpose", [done], perm=order), FLOAT, x.dims)


@maker
def reshape_by_constant(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 0)
    if x is None or x.dims is None:
        return None
    ways: list[tuple[list[int], tuple[Dim, ...]]] = [([-1], (times(x.dims),))]
    for place in range(1, x.rank):
        head, tail = times(x.dims[:place]), times(x.dims[place:])
        if is_fixed(tail):
            ways.append(([-1, tail[0]], (head, tail)))
        if place == 1:
            ways.append(([0, -1], (head, tail)))
    for axis, dim in enumerate(x.dims):  # an axis in front, and the axis of the rows behind it
        if is_fixed(dim):
            rest = times((*x.dims[:axis], *x.dims[axis + 1 :]))
            ways.append(([dim[0], -1], (dim, rest)))
            ways.append(([-1, dim[0]], (rest, dim)))
    ways.append(([0] * x.rank + [1], (*x.dims, fixed(1))))
    shape, dims = random.choice(ways)
    return Value(g.one("Reshape", [x, g.constant(shape)]), x.kind, dims)


@maker
def merge_and_split(g: GraphBuilder, random: Random) -> Made:
    """[N, S, D] -> [N * S, D] -> something -> [N, S, D], with sizes computed from shapes."""
    x = g.pick(lambda value: floats(value) and value.rank >= 2)
    if x is None or x.dims is None:
        return None
    sizes = [g.size_of(x, axis) for axis in range(x.rank)]
    product = g.one("Mul", sizes[:2])
    merged_dims = (times(x.dims[:2]), *x.dims[2:])
    shape = g.one("Concat", [product, *sizes[2:]], axis=0) if random.random() < 0.5 or x.rank == 2 else ""
    shape = shape or g.constant([-1, *(0 if not is_fixed(dim) else dim[0] for dim in x.dims[2:])])
    merged = Value(g.one("Reshape", [x, shape]), FLOAT, merged_dims)
    way = random.randrange(3)
    done = g.one("Relu", [merged])
    if way == 1:
        done = g.one("Softmax", [merged], axis=random.choice((-1, -1, 0)))
    elif way == 2 and is_fixed(merged_dims[-1]):
        size = merged_dims[-1][0]
        done = g.one("MatMul", [merged, g.weights(size, size)]) if merged.rank > 1 else done
    first, second = (sizes[0], sizes[1]) if random.random() < 0.8 else (sizes[1], sizes[0])
    first = first if random.random() < 0.6 else g.constant([-1])
    back = g.one("Concat", [first, second, *sizes[2:]], axis=0)
    dims = x.dims if second == sizes[1] else (x.dims[1], x.dims[0], *x.dims[2:])
    return Value(g.one("Reshape", [done, back]), FLOAT, dims)


@maker
def flatten(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 1)
    if x is None or x.dims is None:
        return None
    axis = random.choice((1, 1, 0, x.rank - 1))
    return Value(g.one("Flatten", [x], axis=axis), x.kind, (times(x.dims[:axis]), times(x.dims[axis:])))


@maker
def squeeze_or_unsqueeze(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank < 4)
    if x is None or x.dims is None:
        return None
    ones = [axis for axis, dim in enumerate(x.dims) if dim == fixed(1)]
    if ones and random.random() < 0.5:
        if random.random() < 0.3:  # of a single row, the axis of the rows goes as well
            return Value(g.one("Squeeze", [x]), x.kind, tuple(dim for dim in x.dims if dim != fixed(1)))
        axis = random.choice(ones)
        dims = (*x.dims[:axis], *x.dims[axis + 1 :])
        return Value(g.one("Squeeze", [x, g.constant([axis])]), x.kind, dims)
    axis = random.randint(0, x.rank)
    dims = (*x.dims[:axis], fixed(1), *x.dims[axis:])
    return Value(g.one("Unsqueeze", [x, g.constant([axis])]), x.kind, dims)


@maker
def concat(g: GraphBuilder, random: Random) -> Made:
    a = g.pick(lambda value: value.rank > 0)
    if a is None or a.dims is None:
        return None
    axis = some_axis(a, random)
    rest = with_axis(a, axis, fixed(0))
    b = g.pick(lambda value: value.kind == a.kind and value.rank == a.rank and with_axis(value, axis, fixed(0)) == rest)
    if b is None or b.dims is None:
        return None
    one, other = a.dims[axis], b.dims[axis]
    both = (one[0] + other[0], one[1] + other[1], one[2] + other[2])
    return Value(g.one("Concat", [a, b], axis=axis), a.kind, with_axis(a, axis, both))


@maker
def slice_or_pad(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 0 and value.kind != BOOL)
    if x is None or x.dims is None:
        return None
    axis = some_axis(x, random)
    dim = x.dims[axis]
    way = random.randrange(4)
    huge = 2**31
    if way == 0:  # in the opposite order
        limits = [g.constant([each]) for each in (-1, -huge, axis, -1)]
        return Value(g.one("Slice", [x, *limits]), x.kind, x.dims)
    if way == 1:
        whole = random.random() < 0.5
        limits = [g.constant([each]) for each in (0, huge if whole else 1, axis, 1)]
        return Value(g.one("Slice", [x, *limits]), x.kind, x.dims if whole else with_axis(x, axis, fixed(1)))
    if way == 2:
        limits = [g.constant([each]) for each in (0, huge, axis, 2)]
        halves = ((dim[0] + 1) // 2, (dim[1] + 1) // 2, (dim[2] + 1) // 2)
        return Value(g.one("Slice", [x, *limits]), x.kind, with_axis(x, axis, halves))
    before, after = random.randint(0, 1), random.randint(0, 1)
    pads = [0] * (2 * x.rank)
    pads[axis], pads[axis + x.rank] = before, after
    wider = (dim[0] + before + after, dim[1] + before + after, dim[2] + before + after)
    return Value(g.one("Pad", [x, g.constant(pads)]), x.kind, with_axis(x, axis, wider))


@maker
def split(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 1 and any(dim == fixed(4) for dim in value.dims or ()))
    if x is None or x.dims is None:
        return None
    axis = random.choice([axis for axis, dim in enumerate(x.dims) if dim == fixed(4)])
    parts = g.add("Split", [x], 2, axis=axis, num_outputs=2)
    return Value(random.choice(parts), x.kind, with_axis(x, axis, fixed(2)))


@maker
def gather(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 0)
    if x is None or x.dims is None:
        return None
    axis = some_axis(x, random)
    scalar = random.random() < 0.5
    index = random.choice((0, -1))
    name = g.one("Gather", [x, g.constant(index if scalar else [index])], axis=axis)
    dims = (*x.dims[:axis], *x.dims[axis + 1 :]) if scalar else with_axis(x, axis, fixed(1))
    return Value(name, x.kind, dims)


@maker
def expand(g: GraphBuilder, random: Random) -> Made:
    like = g.pick(lambda value: value.rank > 0)
    x = like and g.pick(lambda value: value.kind != BOOL and broadcast(like, value) == like.dims)
    if like is None or x is None:
        return None
    return Value(g.one("Expand", [x, g.one("Shape", [like])]), x.kind, like.dims)


@maker
def tile(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 0 and value.kind != BOOL)
    if x is None or x.dims is None:
        return None
    axis = some_axis(x, random)
    dims = with_axis(x, axis, times((x.dims[axis], fixed(2))))
    repeats = [2 if place == axis else 1 for place in range(x.rank)]
    return Value(g.one("Tile", [x, g.constant(repeats)]), x.kind, dims) if small(dims) else None


@maker
def constant_of_shape(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: value.rank > 0)
    return x and Value(g.one("ConstantOfShape", [g.one("Shape", [x])]), FLOAT, x.dims)


@maker
def triangle(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank > 1)
    return x and Value(g.one("Trilu", [x], upper=random.randrange(2)), FLOAT, x.dims)


@maker
def scatter(g: GraphBuilder, random: Random) -> Made:
    x = g.pick(lambda value: floats(value) and value.rank == 2)
    if x is None or x.dims is None:
        return None
    if random.random() < 0.5 and is_fixed(x.dims[1]):  # one column, or one row, is overwritten
        indices, updates = g.constant([[0]]), g.weights(1, x.dims[1][0])
        return Value(g.one("ScatterND", [x, indices, updates]), FLOAT, x.dims)
    ids = g.one("Cast", [g.one("ConstantOfShape", [g.one("Shape", [x])])], to=INT)
    how = {"reduction": "add"} if random.random() < 0.5 else {"reduction": "max"}
    return Value(g.one("ScatterElements", [x, ids, x], axis=random.randrange(2), **how), FLOAT, x.dims)
