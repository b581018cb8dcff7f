"""Rules of operators that tell a tensor's shape, and of those that make a tensor of a shape."""

from __future__ import annotations

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    MOST_NUMBERS,
    NotUnderstood,
    Place,
    Rows,
    RowsMix,
    Shape,
    Value,
    rank_of,
    rearranged,
    shape_of,
    wider,
)
from workbench.graph.batch_axis.constant_tensors import constant_value
from workbench.graph.batch_axis.operator_rules import MICROSOFT, Inputs, Node, known_numbers, needed, rule
from workbench.graph.batch_axis.symbolic_sizes import BATCH, Number, of_batch


@rule("Constant")
def constant(node: Node, inputs: Inputs) -> Value:
    return constant_value(dict(node.attributes))


@rule("Shape", ignores=(0,), places=True)
def shape(node: Node, inputs: Inputs) -> Value:
    found = shape_of(needed(inputs, 0))[slice(node.whole("start", 0), node.attributes.get("end"))]
    return Value((len(found),), numbers=found)


@rule("Size", ignores=(0,), places=True)
def size(node: Node, inputs: Inputs) -> Value:
    return Value((), numbers=(sizes.product(shape_of(needed(inputs, 0))),))


@rule("ConstantOfShape", shapes=(0,))
def constant_of_shape(node: Node, inputs: Inputs) -> Value:
    target = known_numbers(inputs, 0)
    rows = _rows_of(target)
    whole = sizes.product(target)
    if rows is not None or not isinstance(whole, int) or not 0 <= whole <= MOST_NUMBERS:
        return Value(target, rows)
    return Value(target, numbers=(constant_value(dict(node.attributes)).numbers or (0.0,)) * whole)


def _rows_of(target: Shape) -> Rows | None:
    """The rows of a tensor that is the same along all of its axes."""
    axes = [axis for axis, one in enumerate(target) if sizes.of_batch(one)]
    if not axes:
        return None
    inner = sizes.exactly(target[axes[0]], BATCH)
    if len(axes) > 1 or inner is None or sizes.of_batch(inner):
        raise NotUnderstood("makes a tensor whose size is not that of the batch")
    return Rows(axes[0], 1, inner)


@rule("Expand", shapes=(1,), places=True)
def expand(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    target = known_numbers(inputs, 1)
    rank = max(len(target), rank_of(x))
    old: Shape = (1,) * (rank - rank_of(x)) + shape_of(x)
    new: Shape = (1,) * (rank - len(target)) + target
    made = _rows_of(tuple(1 if sizes.equal(one, was) else one for one, was in zip(new, old, strict=True)))
    rows = x.rows and x.rows.at(x.rows.axis + rank - rank_of(x))
    if made is not None:
        if rows is not None:
            raise RowsMix("gives each row an axis over the batch")
        if old[made.axis] != 1:
            raise NotUnderstood("expands the rows of a constant to those of the batch")
        rows = made
    shape = [wider((one, was)) for one, was in zip(new, old, strict=True)]
    if rows is not None:
        if sizes.equal(shape[rows.axis], rows.size) is not True:
            raise NotUnderstood("expands the rows to another number")
        shape[rows.axis] = rows.size
    if x.place is not None and x.place.column is not None and shape[-1] != old[-1]:
        raise NotUnderstood("repeats each row's place")
    return rearranged(x, tuple(shape), rows)


@rule("Range", shapes=(0, 1, 2))
@rule("Range", domain=MICROSOFT, shapes=(0, 1, 2))
def ranges(node: Node, inputs: Inputs) -> Value:
    start, limit, step = (known_numbers(inputs, index)[0] for index in range(3))
    if isinstance(start, int) and isinstance(limit, int) and isinstance(step, int) and step:
        counted = range(start, limit, step)
        return Value((len(counted),), numbers=tuple(counted) if len(counted) <= MOST_NUMBERS else None)
    if isinstance(start, float) and of_batch(limit):
        raise RowsMix("computes with each row's place in the batch")
    if (start, step) == (0, 1):
        if limit == BATCH:
            return Value((BATCH,), Rows(0), place=Place())
        if sizes.is_count(limit) and not sizes.of_batch(limit):
            return Value((limit,), below=limit)
    if any(map(of_batch, (start, limit, step))):
        raise NotUnderstood("counts up to the number of rows in the batch")
    return Value((sizes.fresh(),))


@rule("Tile", shapes=(1,))
def tile(node: Node, inputs: Inputs) -> Value:
    x, repeats = needed(inputs, 0), known_numbers(inputs, 1)
    rows = x.rows
    if len(repeats) != rank_of(x):
        raise NotUnderstood("repeats other axes than there are")
    for axis, times in enumerate(repeats):
        if sizes.of_batch(times):
            if rows is not None or times != BATCH:
                raise NotUnderstood("repeats by more than the number of rows in the batch")
            rows = Rows(axis, 1, shape_of(x)[axis])
        elif rows is not None and axis == rows.axis:
            rows = Rows(axis, sizes.multiply(rows.outer, times), rows.inner)
    new: list[Number] = [sizes.multiply(one, times) for one, times in zip(shape_of(x), repeats, strict=True)]
    return Value(tuple(new), rows)
