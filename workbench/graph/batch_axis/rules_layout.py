"""Rules of operators that give a tensor other axes."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    Rows,
    RowsMix,
    Shape,
    Value,
    elements_of,
    rank_of,
    rearranged,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import Inputs, Node, axes_of, known_numbers, needed, rows_axis, rule
from workbench.graph.batch_axis.symbolic_sizes import BATCH, Number


@rule("Transpose", places=True)
def transpose(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    order = node.list("perm") or tuple(reversed(range(rank_of(x))))
    if sorted(order) != list(range(rank_of(x))):
        raise NotUnderstood(f"orders {len(order)} axes of {rank_of(x)}")
    return _with_axes(x, order, _transposed_numbers(x, order))


def _transposed_numbers(x: Value, order: Sequence[int]) -> Shape | None:
    found = elements_of(x)
    return None if found is None else tuple(found.transpose(order).ravel().tolist())


@rule("Reshape", shapes=(1,), places=True)
def reshape(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    target: Shape = node.list("shape") or known_numbers(inputs, 1)
    if not all(map(sizes.of_sizes, target)):
        raise NotUnderstood("takes a shape that may leave axes open")
    if not node.whole("allowzero"):
        if any(one == 0 for one in target[rank_of(x) :]):
            raise NotUnderstood("keeps an axis that is not there")
        target = tuple(shape_of(x)[axis] if one == 0 else one for axis, one in enumerate(target))
    if target.count(-1) > 1:
        raise NotUnderstood("leaves two axes open")
    if -1 in target:
        whole, others = sizes.product(shape_of(x)), sizes.product(one for one in target if one != -1)
        rest = sizes.exactly(whole, others)
        if rest is None:
            if x.rows is not None and not sizes.of_batch(others):
                raise NotUnderstood("leaves an axis open whose size does not follow from the others")
            rest = sizes.fresh()
        target = tuple(rest if one == -1 else one for one in target)
    return reshaped(x, target)


def reshaped(x: Value, target: Shape) -> Value:
    """x with the same elements in the same order, and with other axes."""
    if x.rows is None:
        return rearranged(x, target, None, x.numbers)
    before = sizes.multiply(sizes.product(shape_of(x)[: x.rows.axis]), x.rows.outer)
    after = sizes.multiply(x.rows.inner, sizes.product(shape_of(x)[x.rows.axis + 1 :]))
    axes = [axis for axis, one in enumerate(target) if sizes.of_batch(one)]
    if len(axes) != 1:
        raise NotUnderstood("gives the rows no axis, or two")
    axis = axes[0]
    # One follows from the other: the runtime refuses a shape of another number of elements.
    outer = sizes.exactly(before, sizes.product(target[:axis]))
    if outer is not None:
        inner = sizes.exactly(target[axis], sizes.multiply(outer, BATCH))
    else:
        inner = sizes.exactly(after, sizes.product(target[axis + 1 :]))
        outer = None if inner is None else sizes.exactly(target[axis], sizes.multiply(inner, BATCH))
    if outer is None or inner is None or sizes.of_batch(outer) or sizes.of_batch(inner):
        raise NotUnderstood("cuts or joins the rows in a way that is not followed")
    rows = Rows(axis, outer, inner)
    if _has_column(x) and (axis == len(target) - 1 or target[-1] != shape_of(x)[-1]):
        raise NotUnderstood("moves each row's place")
    return rearranged(x, target, rows)


def _has_column(x: Value) -> bool:
    return x.place is not None and x.place.column is not None


@rule("Flatten", places=True)
def flatten(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    axis = node.whole("axis", 1)
    axis = axis + rank_of(x) if axis < 0 else axis
    if not 0 <= axis <= rank_of(x):
        raise NotUnderstood(f"has axis {axis} of {rank_of(x)}")
    return reshaped(x, (sizes.product(shape_of(x)[:axis]), sizes.product(shape_of(x)[axis:])))


@rule("Squeeze", shapes=(1,), places=True)
def squeeze(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    axes = axes_of(node, inputs, 1, rank_of(x))
    if axes is None:
        if x.rows is not None and x.rows.plain:
            raise RowsMix("drops the batch axis where there is one row only")
        if not all(isinstance(one, int) for one in shape_of(x)):
            raise NotUnderstood("drops the axes of size 1, which may be others in another run")
        axes = tuple(axis for axis, one in enumerate(shape_of(x)) if one == 1)
    if rows_axis(x) in axes:
        raise RowsMix("drops the batch axis, so it runs with one row only")
    return _with_axes(x, [axis for axis in range(rank_of(x)) if axis not in axes], x.numbers)


@rule("Unsqueeze", shapes=(1,), places=True)
def unsqueeze(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    rank = rank_of(x) + len(node.list("axes") or known_numbers(inputs, 1))
    axes = axes_of(node, inputs, 1, rank) or ()
    source = iter(range(rank_of(x)))
    return _with_axes(x, [None if axis in axes else next(source) for axis in range(rank)], x.numbers)


def _with_axes(x: Value, axes: Sequence[int | None], numbers: tuple[Number, ...] | None = None) -> Value:
    """x with its axes in this order; None: a new one of size 1."""
    old = shape_of(x)
    if _has_column(x) and (not axes or axes[-1] != len(old) - 1):
        raise NotUnderstood("moves each row's place")
    rows = x.rows and x.rows.at(list(axes).index(x.rows.axis))
    return rearranged(x, tuple(1 if axis is None else old[axis] for axis in axes), rows, numbers)
