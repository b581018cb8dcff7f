"""Rules of operators that read or write elements by their indices."""

from __future__ import annotations

from workbench.graph.batch_axis.batch_values import NotUnderstood, RowsMix, Shape, Value, axis_of, rank_of, shape_of
from workbench.graph.batch_axis.operator_rules import Inputs, Node, needed, rule
from workbench.graph.batch_axis.symbolic_sizes import Number

_BY_PLACE = "takes rows of the batch by their place"
_EVERY_PAIR = "pairs every row with every other row"


@rule("Gather", places=True)
def gather(node: Node, inputs: Inputs) -> Value:
    data, indices = needed(inputs, 0), needed(inputs, 1)
    axis = axis_of(node.whole("axis"), rank_of(data))
    if data.place is not None:
        raise RowsMix("computes with each row's place in the batch")
    rows = None
    if data.rows is not None:
        if data.rows.axis == axis:
            raise RowsMix(_BY_PLACE)
        if indices.rows is not None:
            raise RowsMix(_EVERY_PAIR)
        rows = data.rows.at(data.rows.axis + (rank_of(indices) - 1 if data.rows.axis > axis else 0))
    elif indices.rows is not None:
        if indices.place is not None:
            raise RowsMix("looks up each row's place in the batch")
        rows = indices.rows.at(indices.rows.axis + axis)
    shape = (*shape_of(data)[:axis], *shape_of(indices), *shape_of(data)[axis + 1 :])
    return Value(shape, rows, _picked(data.numbers, indices.numbers) if rank_of(data) == 1 else None)


def _picked(numbers: Shape | None, indices: Shape | None) -> Shape | None:
    if numbers is None or indices is None:
        return None
    found: list[Number] = []
    for index in indices:
        if not isinstance(index, int) or not -len(numbers) <= index < len(numbers):
            raise NotUnderstood("takes an element that is not there")
        found.append(numbers[index])
    return tuple(found)
