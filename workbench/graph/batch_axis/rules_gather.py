"""Rules of operators that read or write elements by their indices."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    Place,
    Result,
    Rows,
    RowsMix,
    Shape,
    Value,
    axis_of,
    check_no_other_rows,
    rank_of,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import (
    MICROSOFT,
    Inputs,
    Node,
    free_of_rows,
    known_numbers,
    needed,
    present,
    rows_axis,
    rule,
)
from workbench.graph.batch_axis.symbolic_sizes import Number, equal, fresh, greater, of_batch

_COMPUTES_PLACE = "computes with each row's place in the batch"
_BY_PLACE = "takes rows of the batch by their place"
_EVERY_PAIR = "pairs every row with every other row"


@rule("Gather", places=True)
def gather(node: Node, inputs: Inputs) -> Value:
    data, indices = needed(inputs, 0), needed(inputs, 1)
    axis = axis_of(node.whole("axis"), rank_of(data))
    if data.place is not None:
        raise RowsMix(_COMPUTES_PLACE)
    rows = None
    if data.rows is not None and data.rows.axis == axis:
        own = _own_slices(data.rows, indices)
        rows = own.at(own.axis + axis)
    elif data.rows is not None:
        if indices.rows is not None:
            raise RowsMix(_EVERY_PAIR)
        rows = data.rows.at(data.rows.axis + (rank_of(indices) - 1 if data.rows.axis > axis else 0))
    elif indices.rows is not None:
        if indices.place is not None:
            raise RowsMix("looks up each row's place in the batch")
        rows = indices.rows.at(indices.rows.axis + axis)
    shape = (*shape_of(data)[:axis], *shape_of(indices), *shape_of(data)[axis + 1 :])
    return Value(shape, rows, _picked(data.numbers, indices.numbers) if rank_of(data) == 1 else None)


def _own_slices(rows: Rows, indices: Value) -> Rows:
    """The rows of indices, each of which finds slices of its own row only."""
    place = indices.place
    if indices.rows is None or place is None or place.column is not None or rows.outer != 1:
        raise RowsMix(_BY_PLACE)
    inside = place.below == 1 or equal(place.below, rows.inner) or greater(rows.inner, place.below)
    if equal(place.stride, rows.inner) is not True or not inside:
        raise NotUnderstood("may take slices of another row")
    return indices.rows


def _picked(numbers: Shape | None, indices: Shape | None) -> Shape | None:
    if numbers is None or indices is None:
        return None
    found: list[Number] = []
    for index in indices:
        if not isinstance(index, int) or not -len(numbers) <= index < len(numbers):
            raise NotUnderstood("takes an element that is not there")
        found.append(numbers[index])
    return tuple(found)


@rule("GatherElements ScatterElements Scatter")
def elements(node: Node, inputs: Inputs) -> Value:
    values = present(inputs)
    data = needed(inputs, 0)
    axis = axis_of(node.whole("axis"), rank_of(data))
    rows = one_for_each(values)
    if rows is not None and rows.axis == axis:
        raise RowsMix("picks rows of the batch by their place")
    found = needed(inputs, 1) if node.operator == "GatherElements" else data
    return Value(shape_of(found), rows)


@rule("GatherND", places=True)
@rule("GatherND", domain=MICROSOFT, places=True)
def gather_nd(node: Node, inputs: Inputs) -> Value:
    data, indices = needed(inputs, 0), needed(inputs, 1)
    if data.place is not None:
        raise RowsMix(_COMPUTES_PLACE)
    batch, length = node.whole("batch_dims"), _length(indices)
    kept = rank_of(indices) - 1
    shape = (*shape_of(indices)[:-1], *shape_of(data)[batch + length :])
    if data.rows is None:
        if indices.rows is not None and (indices.place is not None or indices.rows.axis < batch):
            raise RowsMix("looks up each row's place in the batch")
        return Value(shape, indices.rows)
    axis = data.rows.axis
    if axis < batch:
        rows = one_for_each([data, indices])
        if indices.place is not None:
            raise RowsMix(_COMPUTES_PLACE)
        return Value(shape, rows)
    if axis < batch + length:
        return Value(shape, _own_rows(data, indices, axis - batch))
    if indices.rows is not None:
        raise RowsMix(_EVERY_PAIR)
    return Value(shape, data.rows.at(kept + axis - batch - length))


@rule("ScatterND", places=True)
def scatter_nd(node: Node, inputs: Inputs) -> Value:
    data, indices, updates = needed(inputs, 0), needed(inputs, 1), needed(inputs, 2)
    if data.place is not None or updates.place is not None:
        raise RowsMix(_COMPUTES_PLACE)
    length, kept = _length(indices), rank_of(indices) - 1
    if data.rows is None:
        if indices.rows is None and updates.rows is None:
            return Value(shape_of(data))
        raise RowsMix("writes rows into a constant by their place")
    axis = data.rows.axis
    if axis < length:
        rows = _own_rows(data, indices, axis)
        if updates.rows is None:
            check_no_other_rows([shape_of(updates)[rows.axis]])
        elif updates.rows != rows:
            raise RowsMix(_EVERY_PAIR)
    else:
        if indices.rows is not None:
            raise RowsMix("writes into all rows where a row says")
        if updates.rows is None:
            check_no_other_rows([shape_of(updates)[kept + axis - length]])
        elif updates.rows != data.rows.at(kept + axis - length):
            raise RowsMix(_EVERY_PAIR)
    return Value(shape_of(data), data.rows)


def _length(indices: Value) -> int:
    length = shape_of(indices)[-1] if shape_of(indices) else None
    if not isinstance(length, int) or (indices.rows is not None and indices.rows.axis == rank_of(indices) - 1):
        raise NotUnderstood("takes indices of unknown length")
    return length


def _own_rows(data: Value, indices: Value, column: int) -> Rows:
    """The rows of indices, each of which names its own row of the data in this column."""
    place = Place(column=0) if indices.place == Place() and _length(indices) == 1 else indices.place
    if indices.rows is None or place != Place(column=column):
        raise RowsMix(_BY_PLACE)
    if data.rows is None or not data.rows.plain or not indices.rows.plain:
        raise NotUnderstood("picks rows that are laid out in a way that is not followed")
    return indices.rows


def one_for_each(values: Sequence[Value]) -> Rows | None:
    """The rows of values that have them along the same axis, and are not broadcast."""
    found = [value for value in values if value.rows is not None]
    if not found:
        return None
    rows = found[0].rows
    if any(value.rows and rows and value.rows.axis != rows.axis for value in found):
        raise RowsMix(_EVERY_PAIR)
    if any(value.rows != rows for value in found):
        raise NotUnderstood("pairs rows that are laid out in different ways")
    if len(found) < len(values):
        raise RowsMix("takes rows of the batch, or elements for them, by their place")
    return rows


@rule("Compress")
def compress(node: Node, inputs: Inputs) -> Value:
    x, condition = needed(inputs, 0), needed(inputs, 1)
    axis = node.attributes.get("axis")
    if condition.rows is not None or axis is None or axis_of(axis, rank_of(x)) == rows_axis(x):
        if x.rows is None and condition.rows is None:
            return Value((fresh(),))
        raise RowsMix("keeps some elements of the whole batch only")
    kept = axis_of(axis, rank_of(x))
    return Value(tuple(fresh() if at == kept else size for at, size in enumerate(shape_of(x))), x.rows)


@rule("NonZero Unique NonMaxSuppression")
@rule("Unique", domain=MICROSOFT)
def found_in_batch(node: Node, inputs: Inputs) -> list[Result]:
    if any(value.rows is not None for value in present(inputs)):
        raise RowsMix("gives as many as it finds in the whole batch")
    raise NotUnderstood("gives as many as it finds")


@rule("OneHot", shapes=(1,))
def one_hot(node: Node, inputs: Inputs) -> Value:
    indices, depth = needed(inputs, 0), known_numbers(inputs, 1)[0]
    free_of_rows(inputs[2:])
    if of_batch(depth):
        raise RowsMix("marks one of as many as there are rows in the batch")
    axis = axis_of(node.whole("axis", -1), rank_of(indices) + 1)
    rows = indices.rows and indices.rows.at(indices.rows.axis + (indices.rows.axis >= axis))
    return Value((*shape_of(indices)[:axis], depth, *shape_of(indices)[axis:]), rows)


@rule("ReverseSequence")
def reverse_sequence(node: Node, inputs: Inputs) -> Value:
    x, lengths = needed(inputs, 0), needed(inputs, 1)
    if x.rows is not None and x.rows.axis == node.whole("time_axis"):
        raise RowsMix("reverses the rows of the batch")
    if lengths.rows is not None and (x.rows is None or x.rows.axis != node.whole("batch_axis", 1)):
        raise RowsMix(_EVERY_PAIR)
    if lengths.rows is not None and x.rows is not None and lengths.rows.at(0) != x.rows.at(0):
        raise NotUnderstood("pairs rows that are laid out in different ways")
    if lengths.rows is None and x.rows is not None and x.rows.axis == node.whole("batch_axis", 1):
        check_no_other_rows(shape_of(lengths))
    return Value(shape_of(x), x.rows)


@rule("Trilu Det")
@rule("Trilu Inverse", domain=MICROSOFT)
def matrices(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    free_of_rows(inputs[1:])
    if x.rows is not None and x.rows.axis >= rank_of(x) - 2:
        raise RowsMix("takes the rows of the batch for those of a matrix")
    return Value(shape_of(x)[:-2] if node.operator == "Det" else shape_of(x), x.rows)


@rule("EyeLike", ignores=(0,), places=True)
def eye_like(node: Node, inputs: Inputs) -> Value:
    if needed(inputs, 0).rows is not None:
        raise RowsMix("marks each row's place in the batch")
    return Value(shape_of(needed(inputs, 0)))
