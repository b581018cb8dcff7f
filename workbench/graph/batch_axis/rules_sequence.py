"""Rules of sequences of tensors. What is known of a sequence is what holds of each tensor in it."""

from __future__ import annotations

import dataclasses

from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    RowsMix,
    Shape,
    Value,
    axis_of,
    rank_of,
    shape_of,
    union,
)
from workbench.graph.batch_axis.operator_rules import Inputs, Node, given, needed, present, rule
from workbench.graph.batch_axis.symbolic_sizes import fresh

_EMPTY = Value(sequence=True, numbers=())


@rule("SequenceEmpty")
def sequence_empty(node: Node, inputs: Inputs) -> Value:
    return _EMPTY


@rule("SequenceConstruct")
def sequence_construct(node: Node, inputs: Inputs) -> Value:
    return _with(_EMPTY, present(inputs), node)


@rule("SequenceInsert")
def sequence_insert(node: Node, inputs: Inputs) -> Value:
    _check_position(inputs, 2)
    return _with(needed(inputs, 0), [needed(inputs, 1)], node)


def _with(sequence: Value, tensors: Inputs, node: Node) -> Value:
    found = sequence
    for tensor in present(tensors):
        one = dataclasses.replace(tensor, sequence=True, numbers=None)
        both = one if found == _EMPTY else union(found, one, node.label)
        if not isinstance(both, Value):
            raise NotUnderstood("puts together tensors with rows and others")
        found = both
    return found


@rule("SequenceErase")
def sequence_erase(node: Node, inputs: Inputs) -> Value:
    _check_position(inputs, 1)
    return needed(inputs, 0)


@rule("SequenceAt")
def sequence_at(node: Node, inputs: Inputs) -> Value:
    sequence = needed(inputs, 0)
    _check_position(inputs, 1)
    return dataclasses.replace(sequence, shape=_of_any(sequence), sequence=False)


def _check_position(inputs: Inputs, index: int) -> None:
    position = given(inputs, index)
    if position is not None and position.rows is not None:
        raise RowsMix("takes or puts one tensor for all rows where rows say")


def _of_any(sequence: Value) -> Shape:
    """The shape of a tensor in it: what is no number may be another one in the next tensor."""
    at = None if sequence.rows is None else sequence.rows.axis
    return tuple(one if isinstance(one, int) or axis == at else fresh() for axis, one in enumerate(shape_of(sequence)))


@rule("SequenceLength")
def sequence_length(node: Node, inputs: Inputs) -> Value:
    return Value(())


@rule("SplitToSequence", shapes=(1,))
def split_to_sequence(node: Node, inputs: Inputs) -> Value:
    x, parts = needed(inputs, 0), given(inputs, 1)
    axis = axis_of(node.whole("axis"), rank_of(x))
    rows = x.rows
    if rows is not None and rows.axis == axis:
        raise RowsMix("splits the batch by its rows' places")
    before, after = shape_of(x)[:axis], shape_of(x)[axis + 1 :]
    if parts is None and not node.whole("keepdims", 1):
        rows = rows and rows.at(rows.axis - (rows.axis > axis))
        return Value((*before, *after), rows, sequence=True)
    return Value((*before, 1 if parts is None else fresh(), *after), rows, sequence=True)


@rule("ConcatFromSequence")
def concat_from_sequence(node: Node, inputs: Inputs) -> Value:
    sequence = needed(inputs, 0)
    shape, rows, new = _of_any(sequence), sequence.rows, node.whole("new_axis")
    axis = axis_of(node.whole("axis"), len(shape) + new)
    if new:
        rows = rows and rows.at(rows.axis + (rows.axis >= axis))
    elif rows is not None and rows.axis == axis:
        raise NotUnderstood("joins the rows of the batch an unknown number of times")
    return Value((*shape[:axis], fresh(), *shape[axis + (not new) :]), rows)
