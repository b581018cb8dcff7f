"""Rules of operators that reduce, normalise, scan or sort along axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    Result,
    RowsMix,
    Value,
    axis_of,
    broadcast,
    rank_of,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import Inputs, Node, axes_of, given, needed, present, rows_axis, rule
from workbench.graph.batch_axis.symbolic_sizes import Number

_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""


@rule(_REDUCTIONS)
def reduction(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    rank = rank_of(x)
    axes = axes_of(node, inputs, 1, rank)
    if not axes:
        axes = () if node.whole("noop_with_empty_axes") else tuple(range(rank))
    keep = node.whole("keepdims", 1)
    if rows_axis(x) in axes:
        raise RowsMix("reduces over the rows of the batch")
    return _reduced(x, axes, keep, _reduced_numbers(node.operator, x, axes))


def _reduced(x: Value, axes: Collection[int], keep: int, numbers: tuple[Number, ...] | None = None) -> Value:
    old = shape_of(x)
    shape = tuple(1 if axis in axes else one for axis, one in enumerate(old) if keep or axis not in axes)
    rows = x.rows
    if rows is not None and not keep:
        rows = rows.at(rows.axis - sum(axis < rows.axis for axis in axes))
    return Value(shape, rows, numbers)


def _reduced_numbers(operator: str, x: Value, axes: Collection[int]) -> tuple[Number, ...] | None:
    if x.numbers is None or len(axes) < rank_of(x) or operator not in ("ReduceProd", "ReduceSum"):
        return None
    if operator == "ReduceProd":
        return (sizes.product(x.numbers),)
    total: Number = 0
    for number in x.numbers:
        total = sizes.add(total, number)
    return (total,)


@rule("ArgMax ArgMin")
def arg(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    axis = axis_of(node.whole("axis"), rank_of(x))
    if rows_axis(x) == axis:
        raise RowsMix("looks for the largest or smallest of the rows of the batch")
    return dataclasses.replace(_reduced(x, (axis,), node.whole("keepdims", 1)), below=shape_of(x)[axis])


@rule("Softmax LogSoftmax Hardmax")
def softmax(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    if x.rows is None:
        return Value(x.shape)
    if node.opset >= 13:
        mixes = x.rows.axis == axis_of(node.whole("axis", -1), rank_of(x))
    else:  # which took all axes from this one on together
        mixes = x.rows.axis >= axis_of(node.whole("axis", 1), rank_of(x))
    if mixes:
        raise RowsMix("normalises over the rows of the batch")
    return Value(x.shape, x.rows)


@rule("CumSum CumProd")
def cumulative(node: Node, inputs: Inputs) -> Value:
    x, axis = needed(inputs, 0), needed(inputs, 1)
    if x.rows is not None:
        if axis.numbers is None:
            raise NotUnderstood("adds up along an axis that is not known")
        if axis_of(axis.numbers[0], rank_of(x)) == x.rows.axis:
            raise RowsMix("adds up along the rows of the batch")
    return Value(x.shape, x.rows)


@rule("LpNormalization")
def lp_normalization(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    if x.rows is not None and x.rows.axis == axis_of(node.whole("axis", -1), rank_of(x)):
        raise RowsMix("normalises over the rows of the batch")
    return Value(x.shape, x.rows)


@rule("LayerNormalization RMSNormalization SimplifiedLayerNormalization")
def layer_normalization(node: Node, inputs: Inputs) -> list[Result]:
    x = needed(inputs, 0)
    axis = axis_of(node.whole("axis", -1), rank_of(x))
    if x.rows is not None and x.rows.axis >= axis:
        raise RowsMix("normalises over the rows of the batch")
    if broadcast(present(inputs)).rows != x.rows:
        raise NotUnderstood("scales a constant by what rows say")
    statistics = Value((*shape_of(x)[:axis], *[1] * (rank_of(x) - axis)), x.rows)
    return [Value(shape_of(x), x.rows), statistics, statistics]


@rule("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    if x.rows is not None and x.rows.axis in {axis_of(axis, rank_of(x)) for axis in node.list("axes") or (0, 2, 3)}:
        raise RowsMix("normalises over the rows of the batch")
    return Value(x.shape, x.rows)


@rule("TopK", shapes=(1,))
def top_k(node: Node, inputs: Inputs) -> list[Result]:
    x = needed(inputs, 0)
    axis = axis_of(node.whole("axis", -1), rank_of(x))
    if rows_axis(x) == axis:
        raise RowsMix("sorts the rows of the batch")
    count = given(inputs, 1)
    k: Number = node.whole("k") if count is None else sizes.fresh() if count.numbers is None else count.numbers[0]
    if sizes.of_batch(k):
        raise RowsMix("picks as many as there are rows in the batch")
    found = Value((*shape_of(x)[:axis], k, *shape_of(x)[axis + 1 :]), x.rows)
    return [found, found]
