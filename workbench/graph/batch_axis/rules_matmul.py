"""Rules of matrix products."""

from __future__ import annotations

import dataclasses

from workbench.graph.batch_axis.batch_values import NotUnderstood, RowsMix, Shape, Value, broadcast, rank_of, shape_of
from workbench.graph.batch_axis.operator_rules import Inputs, Node, given, needed, rule
from workbench.graph.batch_axis.symbolic_sizes import fresh


@rule("MatMul")
def matmul(node: Node, inputs: Inputs) -> Value:
    return matrix_product(needed(inputs, 0), needed(inputs, 1))


def matrix_product(left: Value, right: Value) -> Value:
    """As numpy.matmul: the last axis of `left` and the last but one of `right` are summed over."""
    if rank_of(left) == 0 or rank_of(right) == 0:
        raise NotUnderstood("multiplies a number as a matrix")
    drop_first, drop_last = rank_of(left) == 1, rank_of(right) == 1
    if drop_first:
        left = _with_shape(left, (1, *shape_of(left)), 1)
    if drop_last:
        right = _with_shape(right, (*shape_of(right), 1), 0)
    if _sums_rows(left, -1) or _sums_rows(right, -2):
        raise RowsMix("sums over the rows of the batch")
    shapes = shape_of(left), shape_of(right)
    result = broadcast(
        [
            dataclasses.replace(left, shape=(*shapes[0][:-1], 1)),
            dataclasses.replace(right, shape=(*shapes[1][:-2], 1, shapes[1][-1])),
        ]
    )
    kept = list(shape_of(result))
    rows = result.rows
    if drop_last:
        del kept[-1]
    if drop_first:
        del kept[len(kept) - (1 if drop_last else 2)]
        if rows is not None and rows.axis == len(kept):
            rows = rows.at(rows.axis - 1)
    return Value(tuple(kept), rows)


def _with_shape(value: Value, shape: Shape, shift: int) -> Value:
    return Value(shape, value.rows and value.rows.at(value.rows.axis + shift))


def _sums_rows(value: Value, axis: int) -> bool:
    return value.rows is not None and value.rows.axis == rank_of(value) + axis


@rule("Gemm")
def gemm(node: Node, inputs: Inputs) -> Value:
    left, right = needed(inputs, 0), needed(inputs, 1)
    left, right = (Value((fresh(), fresh())) if value.shape is None else value for value in (left, right))
    if rank_of(left) != 2 or rank_of(right) != 2:
        raise NotUnderstood("multiplies what is no matrix")
    result = matrix_product(
        _transposed(left) if node.whole("transA") else left, _transposed(right) if node.whole("transB") else right
    )
    bias = given(inputs, 2)
    return result if bias is None else broadcast([result, bias])


def _transposed(value: Value) -> Value:
    return Value(shape_of(value)[::-1], value.rows and value.rows.at(1 - value.rows.axis))
