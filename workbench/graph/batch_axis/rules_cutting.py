"""Rules of operators that join, split, cut and pad tensors along axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    MOST_NUMBERS,
    NotUnderstood,
    Place,
    Rows,
    RowsMix,
    Shape,
    Value,
    axis_of,
    elements_of,
    rank_of,
    rearranged,
    same_rows,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import (
    MICROSOFT,
    Inputs,
    Node,
    axes_of,
    given,
    known_numbers,
    needed,
    numbers_of,
    present,
    rows_axis,
    rule,
)
from workbench.graph.batch_axis.symbolic_sizes import BATCH, Number

_BY_PLACE = "takes rows of the batch by their place"


@rule("Concat", places=True)
def concat(node: Node, inputs: Inputs) -> Value:
    return concatenated(present(inputs), node.whole("axis", 1))


def concatenated(values: Sequence[Value], along: int) -> Value:
    if not values:
        raise NotUnderstood("joins nothing")
    rank = rank_of(values[0])
    axis = axis_of(along, rank)
    if any(rank_of(value) != rank for value in values):
        raise NotUnderstood("joins tensors of different ranks")
    shape = list(shape_of(values[0]))
    for other in values[1:]:
        for at, size in enumerate(shape_of(other)):
            shape[at] = sizes.add(shape[at], size) if at == axis else size if isinstance(size, int) else shape[at]
    rows = _stacked(values, axis) if any(rows_axis(value) == axis for value in values) else same_rows(values)
    if rows is not None:
        shape[rows.axis] = rows.size
    return Value(tuple(shape), rows, _joined_numbers(values), place=_joined_place(values, axis, rank))


def _stacked(values: Sequence[Value], axis: int) -> Rows | None:
    """The rows of tensors that are joined along their rows: all rows, and then all rows again."""
    outer: Number = 0
    inner: Number | None = None
    for value in values:
        if value.rows is None:
            if shape_of(value)[axis] == 0:
                continue
            raise RowsMix("joins more rows to those of the batch")
        if value.rows.axis != axis or inner not in (None, value.rows.inner):
            raise NotUnderstood("joins the rows of the batch with others")
        outer, inner = sizes.add(outer, value.rows.outer), value.rows.inner
    return None if inner is None else Rows(axis, outer, inner)


def _joined_numbers(values: Sequence[Value]) -> tuple[Number, ...] | None:
    numbers: list[Number] = []
    for value in values:
        if value.numbers is None or rank_of(value) != 1 or len(numbers) + len(value.numbers) > MOST_NUMBERS:
            return None
        numbers.extend(value.numbers)
    return tuple(numbers)


def _joined_place(values: Sequence[Value], axis: int, rank: int) -> Place | None:
    """Where a row's place is in parts joined along the last axis: such are the indices of GatherND."""
    found = [index for index, value in enumerate(values) if value.place is not None]
    if not found:
        return None
    place = values[found[0]].place
    ahead = [shape_of(value)[axis] for value in values[: found[0] + 1]]
    if len(values) == 1:
        return place
    if len(found) > 1 or axis != rank - 1 or any(size != 1 for size in ahead) or rows_axis(values[0]) == axis:
        raise NotUnderstood("joins each row's place with something else")
    if place != Place():
        raise NotUnderstood("joins each row's place with something else")
    return Place(column=found[0])


@rule("Split", shapes=(1,))
def split(node: Node, inputs: Inputs) -> list[Value]:
    x = needed(inputs, 0)
    shape = shape_of(x)
    axis = axis_of(node.whole("axis"), len(shape))
    count = node.outputs
    parts: Sequence[Number] = node.list("split") or numbers_of(inputs, 1) or _even_parts(shape[axis], count)
    if len(parts) != count:
        raise NotUnderstood("splits into another number of parts than it has outputs")
    if x.rows is not None and axis == x.rows.axis:
        rows = _rows_of_parts(x.rows, parts)
        return [Value((*shape[:axis], one.size, *shape[axis + 1 :]), one) for one in rows]
    numbers = iter(x.numbers) if x.numbers and len(shape) == 1 else None
    found = []
    for part in parts:
        own = tuple(islice(numbers, part)) if numbers and isinstance(part, int) else None
        found.append(Value((*shape[:axis], part, *shape[axis + 1 :]), x.rows, own))
    return found


def _even_parts(size: Number, count: int) -> Sequence[Number]:
    if isinstance(size, int):
        chunk = -(-size // count)  # the last one is smaller where they cannot be equal
        return [*[chunk] * (count - 1), size - chunk * (count - 1)]
    each = sizes.exactly(size, count)
    return [sizes.fresh() if each is None else each for _ in range(count)]


def _rows_of_parts(rows: Rows, parts: Sequence[Number]) -> list[Rows]:
    """[all rows; all rows] is taken apart again."""
    found = []
    for part in parts:
        outer = sizes.exactly(part, sizes.multiply(BATCH, rows.inner))
        if not isinstance(outer, int) or outer < 1:
            raise RowsMix("splits the batch by its rows' places")
        found.append(Rows(rows.axis, outer, rows.inner))
    return found


_BEYOND = 2**31 - 1
"""From here on, the end of a slice means the end of the axis."""

_MOST_ROWS = 65_536
"""No batch has more rows: the highest `max_batch_size`."""


@rule("Slice", shapes=(1, 2, 3, 4), places=True)
def slices(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    rank = rank_of(x)
    starts: Shape = node.list("starts") or known_numbers(inputs, 1)
    ends: Shape = node.list("ends") or known_numbers(inputs, 2)
    axes: Shape = node.list("axes") or numbers_of(inputs, 3) or tuple(range(len(starts)))
    steps: Shape = numbers_of(inputs, 4) or (1,) * len(starts)
    shape, rows, elements = list(shape_of(x)), x.rows, elements_of(x)
    for start, end, one, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(one, rank)
        if rows is not None and axis == rows.axis:
            rows = _sliced_rows(rows, start, end, step)
            shape[axis] = rows.size
            continue
        if start == 0 and step == 1 and (_beyond(end) or sizes.equal(end, shape[axis])):
            continue
        if any(map(sizes.of_batch, (start, end, step))):
            raise RowsMix("cuts by the number of rows in the batch")
        if x.place is not None and x.place.column is not None and axis == rank - 1:
            raise NotUnderstood("cuts off each row's place")
        if start == 0 and step == 1 and isinstance(end, sizes.Polynomial) and end.is_size:
            size = shape[axis]
            shape[axis], elements = sizes.at_most(end, size) if isinstance(size, int) else sizes.fresh(), None
        elif isinstance(start, int) and isinstance(end, int) and isinstance(step, int) and step != 0:
            size, cut = shape[axis], slice(start, end, step)
            shape[axis] = len(range(*cut.indices(size))) if isinstance(size, int) else sizes.fresh()
            elements = None if elements is None else elements[(slice(None),) * axis + (cut,)]
        else:
            shape[axis], elements = sizes.fresh(), None
    return rearranged(x, tuple(shape), rows, None if elements is None else tuple(elements.ravel().tolist()))


def _beyond(end: Number) -> bool:
    return isinstance(end, int) and end >= _BEYOND


def _sliced_rows(rows: Rows, start: Number, end: Number, step: Number) -> Rows:
    """The whole, or some of the repetitions of [all rows; all rows]."""
    if start == 0 and step == 1 and (_beyond(end) or sizes.equal(end, rows.size)):
        return rows
    if start == 0 and step == 1 and rows.plain and isinstance(end, int) and end >= _MOST_ROWS:
        return rows
    each = sizes.multiply(BATCH, rows.inner)
    first = sizes.exactly(start, each)
    last = rows.outer if _beyond(end) else sizes.exactly(end, each)
    if step == 1 and isinstance(first, int) and isinstance(last, int) and isinstance(rows.outer, int):
        last = min(last, rows.outer)
        if 0 <= first < last:
            return Rows(rows.axis, last - first, rows.inner)
    if all(isinstance(one, int) or sizes.of_batch(one) for one in (start, end, step)):
        raise RowsMix(_BY_PLACE)
    raise NotUnderstood("may take rows of the batch by their place")


@rule("Pad", shapes=(1, 3))
@rule("Pad", domain=MICROSOFT, shapes=(1, 3))
def pad(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    rank = rank_of(x)
    pads: Shape = node.list("pads") or known_numbers(inputs, 1)
    axes = axes_of(node, inputs, 3, rank) or tuple(range(rank))
    if len(pads) != 2 * len(axes):
        raise NotUnderstood(f"pads {len(axes)} axes by {len(pads)} numbers")
    fill = given(inputs, 2)
    if fill is not None and fill.rows is not None:
        raise RowsMix("pads all rows with what rows say")
    shape = list(shape_of(x))
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if axis == rows_axis(x):
            if before != 0 or after != 0:
                raise RowsMix("pads the batch with more rows")
        elif sizes.of_batch(before) or sizes.of_batch(after):
            raise RowsMix("pads by the number of rows in the batch")
        else:
            shape[axis] = sizes.add(sizes.add(shape[axis], before), after)
    return Value(tuple(shape), x.rows)


@rule("CenterCropPad", shapes=(1,))
def center_crop_pad(node: Node, inputs: Inputs) -> Value:
    x, target = needed(inputs, 0), known_numbers(inputs, 1)
    shape = list(shape_of(x))
    axes = axes_of(node, (), 0, rank_of(x)) or tuple(range(rank_of(x)))
    for axis, size in zip(axes, target, strict=True):
        if axis == rows_axis(x) and sizes.equal(size, shape[axis]) is not True:
            raise RowsMix("cuts the batch to another number of rows")
        shape[axis] = size
    return Value(tuple(shape), x.rows)
